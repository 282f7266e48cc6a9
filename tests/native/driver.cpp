// Runs every operation on made rows, on every instruction set, and prints one hash of all results a
// set: they must all be equal. For sanitizers and other CPUs, where Python is in the way. Takes the
// number of rows.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "base/norms.h"
#include "cpu/isa.h"
#include "ops/deduplicate.h"
#include "ops/kcenter.h"
#include "ops/kcenter_parts.h"
#include "ops/kmeans.h"
#include "ops/kmeans_parts.h"
#include "ops/pairs.h"
#include "ops/pairs_parts.h"
#include "ops/redundancy.h"
#include "ops/redundancy_parts.h"
#include "ops/topk.h"
#include "ops/topk_parts.h"
#include "screen/plan.h"

namespace meddel {
namespace {

class Hash {
 public:
  template <class T>
  void add(const std::vector<T>& values) {
    for (const T& value : values) {
      unsigned char bytes[sizeof(T)];
      std::memcpy(bytes, &value, sizeof value);
      for (const unsigned char byte : bytes) state_ = (state_ ^ byte) * 1099511628211u;
    }
  }

  uint64_t value() const { return state_; }

 private:
  uint64_t state_ = 14695981039346656037u;  // FNV-1a
};

constexpr int64_t kRows = 700;  // unless told otherwise; at least 400
constexpr int64_t kColumns = 133;

// Random rows with a mean, a hundred of them repeated with a growing difference.
std::vector<float> made_rows(int64_t n) {
  std::vector<float> x(static_cast<size_t>(n * kColumns));
  uint64_t state = 7;
  for (float& value : x) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    value = static_cast<float>(static_cast<double>(state >> 11) * 0x1p-53 - 0.45);
  }
  for (int64_t i = 0; i < 100; ++i) {
    for (int64_t e = 0; e < kColumns; ++e) {
      x[(i + 300) * kColumns + e] =
          x[i * kColumns + e] + (e == 3 ? 1e-3f * static_cast<float>(i) : 0.0f);
    }
  }
  return x;
}

void run_kmeans(const Matrix& x, const std::vector<float>& rows, const Context& context,
                Hash& hash) {
  std::vector<double> uniforms;
  for (int i = 0; i < 9; ++i) uniforms.push_back((i + 0.3) / 9.7);
  for (const bool spherical : {true, false}) {
    std::vector<float> centroids;
    for (const int64_t seed : kmeans_plus_plus(x, spherical, uniforms, {}, context)) {
      const auto row = rows.begin() + seed * kColumns;
      centroids.insert(centroids.end(), row, row + kColumns);
    }
    const KMeans found = kmeans(x, centroids, 9, {spherical, 3}, context);
    hash.add(found.labels);
    hash.add(found.centroids);
    hash.add(found.distances);
  }
}

// One set, and two; in ranges of many rows, few and one.
void run_pairs(const Matrix& x, const Context& context, Hash& hash) {
  const Matrix y{x.row(x.n / 2), x.n / 2, kColumns, kColumns, x.dtype};
  for (const Matrix* other : {static_cast<const Matrix*>(nullptr), &y}) {
    const RowRange ranges[] = {{0, x.n}, {0, 300}, {300, 301}, {301, 320}, {320, x.n}};
    for (const RowRange& range : ranges) {
      const Pairs pairs = similar_pairs(x, other, range, 0.3, 1'000'000, context);
      hash.add(pairs.i);
      hash.add(pairs.j);
      hash.add(pairs.similarity);
    }
  }
}

// A part against one before it, and within itself.
void run_pair_parts(const Matrix& x, const Context& context, Hash& hash) {
  const int64_t before = x.n * 4 / 7;
  const Matrix first{x.row(0), before, kColumns, kColumns, x.dtype};
  const Matrix second{x.row(before), x.n - before, kColumns, kColumns, x.dtype};
  const auto count = static_cast<size_t>(second.n);
  std::vector<int64_t> samples(static_cast<size_t>(x.n)), labels;
  std::iota(samples.begin(), samples.end(), int64_t{0});
  for (const int64_t sample : samples) labels.push_back(sample % 3);
  for (const int64_t* groups : {static_cast<const int64_t*>(nullptr), &std::as_const(labels)[0]}) {
    const int64_t* rest = groups == nullptr ? nullptr : groups + before;
    const Part earlier{first, samples.data(), samples.data(), groups};
    const Part later{second, samples.data() + before, samples.data() + before, rest};
    Redundancy best{std::vector<double>(count, 0.1), std::vector<int64_t>(count, -1)};
    best = earlier_in_part(later, earlier, std::move(best), context);
    best = earlier_in_part(later, later, std::move(best), context);
    hash.add(best.similarity);
    hash.add(best.neighbor);
  }
  TopK top{std::vector<double>(3 * count), std::vector<int64_t>(3 * count, -1)};
  top = topk_in_part(second, before, first, 0, std::move(top), 3, context);
  top = topk_in_part(second, before, second, before, std::move(top), 3, context);
  hash.add(top.similarity);
  hash.add(top.indices);
  const Pairs pairs =
      pairs_of_groups(second, &labels[before], first, labels.data(), 0.3, 1'000'000, context);
  hash.add(pairs.j);
  const std::vector<int64_t> roots = join_components(samples, pairs.i.data(), pairs.j.data(),
                                                     static_cast<int64_t>(pairs.i.size()));
  hash.add(roots);
  const Deduplicated known{std::vector<int64_t>(samples.begin() + before, samples.end()),
                           std::vector<double>(count)};
  hash.add(greedy_in_part(second, 0.9, &samples[before], nullptr, 1'000'000, known, context)
               .representative);
  const Matrix as_many{x.row(0), second.n, kColumns, kColumns, x.dtype};
  hash.add(row_cosines(second, as_many, context));
}

void run_other_parts(const Matrix& x, const Context& context, Hash& hash) {
  const Matrix centres{x.row(0), 90, kColumns, kColumns, x.dtype};
  std::vector<int32_t> seen(static_cast<size_t>(x.n), 0);
  const std::vector<double> infinite(static_cast<size_t>(x.n), HUGE_VAL);
  for (const Metric metric : {Metric::kEuclidean, Metric::kCosine}) {
    const std::vector<double> nearest = catch_up(x, centres, metric, seen, infinite, context);
    hash.add(nearest);
    const Chosen chosen = choose_among(x, nearest, 40, -1.0, metric, 0.01, 3, context);
    hash.add(chosen.rows);
    hash.add(chosen.nearest);
  }
  Team team(context);
  const std::vector<double> squares = squared_norms(team, x);
  std::vector<int64_t> labels;
  for (int64_t i = 0; i < x.n; ++i) labels.push_back(i % 7);
  const std::vector<double> sums(static_cast<size_t>(7 * kColumns), 0.0);
  for (const bool spherical : {true, false}) {
    SeedParts seeds(x, spherical, x.n, 500, 1 << 26, {}, context);
    seeds.add(x, squares, 0, context);
    for (const int64_t row : {int64_t{5}, x.n - 1}) {
      const Matrix chosen{x.row(row), 1, x.d, x.ld, x.dtype};
      const std::vector<int64_t> left = seeds.left(chosen, context);
      if (row == 5) seeds.lower(x, left, chosen, row, context);
      for (const int64_t i : left) {
        const Matrix one{x.row(i), 1, x.d, x.ld, x.dtype};
        seeds.lower(one, {i}, chosen, -1, context);
      }
      hash.add(seeds.weights(context).sums());
    }
    const std::vector<bool> wanted = {true, false, true, true, true, true, true};
    hash.add(add_members(x, labels, spherical ? roots(squares) : std::vector<double>(), {}, wanted,
                         sums, context));
  }
}

uint64_t run_all(int64_t n, int threads) {
  const std::vector<float> rows = made_rows(n);
  const Matrix x{rows.data(), n, kColumns, kColumns, DType::kFloat32};
  const Context context{threads, [] {}};
  Hash hash;
  for (const Metric metric : {Metric::kEuclidean, Metric::kCosine}) {
    const KCenter centres = kcenter_greedy(x, 60, -1.0, metric, 0, {}, true, context);
    hash.add(centres.indices);
    hash.add(centres.radii);
    hash.add(centres.distances);
  }
  for (int64_t d = 1; d <= 9; ++d) {  // in boxes up to 8
    const Matrix narrow{rows.data(), n, d, kColumns, x.dtype};
    const KCenter centres =
        kcenter_greedy(narrow, n / 2, -1.0, Metric::kEuclidean, 3, {1, 5}, true, context);
    hash.add(centres.indices);
    hash.add(centres.radii);
    hash.add(centres.distances);
  }
  run_pairs(x, context, hash);
  const Ordering ordering = make_ordering(n, nullptr, nullptr);
  const Redundancy highest = redundancy(x, ordering, -INFINITY, context);
  hash.add(highest.similarity);
  hash.add(highest.neighbor);
  const TopK top = topk_similarity(x, nullptr, 5, context);
  hash.add(top.similarity);
  hash.add(top.indices);
  for (const Rule rule : {Rule::kSemDeDup, Rule::kGreedy, Rule::kComponents}) {
    hash.add(deduplicate(x, 0.9, rule, ordering, 1'000'000, context).representative);
  }
  EarlierSimilar found = earlier_similar(x, 0.8, ordering, 1'000'000, context);
  hash.add(deduplicate_by(found, x, 0.9, Rule::kGreedy).representative);
  keep_spanning(found);
  hash.add(deduplicate_by(found, x, 0.9, Rule::kComponents).representative);
  hash.add(similar_rows(found, x, 0.8).similarity);
  run_kmeans(x, rows, context, hash);
  run_pair_parts(x, context, hash);
  run_other_parts(x, context, hash);
  return hash.value();
}

}  // namespace
}  // namespace meddel

int main(int argc, char** argv) {
  const int64_t rows = argc > 1 ? std::atoll(argv[1]) : meddel::kRows;
  uint64_t first = 0;
  bool equal = true;
  for (const std::string& isa : meddel::available_isas()) {
    using Mode = meddel::ScreenMode;
    for (const auto mode : {Mode::kNever, Mode::kAlways, Mode::kWide, Mode::kGrouped, Mode::kDense,
                            Mode::kBoxes, Mode::kProducts, Mode::kCodes}) {
      meddel::use_isa(isa);
      meddel::use_screen(mode);
      const uint64_t hash = meddel::run_all(rows, mode == Mode::kNever ? 1 : 3);
      if (first == 0) first = hash;
      equal = equal && hash == first;
      std::printf("%s %016llx\n", isa.c_str(), static_cast<unsigned long long>(hash));
    }
  }
  std::puts(equal ? "all equal" : "DIFFERENT");
  return equal ? 0 : 1;
}

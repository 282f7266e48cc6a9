// The screens of k-means++ against the truth: of rows whose weight a seed lowers none may be left
// out, on every instruction set, whatever the rows.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "base/matrix.h"
#include "base/sides.h"
#include "base/truth.h"
#include "cpu/isa.h"
#include "ops/seed_screens.h"
#include "screen/plan.h"
#include "screen/scan_screens.h"

namespace meddel {
namespace {

constexpr int64_t kRows = SeedScreens::kRows + 299;  // no whole number of blocks
constexpr int64_t kSeeds = 1'000'000;                // for screens to be worth it
constexpr int64_t kTried = 16;

int failures = 0;

void expect(bool holds, const std::string& what) {
  if (!holds && ++failures <= 20) std::printf("%s: %s\n", kernels().name, what.c_str());
}

// Rows on which bounds are stretched; some of them are equal, and some zero.
std::vector<float> made(const std::string& kind, int64_t n, int64_t d) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  const auto draw = [&] { return normal(random); };
  std::vector<float> centres(static_cast<size_t>(6 * d)), out(static_cast<size_t>(n * d));
  std::generate(centres.begin(), centres.end(), draw);
  for (int64_t i = 0; i < n; ++i) {
    const float* centre = &centres[static_cast<size_t>(i * 6 / n * d)];
    const float noise = kind == "close" ? 1e-3f : 0.3f;
    float scale = 1.0f;
    if (kind == "lognormal") scale = std::exp(1.5f * draw());
    if (kind == "huge") scale = 1e18f;
    if (kind == "tiny") scale = 1e-20f;
    if (kind == "mixed") scale = i % 2 == 0 ? 1e18f : 1e-20f;
    for (int64_t e = 0; e < d; ++e) {
      const float value = kind == "isotropic" ? draw() : centre[e] + noise * draw();
      out[static_cast<size_t>(i * d + e)] =
          scale * (kind == "spike" && e == 0 ? 1e4f : 1.0f) * value;
    }
    if (i % 101 == 50) std::fill_n(&out[static_cast<size_t>(i * d)], d, 0.0f);
    if (i % 97 == 60) std::copy_n(out.begin(), d, &out[static_cast<size_t>(i * d)]);
  }
  return out;
}

// What the truth says of a row and all others.
std::vector<double> distances(const ScanSide& rows, Metric metric, int64_t seed) {
  const Matrix& x = *rows.x;
  std::vector<double> out(static_cast<size_t>(x.n));
  for (int64_t i = 0; i < x.n; ++i) {
    const double inner = kernels().dot[static_cast<int>(x.dtype)](x.row(seed), x.row(i), x.d);
    out[i] = distance(metric, inner, rows.squares[i], rows.squares[seed]);
  }
  return out;
}

// Screens of all rows, as the seeding has them.
SeedScreens screens_of(Team& team, const ScanSide& rows, Metric metric,
                       const std::vector<double>& weights) {
  SeedScreens out(team, rows.positions(), rows.size(), metric, kSeeds, kept_bytes(*rows.x, 0),
                  SeedScreens::Rows::kHere, [&](int64_t p) { return weights[p]; });
  out.encode(team, rows.positions(), 0);
  return out;
}

// The rows that the screens leave for a seed; looked at alone or together with others, the same
// before they are refined.
std::vector<bool> left(const SeedScreens& screens, const ScanSide& rows, int64_t seed) {
  const int64_t n = rows.size();
  std::vector<bool> out(static_cast<size_t>(n), false);
  const std::vector<int64_t> alone = {seed}, among = {n / 2, 1, seed, n - 2, 7};
  const auto probe = screens.probe({*rows.x, rows.norms, alone});
  const auto several = screens.probe({*rows.x, rows.norms, among});
  const auto fine = screens.fine(rows.positions(), seed);
  std::vector<uint16_t> lists(SeedScreens::kAtOnce * SeedScreens::kRows), list(SeedScreens::kRows);
  for (int64_t begin = 0; begin < n; begin += SeedScreens::kRows) {
    const int64_t end = std::min(n, begin + SeedScreens::kRows);
    int32_t count, counts[SeedScreens::kAtOnce];
    screens.left(probe, begin, end, list.data(), &count);
    screens.left(several, begin, end, lists.data(), counts);
    expect(counts[2] == count && std::equal(list.begin(), list.begin() + count,
                                            lists.begin() + 2 * SeedScreens::kRows),
           "a seed among others");
    if (fine) count = screens.refine(*fine, begin, list.data(), count);
    for (int32_t k = 0; k < count; ++k) out[begin + list[k]] = true;
  }
  return out;
}

// Weights the least above the distances from a seed: it comes nearer to every row.
void test_ties(Team& team, const ScanSide& rows, Metric metric, const std::vector<int64_t>& seeds,
               const std::string& what) {
  const int64_t n = rows.size();
  std::vector<double> weights(static_cast<size_t>(n), kInfinity);
  SeedScreens screens = screens_of(team, rows, metric, weights);
  for (const int64_t seed : seeds) {
    const std::vector<double> far = distances(rows, metric, seed);
    for (int64_t i = 0; i < n; ++i) {
      weights[i] = std::nextafter(far[i], kInfinity);
      screens.lower(i);
    }
    // Time for all the screens that there are.
    if (seed != seeds[0]) screens.learn(team, rows.positions(), 5 * n, 0);
    const std::vector<bool> found = left(screens, rows, seed);
    expect(std::count(found.begin(), found.end(), true) == n, "ties of " + what);
  }
}

// Rows of which all that Cauchy and Schwarz allow for comes true: steps are 1, the mean is 0, rows
// are rounded by .3 everywhere, or by more to either side, and seeds, all elements of which are
// equal, by half of what their second plane tells.
void test_aligned(Team& team, int64_t d) {
  constexpr int64_t kPairs = 250;
  std::mt19937 random(3);
  std::vector<float> data;
  for (int64_t i = 0; i < kPairs; ++i) {
    std::vector<float> row;
    for (int64_t e = 0; e < d; ++e) {
      const auto whole = static_cast<float>(random() % 120);
      const float kinds[] = {e == 0 ? 127.0f : whole + 0.3f, 90.0f + 77.49f / 256.0f, whole + 0.3f,
                             whole + (random() % 2 == 0 ? 0.49f : -0.49f)};
      row.push_back(kinds[i % 4]);
    }
    for (const float sign : {1.0f, -1.0f}) {
      for (const float value : row) data.push_back(sign * value);
    }
  }
  const Matrix x{data.data(), 2 * kPairs, d, d, DType::kFloat32};
  const ScanSide rows = all_rows(team, x);
  for (const ScreenMode mode : {ScreenMode::kAlways, ScreenMode::kDense}) {
    use_screen(mode);
    const std::string what = "aligned rows, d " + std::to_string(d);
    test_ties(team, rows, Metric::kEuclidean, {2, 0, 1, 2, 3, 4, 5}, what);
  }
  use_screen(ScreenMode::kAuto);
}

// Seed after seed, as k-means++ has them; returns how many comparisons the screens left that
// change nothing.
int64_t test_run(Team& team, const ScanSide& rows, Metric metric, const std::string& what) {
  const int64_t n = rows.size();
  std::vector<double> weights(static_cast<size_t>(n), kInfinity);
  SeedScreens screens = screens_of(team, rows, metric, weights);
  int64_t idle = 0;
  for (int64_t s = 0; s < kTried; ++s) {
    const int64_t seed = s * 7919 % n;
    weights[seed] = 0.0;
    screens.lower(seed);
    const std::vector<double> far = distances(rows, metric, seed);
    const std::vector<bool> found = left(screens, rows, seed);
    int64_t nearer = 0;
    for (int64_t i = 0; i < n; ++i) {
      if (!(far[i] < weights[i])) continue;
      expect(found[i], "a row of " + what);
      weights[i] = far[i];
      screens.lower(i);
      ++nearer;
    }
    const int64_t compared = std::count(found.begin(), found.end(), true);
    screens.learn(team, rows.positions(), compared, nearer);
    idle += compared - nearer;
  }
  return idle;
}

void test_rows(Team& team, const std::string& kind, int64_t d) {
  const std::vector<float> data = made(kind, kRows, d);
  const Matrix x{data.data(), kRows, d, d, DType::kFloat32};
  const ScanSide rows = all_rows(team, x);
  for (const Metric metric : {Metric::kEuclidean, Metric::kCosine}) {
    for (const ScreenMode mode :
         {ScreenMode::kAuto, ScreenMode::kAlways, ScreenMode::kWide, ScreenMode::kDense}) {
      use_screen(mode);
      const std::string what = kind + ", d " + std::to_string(d) + ", metric " +
                               std::to_string(static_cast<int>(metric)) + ", mode " +
                               std::to_string(static_cast<int>(mode));
      test_ties(team, rows, metric, {0, kRows / 3, kRows - 1}, what);
      const int64_t idle = test_run(team, rows, metric, what);
      // In six clusters the screens leave little of what changes nothing.
      if (kind == "clusters" && d >= 24) expect(idle < kTried * kRows / 2, "too many of " + what);
    }
  }
  use_screen(ScreenMode::kAuto);
}

// Codes of no more rows than there is memory for: the others are always left.
void test_memory(Team& team) {
  constexpr int64_t kWide = 16384, kMany = 4096 + 500;
  std::vector<int8_t> data(static_cast<size_t>(kWide * kMany));
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<int8_t>(i * 2654435761u >> 13);
  const Matrix x{data.data(), kMany, kWide, kWide, DType::kInt8};
  const ScanSide rows = all_rows(team, x);
  use_screen(ScreenMode::kDense);
  std::vector<double> weights(static_cast<size_t>(kMany), 1.0);  // less than any distance
  const SeedScreens screens = screens_of(team, rows, Metric::kEuclidean, weights);
  const std::vector<bool> found = left(screens, rows, 3);
  const auto held = found.begin() + 4096;
  expect(std::count(found.begin(), held, true) < 100, "rows with codes");
  expect(std::count(held, found.end(), true) == kMany - 4096, "rows without codes");
  use_screen(ScreenMode::kAuto);
}

void test(Team& team) {
  for (const char* kind :
       {"clusters", "isotropic", "close", "lognormal", "huge", "tiny", "mixed", "spike"}) {
    for (const int64_t d : {1, 24, 40, 100, 133, 384}) test_rows(team, kind, d);
  }
  for (const int64_t d : {64, 384}) test_aligned(team, d);
  std::printf("%s\n", kernels().name);
}

}  // namespace
}  // namespace meddel

int main() {
  const meddel::Context context;
  meddel::Team team(context);
  meddel::test_memory(team);
  for (const std::string& isa : meddel::available_isas()) {
    meddel::use_isa(isa);
    meddel::test(team);
  }
  return meddel::failures == 0 ? 0 : 1;
}

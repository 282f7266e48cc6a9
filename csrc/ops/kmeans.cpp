#include "ops/kmeans.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/truth.h"
#include "ops/centroid_sum.h"
#include "ops/kmeans_assign.h"

namespace meddel {
namespace {

constexpr int64_t kSums = int64_t{1} << 20;  // fp64 sums of clusters that are added up together

double sum_in_order(const double* values, int64_t count) {
  double sum = 0.0;
  for (int64_t i = 0; i < count; ++i) sum += values[i];
  return sum;
}

// <v, v> in the lanes of the truth. Elements are full fp64 here, so multiply and add must not be
// fused: this file is compiled with -ffp-contract=off.
double squared_norm(const double* v, int64_t d) {
  double lane[8] = {};
  for (int64_t i = 0; i < d; ++i) lane[i % 8] += v[i] * v[i];
  return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

// The one row that each empty cluster takes; -1 for the others.
std::vector<int64_t> refill_empty(const Members& members, const double* distances, int64_t k) {
  std::vector<int64_t> refill(static_cast<size_t>(k), -1);
  std::vector<int64_t> empty;
  for (int64_t c = 0; c < k; ++c) {
    if (members.begin[c] == members.begin[c + 1]) empty.push_back(c);
  }
  if (empty.empty()) return refill;
  std::vector<int64_t> farthest(members.rows.size());
  std::iota(farthest.begin(), farthest.end(), int64_t{0});
  const auto wanted = farthest.begin() + std::min(farthest.size(), empty.size());
  std::partial_sort(farthest.begin(), wanted, farthest.end(), [&](int64_t a, int64_t b) {
    return distances[a] > distances[b] || (distances[a] == distances[b] && a < b);
  });
  for (size_t e = 0; e < empty.size() && e < farthest.size(); ++e) refill[empty[e]] = farthest[e];
  return refill;
}

// What the iterations work with.
class Lloyd {
 public:
  Lloyd(const Matrix& x, int64_t k, Metric metric, const Context& context)
      : x_(x),
        k_(k),
        metric_(metric),
        team_(context),
        rows_(all_rows(team_, x)),
        assigner_(team_, rows_, k, metric) {}

  // The `made`-th of at most `total` assignments.
  void assign(const std::vector<float>& centroids, int64_t made, int64_t total) {
    assigner_.assign({centroids.data(), k_, x_.d, x_.d, DType::kFloat32}, made, total);
  }

  const std::vector<int64_t>& labels() const { return assigner_.labels(); }
  std::vector<double> distances() { return assigner_.distances(); }

  // Makes the centroids of the marked clusters, and of those without members, anew.
  void update(const std::vector<bool>& changed, std::vector<float>& centroids) {
    const bool spherical = metric_ == Metric::kCosine;
    const Members members(labels().data(), x_.n, k_);
    std::vector<int64_t> refill(static_cast<size_t>(k_), -1);
    if (members.some_empty()) refill = refill_empty(members, distances().data(), k_);
    const std::vector<double> none;
    const int64_t share = (k_ + team_.most() - 1) / team_.most();
    team_.run_range(
        k_, std::clamp(kSums / x_.d, int64_t{1}, share),
        [&](int64_t begin, int64_t end, int worker) {
          CentroidSum sum(team_, worker, x_, spherical ? rows_.norms : none);
          std::vector<double> totals(static_cast<size_t>((end - begin) * x_.d), 0.0);
          std::vector<int64_t> next(members.begin.begin() + begin, members.begin.begin() + end);
          // Block by block, whose rows come from memory once.
          for (int64_t last = kBlockRows; last < x_.n + kBlockRows; last += kBlockRows) {
            for (int64_t c = begin; c < end; ++c) {
              if (!changed[c] || refill[c] >= 0) continue;
              const int64_t from = next[c - begin];
              int64_t to = from;
              while (to < members.begin[c + 1] && members.rows[to] < last) ++to;
              if (from < to)
                sum(&members.rows[from], &members.rows[from] + (to - from),
                    &totals[(c - begin) * x_.d]);
              next[c - begin] = to;
            }
          }
          for (int64_t c = begin; c < end; ++c) {
            if (!changed[c] && refill[c] < 0) continue;
            double* total = &totals[(c - begin) * x_.d];
            if (refill[c] >= 0) sum(&refill[c], &refill[c] + 1, total);
            double divisor = static_cast<double>(members.begin[c + 1] - members.begin[c]);
            if (refill[c] >= 0) {
              divisor = 1.0;
            } else if (spherical) {
              divisor = std::sqrt(squared_norm(total, x_.d));
            }
            // Members cancel out, or have no direction: a zero centroid.
            for (int64_t e = 0; e < x_.d; ++e) {
              centroids[c * x_.d + e] =
                  divisor == 0.0 ? 0.0f : static_cast<float>(total[e] / divisor);
            }
          }
        });
  }

 private:
  const Matrix& x_;
  const int64_t k_;
  const Metric metric_;
  Team team_;
  ScanSide rows_;
  Assigner assigner_;
};

// The clusters that rows have left or joined.
std::vector<bool> changed_clusters(const std::vector<int64_t>& last,
                                   const std::vector<int64_t>& now, int64_t k) {
  std::vector<bool> changed(static_cast<size_t>(k), last.empty());
  for (size_t i = 0; i < last.size(); ++i) {
    if (now[i] == last[i]) continue;
    changed[now[i]] = changed[last[i]] = true;
  }
  return changed;
}

}  // namespace

KMeans kmeans(const Matrix& x, std::vector<float> centroids, int64_t k, bool spherical,
              int64_t max_iterations, const Context& context) {
  KMeans out{{}, std::move(centroids), {}, 0.0, 0, false};
  const Metric metric = spherical ? Metric::kCosine : Metric::kEuclidean;
  Lloyd lloyd(x, k, metric, context);
  std::vector<int64_t> last;
  for (;;) {
    lloyd.assign(out.centroids, out.iterations, max_iterations + 1);
    const std::vector<bool> changed = changed_clusters(last, lloyd.labels(), k);
    out.converged =
        !last.empty() && std::find(changed.begin(), changed.end(), true) == changed.end();
    if (out.converged || out.iterations == max_iterations) break;
    lloyd.update(changed, out.centroids);
    last = lloyd.labels();
    ++out.iterations;
  }
  out.labels = lloyd.labels();
  out.distances = lloyd.distances();
  std::vector<double> blocks;
  for (int64_t begin = 0; begin < x.n; begin += kBlockRows) {
    blocks.push_back(sum_in_order(&out.distances[begin], std::min(kBlockRows, x.n - begin)));
  }
  out.inertia = sum_in_order(blocks.data(), static_cast<int64_t>(blocks.size()));
  return out;
}

}  // namespace meddel

#include "ops/kmeans.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "base/norms.h"
#include "base/truth.h"
#include "ops/centroid_sum.h"
#include "ops/kmeans_assign.h"
#include "ops/kmeans_products.h"
#include "ops/kmeans_tol.h"

namespace meddel {
namespace {

constexpr int64_t kSums = int64_t{1} << 20;  // fp64 sums of clusters that are added up together

// The clusters of which no member weighs anything.
std::vector<int64_t> weightless(const std::vector<int64_t>& labels,
                                const std::vector<double>& weights, int64_t k) {
  std::vector<bool> kept(static_cast<size_t>(k), false);
  int64_t left = k;
  for (size_t i = 0; left > 0 && i < labels.size(); ++i) {
    if (kept[labels[i]] || (!weights.empty() && weights[i] == 0.0)) continue;
    kept[labels[i]] = true;
    --left;
  }
  std::vector<int64_t> out;
  for (int64_t c = 0; c < k; ++c) {
    if (!kept[c]) out.push_back(c);
  }
  return out;
}

// The rows with the largest distances, largest first; those that weigh nothing come last.
std::vector<int64_t> farthest_rows(std::vector<double> distances,
                                   const std::vector<double>& weights, size_t count) {
  for (size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] == 0.0) distances[i] = -1.0;
  }
  std::vector<int64_t> rows(distances.size());
  std::iota(rows.begin(), rows.end(), int64_t{0});
  count = std::min(count, rows.size());
  const auto end = rows.begin() + static_cast<std::ptrdiff_t>(count);
  std::partial_sort(rows.begin(), end, rows.end(), [&](int64_t a, int64_t b) {
    return distances[a] > distances[b] || (distances[a] == distances[b] && a < b);
  });
  rows.resize(count);
  return rows;
}

// What the iterations work with.
class Lloyd {
 public:
  // Where it is but for one assignment (`once`), nothing is worked out that serves several.
  Lloyd(const Matrix& x, int64_t k, Metric metric, bool once, const Context& context)
      : x_(x), k_(k), metric_(metric), team_(context), rows_{&x, {}, {}, {}} {
    if (ProductAssigner::pays(x, k, once)) {
      if (!once) {
        rows_.squares = squared_norms(team_, x);
        if (metric == Metric::kCosine) rows_.norms = roots(rows_.squares);
      }
      products_.emplace(team_, x, rows_.squares, metric, once);
    } else {
      rows_ = all_rows(team_, x);
      assigner_.emplace(team_, rows_, k, metric);
    }
  }

  // The `made`-th of at most `total` assignments.
  void assign(const std::vector<float>& centroids, int64_t made, int64_t total) {
    if (products_) return products_->assign(centroids, k_, made, total);
    assigner_->assign({centroids.data(), k_, x_.d, x_.d, DType::kFloat32}, made, total);
  }

  const std::vector<int64_t>& labels() const {
    return products_ ? products_->labels() : assigner_->labels();
  }
  std::vector<double> distances() {
    return products_ ? products_->distances() : assigner_->distances();
  }

  // Makes the centroids of the marked clusters, and of those without weight, anew.
  void update(const std::vector<bool>& changed, const std::vector<double>& weights,
              std::vector<float>& centroids) {
    const bool spherical = metric_ == Metric::kCosine;
    const std::vector<int64_t> refill = refills(weights);
    const auto wanted = [&](int64_t c) { return changed[c] && refill[c] < 0; };
    const std::vector<double> none;
    const Scaling plain{spherical ? rows_.norms : none, none}, scaling{plain.scales, weights};
    std::optional<Members> members;
    if (!products_) members.emplace(labels().data(), x_.n, k_);
    const int64_t width = scaling.width(x_.d), share = (k_ + team_.most() - 1) / team_.most();
    const int64_t grain = std::clamp(kSums / width, int64_t{1}, share);
    team_.run_range(k_, grain, [&](int64_t begin, int64_t end, int worker) {
      CentroidSum one(team_, worker, x_, plain), sum(team_, worker, x_, scaling);
      std::vector<double> totals(static_cast<size_t>((end - begin) * width), 0.0);
      std::vector<int64_t> counts(static_cast<size_t>(end - begin), 0);
      if (members) {
        add_by_blocks(*members, begin, end, sum, totals, counts, wanted);
      } else {
        add_in_order(begin, end, worker, sum, totals, counts, wanted);
      }
      for (int64_t c = begin; c < end; ++c) {
        if (!changed[c] && refill[c] < 0) continue;
        double* total = &totals[(c - begin) * width];
        double divisor = 1.0;
        if (refill[c] >= 0) {
          one(&refill[c], &refill[c] + 1, total);
        } else if (spherical) {
          divisor = std::sqrt(squared_norm(total, x_.d));
        } else {
          divisor = weights.empty() ? static_cast<double>(counts[c - begin]) : total[x_.d];
        }
        // Members cancel out, or have no direction: a zero centroid.
        for (int64_t e = 0; e < x_.d; ++e) {
          centroids[c * x_.d + e] = divisor == 0.0 ? 0.0f : static_cast<float>(total[e] / divisor);
        }
      }
    });
  }

  // Shifts of the centroids, all together, at which a tolerance ends it.
  double enough(double tol) {
    return tol == 0.0 ? 0.0 : tol * mean_variance(team_, rows_, metric_ == Metric::kCosine);
  }

 private:
  // Adds up the members of the wanted ones of some clusters: block by block, whose rows come from
  // memory once.
  template <class Wanted>
  void add_by_blocks(const Members& members, int64_t begin, int64_t end, CentroidSum& sum,
                     std::vector<double>& totals, std::vector<int64_t>& counts,
                     const Wanted& wanted) {
    const auto width = static_cast<int64_t>(totals.size()) / (end - begin);
    std::vector<int64_t> next(members.begin.begin() + begin, members.begin.begin() + end);
    for (int64_t c = begin; c < end; ++c) {
      counts[c - begin] = members.begin[c + 1] - members.begin[c];
    }
    for (int64_t last = kBlockRows; last < x_.n + kBlockRows; last += kBlockRows) {
      for (int64_t c = begin; c < end; ++c) {
        if (!wanted(c)) continue;
        const int64_t from = next[c - begin];
        int64_t to = from;
        while (to < members.begin[c + 1] && members.rows[to] < last) ++to;
        const int64_t* rows = members.rows.data();
        if (from < to) sum(rows + from, rows + to, &totals[(c - begin) * width]);
        next[c - begin] = to;
      }
    }
  }

  // The same of rows of few elements, which no order has to be found for: one after the other.
  template <class Wanted>
  void add_in_order(int64_t begin, int64_t end, int worker, CentroidSum& sum,
                    std::vector<double>& totals, std::vector<int64_t>& counts,
                    const Wanted& wanted) {
    const auto width = static_cast<int64_t>(totals.size()) / (end - begin);
    std::vector<double> parts(totals.size());
    std::vector<int64_t> seen(counts.size(), -1), touched;  // blocks, and the clusters of one
    const std::vector<int64_t>& label = labels();
    for (int64_t block = 0; block < x_.n; block += kBlockRows) {
      team_.checkpoint(worker);
      for (int64_t i = block; i < std::min(x_.n, block + kBlockRows); ++i) {
        const int64_t c = label[i] - begin;
        if (c < 0 || c >= end - begin) continue;
        if (seen[c] != block) {
          if (!wanted(label[i])) continue;
          seen[c] = block;
          touched.push_back(c);
          std::fill_n(&parts[c * width], width, 0.0);
        }
        ++counts[c];
        sum.add(i, &parts[c * width]);
      }
      for (const int64_t c : touched) {
        for (int64_t e = c * width; e < (c + 1) * width; ++e) totals[e] += parts[e];
      }
      touched.clear();
    }
  }

  // The one row that each cluster without weight takes; -1 for the others.
  std::vector<int64_t> refills(const std::vector<double>& weights) {
    std::vector<int64_t> out(static_cast<size_t>(k_), -1);
    const std::vector<int64_t> clusters = weightless(labels(), weights, k_);
    if (clusters.empty()) return out;
    const std::vector<int64_t> rows = farthest_rows(distances(), weights, clusters.size());
    for (size_t r = 0; r < rows.size(); ++r) out[clusters[r]] = rows[r];
    return out;
  }

  const Matrix& x_;
  const int64_t k_;
  const Metric metric_;
  Team team_;
  ScanSide rows_;
  std::optional<ProductAssigner> products_;  // one of the two
  std::optional<Assigner> assigner_;
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

KMeans kmeans(const Matrix& x, std::vector<float> centroids, int64_t k,
              const KMeansOptions& options, const Context& context) {
  KMeans out{{}, std::move(centroids), {}, 0.0, 0, false};
  const std::vector<double>& weights = options.weights;
  const bool once = options.max_iterations == 0 && options.tol == 0.0;
  Lloyd lloyd(x, k, options.spherical ? Metric::kCosine : Metric::kEuclidean, once, context);
  const double enough = lloyd.enough(options.tol);
  bool little = false;  // whether the last update moved the centroids by no more than that
  std::vector<int64_t> last;
  for (;;) {
    lloyd.assign(out.centroids, out.iterations, options.max_iterations + 1);
    const std::vector<bool> changed = changed_clusters(last, lloyd.labels(), k);
    out.converged = little || (!last.empty() &&
                               std::find(changed.begin(), changed.end(), true) == changed.end());
    if (out.converged || out.iterations == options.max_iterations) break;
    const std::vector<float> before = out.centroids;
    lloyd.update(changed, weights, out.centroids);
    little = options.tol > 0.0 && squared_shift(before, out.centroids, k, x.d) <= enough;
    last = lloyd.labels();
    ++out.iterations;
  }
  out.labels = lloyd.labels();
  out.distances = lloyd.distances();
  out.inertia = sum_by_blocks(x.n, [&](int64_t i) {
    return weights.empty() ? out.distances[i] : weights[i] * out.distances[i];
  });
  return out;
}

}  // namespace meddel

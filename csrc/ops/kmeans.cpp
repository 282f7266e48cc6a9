#include "ops/kmeans.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/copies.h"
#include "base/norms.h"
#include "base/truth.h"
#include "cpu/isa.h"
#include "ops/centroid_sum.h"
#include "ops/kmeans_tol.h"
#include "screen/pair_scan.h"
#include "screen/plan.h"
#include "screen/scan_screens.h"

namespace meddel {
namespace {

// By row: the nearest centroid, and its score.
struct Assignment {
  explicit Assignment(int64_t n)
      : labels(static_cast<size_t>(n), -1), best(static_cast<size_t>(n), -kInfinity) {}

  std::vector<double> distances(Metric metric) const {
    std::vector<double> out;
    out.reserve(best.size());
    for (const double s : best) out.push_back(distance_of(metric, s));
    return out;
  }

  std::vector<int64_t> labels;
  std::vector<double> best;
};

// Nearest centroid per row: the operation of a pair scan.
class Nearest {
 public:
  static constexpr bool kRising = true;

  Nearest(const ScanSide& x, const ScanSide& centroids, Metric metric, Assignment& out)
      : x_(x),
        centroids_(centroids),
        metric_(metric),
        out_(out),
        settled_(x.size()),
        moved_(centroids.size()) {}

  // Goes on from an assignment since which the centroids of the first `moved` positions have moved.
  // The rows from position `settled` on belong to others: theirs is still the nearest of these, so
  // that only those that moved can be nearer. The rest begin with their last one, for a bar.
  void go_on(Team& team, int64_t settled, int64_t moved) {
    settled_ = settled;
    moved_ = moved;
    const WidenFn widen = kernels().widen[static_cast<int>(x_.x->dtype)];
    const DotFn dot = kernels().dot[static_cast<int>(DType::kFloat32)];
    team.run_range(settled, kBlockRows, [&](int64_t begin, int64_t end, int) {
      std::vector<float> wide(static_cast<size_t>(x_.x->d));
      for (int64_t p = begin; p < end; ++p) {
        const int64_t row = x_.rows[p], label = out_.labels[row];
        widen(x_.data(p), x_.x->d, wide.data());
        const double inner = dot(wide.data(), centroids_.x->row(label), x_.x->d);
        out_.best[row] = score(metric_, inner, x_.squares[row], centroids_.squares[label]);
      }
    });
  }

  Metric metric() const { return metric_; }
  ColumnRange range(int64_t p) const { return {0, p < settled_ ? centroids_.size() : moved_}; }
  bool counts(int64_t p, int64_t q) const { return out_.labels[x_.rows[p]] != centroids_.rows[q]; }
  double bar(int64_t p) const { return out_.best[x_.rows[p]]; }

  void take(int64_t p, int64_t q, double inner) {
    const double found = score(metric_, inner, x_.square(p), centroids_.square(q));
    const int64_t row = x_.rows[p], centroid = centroids_.rows[q];
    double& best = out_.best[row];
    if (found > best || (found == best && centroid < out_.labels[row])) {
      best = found;
      out_.labels[row] = centroid;
    }
  }

  void finish_band(int64_t, int64_t) {}

 private:
  const ScanSide& x_;
  const ScanSide& centroids_;
  const Metric metric_;
  Assignment& out_;
  int64_t settled_;
  int64_t moved_;
};

// The one row that each cluster without weight takes; -1 for the others.
std::vector<int64_t> refill_weightless(const Assignment& nearest, Metric metric,
                                       const std::vector<double>& weights, int64_t k) {
  const auto weighs = [&](int64_t i) { return weights.empty() || weights[i] > 0.0; };
  const auto n = static_cast<int64_t>(nearest.labels.size());
  std::vector<bool> kept(static_cast<size_t>(k), false);
  for (int64_t i = 0; i < n; ++i) {
    if (weighs(i)) kept[nearest.labels[i]] = true;
  }
  std::vector<int64_t> refill(static_cast<size_t>(k), -1);
  const auto wanted = std::min<int64_t>(n, std::count(kept.begin(), kept.end(), false));
  if (wanted == 0) return refill;
  std::vector<double> distances = nearest.distances(metric);
  for (int64_t i = 0; i < n; ++i) {
    if (!weighs(i)) distances[i] = -1.0;
  }
  std::vector<int64_t> farthest(distances.size());
  std::iota(farthest.begin(), farthest.end(), int64_t{0});
  std::partial_sort(farthest.begin(), farthest.begin() + wanted, farthest.end(),
                    [&](int64_t a, int64_t b) {
                      return distances[a] > distances[b] || (distances[a] == distances[b] && a < b);
                    });
  auto next = farthest.begin();
  for (int64_t c = 0; c < k && next < farthest.begin() + wanted; ++c) {
    if (!kept[c]) refill[c] = *next++;
  }
  return refill;
}

// Rows and what is known of them throughout, with the screens learned from them and the first
// centroids. Of rows that are equal, and of centroids, the first alone is compared.
class Lloyd {
 public:
  Lloyd(const Matrix& x, int64_t k, Metric metric, const Context& context)
      : x_(x),
        k_(k),
        metric_(metric),
        team_(context),
        rows_(all_rows(team_, x)),
        copies_(team_, x) {}

  // Tells, before an assignment, how many of at most `total` were made.
  void announce(int64_t made, int64_t total) {
    assigned_ = made * x_.n;
    to_assign_ = total * x_.n;
    team_.announce(assigned_, to_assign_);
  }

  // Goes on from the last assignment (null the first time), given which centroids have moved since.
  // Puts rows and centroids into another order.
  Assignment assign(ScanSide& centroids, const Assignment* last, const std::vector<bool>& moved) {
    if (last == nullptr) {
      learn(centroids);
      if (copies_.any()) rows_.rows = copies_.distinct;
    }
    const Copies equal(team_, *centroids.x);
    if (equal.any()) centroids.rows = equal.distinct;
    const auto split = [](std::vector<int64_t>& rows, const auto& first) {
      return std::stable_partition(rows.begin(), rows.end(), first) - rows.begin();
    };
    int64_t settled = rows_.size(), fresh = centroids.size();
    if (last != nullptr) {
      settled = split(rows_.rows, [&](int64_t i) { return moved[last->labels[i]]; });
      fresh = split(centroids.rows, [&](int64_t c) { return moved[c]; });
    }
    std::vector<Codes> dense_tiles;
    if (screening_.dense != nullptr) {
      for (int64_t tile = 0; tile < centroids.size(); tile += scan::kTileColumns) {
        const int64_t end = std::min(centroids.size(), tile + scan::kTileColumns);
        dense_tiles.push_back(dense_->encode(centroids.positions(), tile, end));
      }
      screening_.y_dense = [&](int64_t tile, Codes&) -> const Codes& {
        return dense_tiles[tile / scan::kTileColumns];
      };
    }
    if (screening_.prefix != nullptr) {
      centroid_codes_ = prefix_->encode(team_, centroids.positions());
      screening_.y_codes = &centroid_codes_;
    }
    Assignment out = last == nullptr ? Assignment(x_.n) : *last;
    Nearest nearest(rows_, centroids, metric_, out);
    if (last != nullptr) nearest.go_on(team_, settled, fresh);
    team_.announce(assigned_, to_assign_, x_.n);
    scan_pairs(team_, rows_, centroids, screening_, nearest);
    for (int64_t i = 0; copies_.any() && i < x_.n; ++i) {
      out.labels[i] = out.labels[copies_.first(i)];
      out.best[i] = out.best[copies_.first(i)];
    }
    return out;
  }

  ScanSide side(const Matrix& centroids) { return all_rows(team_, centroids); }

  // Makes the centroids of the marked clusters, and of those without weight, anew.
  void update(const Assignment& nearest, const std::vector<bool>& changed,
              const std::vector<double>& weights, std::vector<float>& centroids) {
    const bool spherical = metric_ == Metric::kCosine;
    const std::vector<int64_t> refill = refill_weightless(nearest, metric_, weights, k_);
    const Members members(nearest.labels.data(), x_.n, k_);
    const std::vector<double> none;
    team_.run(k_, [&](int64_t c, int worker) {
      const bool filled = refill[c] >= 0;
      if (!changed[c] && !filled) return;
      const Scaling scaling{spherical ? rows_.norms : none, filled ? none : weights};
      CentroidSum sum(team_, worker, x_, scaling);
      std::vector<double> total(static_cast<size_t>(scaling.width(x_.d)), 0.0);
      if (filled) {
        sum(&refill[c], &refill[c] + 1, total.data());
      } else {
        const int64_t* rows = members.rows.data();
        sum(rows + members.begin[c], rows + members.begin[c + 1], total.data());
      }
      double divisor = weights.empty()
                           ? static_cast<double>(members.begin[c + 1] - members.begin[c])
                           : total.back();
      if (filled) {
        divisor = 1.0;
      } else if (spherical) {
        divisor = std::sqrt(squared_norm(total.data(), x_.d));
      }
      // Members cancel out, or have no direction: a zero centroid.
      for (int64_t e = 0; e < x_.d; ++e) {
        centroids[c * x_.d + e] = divisor == 0.0 ? 0.0f : static_cast<float>(total[e] / divisor);
      }
    });
  }

  // Shifts of the centroids that are too small, all together, for a tolerance.
  double enough(double tol) {
    return tol == 0.0 ? 0.0 : tol * mean_variance(team_, rows_, metric_ == Metric::kCosine);
  }

 private:
  void learn(const ScanSide& centroids) {
    const double pairs = static_cast<double>(x_.n) * static_cast<double>(k_);
    const ScreenPlan plan = plan_screens(pairs, static_cast<double>(k_), x_.d);
    if (!plan.prefix && !plan.dense) return;
    const Sample sample(metric_, rows_.positions(), centroids.positions(), plan);
    if (plan.dense) {
      dense_ = Screen::dense(sample);
      screening_.dense = &*dense_;
      dense_rows_.emplace(team_, *dense_, rows_);
      screening_.x_dense = [this](int64_t begin, int64_t end) {
        return (*dense_rows_)(rows_, begin, end);
      };
    }
    if (plan.prefix) {
      prefix_ = choose_prefix(team_, sample, screening_.dense, rows_.positions(),
                              centroids.positions(), pairs, typical_bar(sample));
    }
    if (prefix_) {
      screening_.prefix = &*prefix_;
      prefix_codes_ = prefix_->encode_rows(team_, rows_.positions());
      screening_.x_codes = [this](int64_t begin, int64_t end) {
        return prefix_codes_.gather(&rows_.rows[begin], end - begin, prefix_->width());
      };
    }
  }

  const Matrix& x_;
  const int64_t k_;
  const Metric metric_;
  Team team_;
  ScanSide rows_;
  const Copies copies_;
  std::optional<Screen> prefix_;
  std::optional<Screen> dense_;
  std::optional<DenseRows> dense_rows_;
  RowCodes prefix_codes_;  // of all rows
  Codes centroid_codes_;
  scan::Screening screening_;
  int64_t assigned_ = 0;
  int64_t to_assign_ = 0;
};

// The clusters that rows have left or joined.
std::vector<bool> changed_clusters(const Assignment* last, const Assignment& now, int64_t k) {
  std::vector<bool> changed(static_cast<size_t>(k), last == nullptr);
  for (size_t i = 0; last != nullptr && i < now.labels.size(); ++i) {
    if (now.labels[i] == last->labels[i]) continue;
    changed[now.labels[i]] = changed[last->labels[i]] = true;
  }
  return changed;
}

}  // namespace

KMeans kmeans(const Matrix& x, std::vector<float> centroids, int64_t k,
              const KMeansOptions& options, const Context& context) {
  KMeans out{{}, std::move(centroids), {}, 0.0, 0, false};
  const Metric metric = options.spherical ? Metric::kCosine : Metric::kEuclidean;
  Lloyd lloyd(x, k, metric, context);
  const double enough = lloyd.enough(options.tol);
  bool little = false;  // whether the last update moved the centroids by no more than that
  std::optional<Assignment> last;
  std::vector<bool> moved;
  for (;;) {
    const Matrix matrix{out.centroids.data(), k, x.d, x.d, DType::kFloat32};
    lloyd.announce(out.iterations, options.max_iterations + 1);
    ScanSide side = lloyd.side(matrix);
    Assignment nearest = lloyd.assign(side, last ? &*last : nullptr, moved);
    const std::vector<bool> changed = changed_clusters(last ? &*last : nullptr, nearest, k);
    out.converged =
        little || (last && std::find(changed.begin(), changed.end(), true) == changed.end());
    if (out.converged || out.iterations == options.max_iterations) {
      out.distances = nearest.distances(metric);
      out.labels = std::move(nearest.labels);
      break;
    }
    const std::vector<float> before = out.centroids;
    lloyd.update(nearest, changed, options.weights, out.centroids);
    little = options.tol > 0.0 && squared_shift(before, out.centroids, k, x.d) <= enough;
    moved.assign(static_cast<size_t>(k), false);
    for (int64_t c = 0; c < k; ++c) {
      const auto* row = &out.centroids[c * x.d];
      moved[c] = !std::equal(row, row + x.d, &before[c * x.d]);
    }
    last.emplace(std::move(nearest));
    ++out.iterations;
  }
  const std::vector<double>& weights = options.weights;
  out.inertia = sum_by_blocks(x.n, [&](int64_t i) {
    return weights.empty() ? out.distances[i] : weights[i] * out.distances[i];
  });
  return out;
}

}  // namespace meddel

#include "kmeans.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "cpu/isa.h"
#include "norms.h"
#include "pair_scan.h"
#include "truth.h"

namespace meddel {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

double sum_in_order(const double* values, int64_t count) {
  double sum = 0.0;
  for (int64_t i = 0; i < count; ++i) sum += values[i];
  return sum;
}

// Draws rows with probability proportional to their weight, as reference.py states.
class Seeding {
 public:
  Seeding(const Matrix& x, bool spherical, const Context& context)
      : x_(x),
        spherical_(spherical),
        team_(context),
        dots_(kernels().dots[static_cast<int>(x.dtype)]),
        norms_(spherical ? roots(squared_norms(team_, x)) : squared_norms(team_, x)),
        weight_(static_cast<size_t>(x.n), kInfinity),
        taken_(static_cast<size_t>(x.n), false),
        blocks_(static_cast<size_t>((x.n + kBlockRows - 1) / kBlockRows)) {}

  void add(int64_t seed) {
    taken_[seed] = true;
    team_.run_range(x_.n, kBlockRows, [&](int64_t begin, int64_t end, int) {
      double inner[kBlockRows];
      dots_(x_.row(seed), x_.row(begin), x_.ld, nullptr, end - begin, x_.d, inner);
      for (int64_t i = begin; i < end; ++i) {
        const double xy = inner[i - begin];
        const double distance = spherical_ ? cosine_distance(cosine(xy, norms_[i], norms_[seed]))
                                           : squared_distance(xy, norms_[i], norms_[seed]);
        weight_[i] = i == seed ? 0.0 : std::min(weight_[i], distance);
      }
      blocks_[begin / kBlockRows] = sum_in_order(&weight_[begin], end - begin);
    });
  }

  int64_t draw(double uniform) const {
    std::vector<double> running(blocks_.size());
    std::partial_sum(blocks_.begin(), blocks_.end(), running.begin());
    const double total = running.back();
    if (total == 0.0) return std::find(taken_.begin(), taken_.end(), false) - taken_.begin();
    const double target = std::min(uniform * total, std::nextafter(total, 0.0));
    const int64_t block =
        std::upper_bound(running.begin(), running.end(), target) - running.begin();
    double sum = block > 0 ? running[block - 1] : 0.0;
    int64_t last = -1;
    for (int64_t i = block * kBlockRows; i < std::min(x_.n, (block + 1) * kBlockRows); ++i) {
      sum += weight_[i];
      if (sum > target) return i;
      if (weight_[i] != 0.0) last = i;
    }
    return last;  // rounding left the running sum short of the target: the last possible row
  }

 private:
  const Matrix& x_;
  const bool spherical_;
  Team team_;
  const DotsFn dots_;
  const std::vector<double> norms_;
  std::vector<double> weight_;
  std::vector<bool> taken_;
  std::vector<double> blocks_;
};

// Nearest centroid per row: the operation of a pair scan.
class Nearest {
 public:
  static constexpr bool kRising = true;

  Nearest(const ScanSide& x, const ScanSide& centroids, Metric metric)
      : x_(x),
        centroids_(centroids),
        metric_(metric),
        labels(static_cast<size_t>(x.size()), -1),
        best_(static_cast<size_t>(x.size()), -kInfinity) {}

  // Lets every row begin with a centroid: a bar from the start.
  void begin_with(Team& team, const std::vector<int64_t>& guess) {
    const WidenFn widen = kernels().widen[static_cast<int>(x_.x->dtype)];
    const DotFn dot = kernels().dot[static_cast<int>(DType::kFloat32)];
    team.run_range(x_.size(), kBlockRows, [&](int64_t begin, int64_t end, int) {
      std::vector<float> row(static_cast<size_t>(x_.x->d));
      for (int64_t p = begin; p < end; ++p) {
        widen(x_.data(p), x_.x->d, row.data());
        take(p, guess[p], dot(row.data(), centroids_.data(guess[p]), x_.x->d));
      }
    });
  }

  Metric metric() const { return metric_; }
  ColumnRange range(int64_t) const { return {0, centroids_.size()}; }
  bool counts(int64_t p, int64_t q) const { return labels[p] != q; }
  double bar(int64_t p) const { return best_[p]; }

  void take(int64_t p, int64_t q, double inner) {
    const double found =
        score(metric_, inner, x_.square(p), centroids_.square(q), x_.norm(p), centroids_.norm(q));
    double& best = best_[p];
    if (found > best || (found == best && q < labels[p])) {
      best = found;
      labels[p] = q;
    }
  }

  void finish_band(int64_t, int64_t) {}

  double distance(int64_t p) const {
    return metric_ == Metric::kCosine ? cosine_distance(best_[p]) : -best_[p];
  }

 private:
  const ScanSide& x_;
  const ScanSide& centroids_;
  const Metric metric_;

 public:
  std::vector<int64_t> labels;

 private:
  std::vector<double> best_;
};

// <v, v> in the lanes of the truth. Elements are full fp64 here, so multiply and add must not be
// fused: this file is compiled with -ffp-contract=off.
double squared_norm(const double* v, int64_t d) {
  double lane[8] = {};
  for (int64_t i = 0; i < d; ++i) lane[i % 8] += v[i] * v[i];
  return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

// Adds up the members of one cluster, block by block.
class CentroidSum {
 public:
  CentroidSum(Team& team, int worker, const Matrix& x, const std::vector<double>& scale)
      : team_(team),
        worker_(worker),
        x_(x),
        scale_(scale),
        widen_(kernels().widen[static_cast<int>(x.dtype)]),
        row_(static_cast<size_t>(x.d)),
        part_(static_cast<size_t>(x.d)),
        total_(static_cast<size_t>(x.d)) {}

  const std::vector<double>& operator()(const int64_t* begin, const int64_t* end) {
    std::fill(total_.begin(), total_.end(), 0.0);
    while (begin < end) {
      team_.checkpoint(worker_);
      const int64_t block = *begin / kBlockRows;
      std::fill(part_.begin(), part_.end(), 0.0);
      for (; begin < end && *begin / kBlockRows == block; ++begin) add(*begin);
      for (size_t e = 0; e < part_.size(); ++e) total_[e] += part_[e];
    }
    return total_;
  }

 private:
  void add(int64_t i) {
    widen_(x_.row(i), x_.d, row_.data());
    const double scale = scale_.empty() ? 1.0 : scale_[i];
    if (scale == 0.0) return;  // a zero row has no direction
    for (size_t e = 0; e < part_.size(); ++e) part_[e] += static_cast<double>(row_[e]) / scale;
  }

  Team& team_;
  const int worker_;
  const Matrix& x_;
  const std::vector<double>& scale_;  // norms, or empty for the rows as they are
  const WidenFn widen_;
  std::vector<float> row_;
  std::vector<double> part_;
  std::vector<double> total_;
};

// Rows by cluster, in index order: members[begin[c]] .. members[begin[c + 1]].
struct Members {
  Members(const int64_t* labels, int64_t n, int64_t k)
      : begin(static_cast<size_t>(k) + 1), rows(static_cast<size_t>(n)) {
    for (int64_t i = 0; i < n; ++i) ++begin[labels[i] + 1];
    std::partial_sum(begin.begin(), begin.end(), begin.begin());
    std::vector<int64_t> next(begin.begin(), begin.end() - 1);
    for (int64_t i = 0; i < n; ++i) rows[next[labels[i]]++] = i;
  }

  bool some_empty() const { return std::adjacent_find(begin.begin(), begin.end()) != begin.end(); }

  std::vector<int64_t> begin;
  std::vector<int64_t> rows;
};

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

// Rows and what is known of them throughout, with the screens learned from them and the first
// centroids.
class Lloyd {
 public:
  Lloyd(const Matrix& x, int64_t k, Metric metric, const Context& context)
      : x_(x), k_(k), metric_(metric), team_(context), rows_(all_rows(team_, x)) {}

  // Labels, given the last ones (empty the first time).
  Nearest assign(const ScanSide& centroids, const std::vector<int64_t>& last) {
    if (last.empty()) learn(centroids);
    std::vector<Codes> dense_tiles;
    if (screening_.dense != nullptr) {
      for (int64_t tile = 0; tile < k_; tile += scan::kTileColumns) {
        const int64_t end = std::min(k_, tile + scan::kTileColumns);
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
    Nearest nearest(rows_, centroids, metric_);
    if (!last.empty()) nearest.begin_with(team_, last);
    scan_pairs(team_, rows_, centroids, screening_, nearest);
    return nearest;
  }

  ScanSide side(const Matrix& centroids) { return all_rows(team_, centroids); }

  std::vector<double> distances(const Nearest& nearest) const {
    std::vector<double> out(static_cast<size_t>(x_.n));
    for (int64_t i = 0; i < x_.n; ++i) out[i] = nearest.distance(i);
    return out;
  }

  std::vector<float> update(const Nearest& nearest) {
    const bool spherical = metric_ == Metric::kCosine;
    const Members members(nearest.labels.data(), x_.n, k_);
    std::vector<int64_t> refill(static_cast<size_t>(k_), -1);
    if (members.some_empty()) refill = refill_empty(members, distances(nearest).data(), k_);
    const std::vector<double> none;
    std::vector<float> centroids(static_cast<size_t>(k_ * x_.d));
    team_.run(k_, [&](int64_t c, int worker) {
      CentroidSum sum(team_, worker, x_, spherical ? rows_.norms : none);
      const int64_t* rows = members.rows.data();
      const std::vector<double>& total =
          refill[c] < 0 ? sum(rows + members.begin[c], rows + members.begin[c + 1])
                        : sum(&refill[c], &refill[c] + 1);
      double divisor = static_cast<double>(members.begin[c + 1] - members.begin[c]);
      if (refill[c] >= 0) {
        divisor = 1.0;
      } else if (spherical) {
        divisor = std::sqrt(squared_norm(total.data(), x_.d));
      }
      if (divisor == 0.0) return;  // members cancel out, or have no direction: a zero centroid
      for (int64_t e = 0; e < x_.d; ++e) {
        centroids[c * x_.d + e] = static_cast<float>(total[e] / divisor);
      }
    });
    return centroids;
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
  const ScanSide rows_;
  std::optional<Screen> prefix_;
  std::optional<Screen> dense_;
  std::optional<DenseRows> dense_rows_;
  RowCodes prefix_codes_;  // of all rows
  Codes centroid_codes_;
  scan::Screening screening_;
};

}  // namespace

std::vector<int64_t> kmeans_plus_plus(const Matrix& x, bool spherical,
                                      const std::vector<double>& uniforms, const Context& context) {
  Seeding seeding(x, spherical, context);
  const double first = uniforms[0] * static_cast<double>(x.n);
  std::vector<int64_t> seeds = {std::min(static_cast<int64_t>(first), x.n - 1)};
  seeding.add(seeds.back());
  for (size_t s = 1; s < uniforms.size(); ++s) {
    seeds.push_back(seeding.draw(uniforms[s]));
    seeding.add(seeds.back());
  }
  return seeds;
}

KMeans kmeans(const Matrix& x, std::vector<float> centroids, int64_t k, bool spherical,
              int64_t max_iterations, const Context& context) {
  Lloyd lloyd(x, k, spherical ? Metric::kCosine : Metric::kEuclidean, context);
  KMeans out{{}, std::move(centroids), {}, 0.0, 0, false};
  for (;;) {
    const Matrix matrix{out.centroids.data(), k, x.d, x.d, DType::kFloat32};
    const ScanSide side = lloyd.side(matrix);
    const Nearest nearest = lloyd.assign(side, out.labels);
    out.converged = nearest.labels == out.labels;
    out.labels = nearest.labels;
    if (out.converged || out.iterations == max_iterations) {
      out.distances = lloyd.distances(nearest);
      break;
    }
    out.centroids = lloyd.update(nearest);
    ++out.iterations;
  }
  std::vector<double> blocks;
  for (int64_t begin = 0; begin < x.n; begin += kBlockRows) {
    blocks.push_back(sum_in_order(&out.distances[begin], std::min(kBlockRows, x.n - begin)));
  }
  out.inertia = sum_in_order(blocks.data(), static_cast<int64_t>(blocks.size()));
  return out;
}

}  // namespace meddel

// Rows that take account of k-center's centres that they have not seen: shared by the operation on
// a whole matrix and by that on parts of one.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/truth.h"
#include "screen/pair_scan.h"

namespace meddel {

constexpr double kTaken = -1.0;  // below every distance: a centre is never the farthest

// The distances of rows to the nearest centre that they have seen (squared for the Euclidean
// metric), and how many centres, the first ones, that takes account of.
struct Bounds {
  explicit Bounds(int64_t n)
      : nearest(static_cast<size_t>(n), kInfinity), seen(static_cast<size_t>(n), 0) {}

  std::vector<double> nearest;
  std::vector<int32_t> seen;
};

// Scores below it are of centres farther than a distance.
inline double bar_of(Metric metric, double distance) {
  return metric == Metric::kCosine ? 1.0 - distance - 0x1p-50 : -distance;
}

// Rows that catch up: the operation of a pair scan of some rows against all centres so far.
class CatchUp {
 public:
  static constexpr bool kRising = true;

  CatchUp(const ScanSide& x, const ScanSide& centres, Metric metric, Bounds& bounds)
      : x_(x), centres_(centres), metric_(metric), bounds_(bounds) {}

  Metric metric() const { return metric_; }
  ColumnRange range(int64_t p) const { return {bounds_.seen[x_.rows[p]], centres_.size()}; }
  bool counts(int64_t, int64_t) const { return true; }

  double bar(int64_t p) const { return bar_of(metric_, bounds_.nearest[x_.rows[p]]); }

  void take(int64_t p, int64_t q, double inner) {
    double& nearest = bounds_.nearest[x_.rows[p]];
    nearest = std::min(nearest, distance(metric_, inner, x_.square(p), centres_.square(q)));
  }

  void finish_band(int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      bounds_.seen[x_.rows[p]] = static_cast<int32_t>(centres_.size());
    }
  }

 private:
  const ScanSide& x_;
  const ScanSide& centres_;
  const Metric metric_;
  Bounds& bounds_;
};

}  // namespace meddel

// The sums of k-means over the members of clusters, in the order that kmeans.h states. What
// includes this is compiled with -ffp-contract=off: elements of sums are full fp64, so that
// multiply and add must not be fused.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#include "base/matrix.h"
#include "base/parallel.h"
#include "cpu/isa.h"
#include "ops/kmeans.h"

namespace meddel {

// <v, v> in the lanes of the truth.
inline double squared_norm(const double* v, int64_t d) {
  double lane[8] = {};
  for (int64_t i = 0; i < d; ++i) lane[i % 8] += v[i] * v[i];
  return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

// The sum of a value a row: by blocks in index order, whose sums are then added in order.
template <class Value>
double sum_by_blocks(int64_t n, const Value& value) {
  double total = 0.0;
  for (int64_t begin = 0; begin < n; begin += kBlockRows) {
    double block = 0.0;
    for (int64_t i = begin; i < std::min(n, begin + kBlockRows); ++i) block += value(i);
    total += block;
  }
  return total;
}

// What rows are summed up with: each is divided by its scale (a norm; one of scale 0 has no
// direction and adds nothing) and times its weight. Either is by row, or empty for all 1.
struct Scaling {
  const std::vector<double>& scales;
  const std::vector<double>& weights;

  // Of a sum: the weights' own comes last, where there are any.
  int64_t width(int64_t d) const { return d + (weights.empty() ? 0 : 1); }
};

// Adds up the members of one cluster, block by block.
class CentroidSum {
 public:
  CentroidSum(Team& team, int worker, const Matrix& x, const Scaling& scaling)
      : team_(team),
        worker_(worker),
        x_(x),
        scaling_(scaling),
        widen_(x.dtype == DType::kFloat32 ? nullptr : kernels().widen[static_cast<int>(x.dtype)]),
        row_(static_cast<size_t>(x.d)),
        part_(static_cast<size_t>(scaling.width(x.d))),
        plain_(x.dtype == DType::kFloat32 && x.d <= kPlain && scaling.scales.empty() &&
               scaling.weights.empty()) {}

  // Adds the rows [begin, end), which rise, to a sum.
  void operator()(const int64_t* begin, const int64_t* end, double* total) {
    while (begin < end) {
      team_.checkpoint(worker_);
      const int64_t block = *begin / kBlockRows;
      const int64_t* last = begin + 1;
      while (last < end && *last / kBlockRows == block) ++last;
      if (last - begin == 1) {  // 0 + row is the row, but for -0, which changes no sum here
        add(*begin++, total);
        continue;
      }
      std::fill(part_.begin(), part_.end(), 0.0);
      for (; begin < last; ++begin) {
        if (begin + 1 < last) fetch(x_.row(begin[1]), x_.row_bytes());
        add(*begin, part_.data());
      }
      for (size_t e = 0; e < part_.size(); ++e) total[e] += part_[e];
    }
  }

  // Adds one row.
  void add(int64_t i, double* sum) {
    if (plain_) {
      const auto* row = static_cast<const float*>(x_.row(i));
      for (int64_t e = 0; e < x_.d; ++e) sum[e] += static_cast<double>(row[e]);
      return;
    }
    const double scale = scaling_.scales.empty() ? 1.0 : scaling_.scales[i];
    const double weight = scaling_.weights.empty() ? 1.0 : scaling_.weights[i];
    if (!scaling_.weights.empty()) sum[x_.d] += weight;
    if (scale == 0.0 || weight == 0.0) return;
    const float* row = static_cast<const float*>(x_.row(i));
    if (widen_ != nullptr) {
      widen_(x_.row(i), x_.d, row_.data());
      row = row_.data();
    }
    if (weight == 1.0) {
      kernels().add(row, x_.d, scale, sum);
    } else {
      // Not exact, unlike the product of two inputs: multiply and add must stay two operations.
      for (int64_t e = 0; e < x_.d; ++e) sum[e] += weight * (row[e] / scale);
    }
  }

 private:
  static constexpr int64_t kPlain = 8;  // elements, for which no call pays

  Team& team_;
  const int worker_;
  const Matrix& x_;
  const Scaling scaling_;
  const WidenFn widen_;
  std::vector<float> row_;
  std::vector<double> part_;
  const bool plain_;
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

  std::vector<int64_t> begin;
  std::vector<int64_t> rows;
};

}  // namespace meddel

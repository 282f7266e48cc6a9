// The sums of k-means over the members of clusters, in the order that kmeans.h states.
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

// Adds up the members of one cluster, block by block.
class CentroidSum {
 public:
  CentroidSum(Team& team, int worker, const Matrix& x, const std::vector<double>& scale)
      : team_(team),
        worker_(worker),
        x_(x),
        scale_(scale),
        widen_(x.dtype == DType::kFloat32 ? nullptr : kernels().widen[static_cast<int>(x.dtype)]),
        row_(static_cast<size_t>(x.d)),
        part_(static_cast<size_t>(x.d)) {}

  // Adds the rows [begin, end), which rise, to d sums.
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
        fetch(begin + 1, last);
        add(*begin, part_.data());
      }
      for (size_t e = 0; e < part_.size(); ++e) total[e] += part_[e];
    }
  }

 private:
  // Asks for the next row, which may lie anywhere.
  void fetch(const int64_t* next, const int64_t* end) const {
    if (next >= end) return;
    const char* row = static_cast<const char*>(x_.row(*next));
    for (int64_t at = 0; at < x_.d * item_size(x_.dtype); at += 64) __builtin_prefetch(row + at);
  }

  void add(int64_t i, double* sum) {
    const double scale = scale_.empty() ? 1.0 : scale_[i];
    if (scale == 0.0) return;  // a zero row has no direction
    const float* row = static_cast<const float*>(x_.row(i));
    if (widen_ != nullptr) {
      widen_(x_.row(i), x_.d, row_.data());
      row = row_.data();
    }
    kernels().add(row, x_.d, scale, sum);
  }

  Team& team_;
  const int worker_;
  const Matrix& x_;
  const std::vector<double>& scale_;  // norms, or empty for the rows as they are
  const WidenFn widen_;
  std::vector<float> row_;
  std::vector<double> part_;
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

}  // namespace meddel

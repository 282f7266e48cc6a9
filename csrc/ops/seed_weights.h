// The weights of k-means++ by row, and their sums by block, of which only those are summed anew
// that have changed.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

#include "base/parallel.h"
#include "base/truth.h"
#include "ops/kmeans.h"

namespace meddel {

class SeedWeights {
 public:
  explicit SeedWeights(int64_t n)
      : n_(n),
        sums_(static_cast<size_t>((n + kBlockRows - 1) / kBlockRows)),
        touched_(sums_.size()),
        weights_(sums_.size() * static_cast<size_t>(kBlockRows), 0.0) {
    std::fill_n(weights_.begin(), n, kInfinity);
  }

  double operator[](int64_t row) const { return weights_[row]; }
  int64_t rows() const { return n_; }

  // Of each block, as they were when `sum` was last called.
  const std::vector<double>& sums() const { return sums_; }

  // Two threads may do so at a time, for different rows.
  void set(int64_t row, double weight) {
    weights_[row] = weight;
    touched_[row / kBlockRows].store(true, std::memory_order_relaxed);
  }

  // Sums the blocks of which a weight has changed, each in the order of its rows, but several side
  // by side: an addition waits for the one before it.
  void sum(Team& team) {
    std::vector<int64_t> changed;
    for (size_t b = 0; b < sums_.size(); ++b) {
      if (touched_[b].exchange(false)) changed.push_back(static_cast<int64_t>(b));
    }
    const auto count = static_cast<int64_t>(changed.size());
    const int64_t rows = std::min(kBlockRows, n_);
    team.run_range(count, kChains, [&](int64_t begin, int64_t end, int) {
      const double* from[kChains];
      for (int64_t c = 0; c < kChains; ++c) {
        from[c] = &weights_[changed[std::min(begin + c, end - 1)] * kBlockRows];
      }
      double sum[kChains] = {};
      for (int64_t i = 0; i < rows; ++i) {
        for (int64_t c = 0; c < kChains; ++c) sum[c] += from[c][i];
      }
      for (int64_t k = begin; k < end; ++k) sums_[changed[k]] = sum[k - begin];
    });
  }

 private:
  static constexpr int64_t kChains = 8;

  const int64_t n_;
  std::vector<double> sums_;
  std::vector<std::atomic<bool>> touched_;  // blocks that have to be summed
  std::vector<double> weights_;             // filled up with zeros to whole blocks
};

}  // namespace meddel

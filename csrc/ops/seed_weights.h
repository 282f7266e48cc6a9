// The weights of k-means++ by row (distances to the nearest seed), and by block the sums of what is
// drawn in proportion to: these, or their products with weights that the rows have themselves. Only
// sums of which a weight has changed are made anew.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/parallel.h"
#include "base/truth.h"
#include "ops/kmeans.h"

namespace meddel {

class SeedWeights {
 public:
  // With weights of the rows, or without (empty).
  SeedWeights(int64_t n, std::vector<double> row_weights)
      : n_(n),
        sums_(static_cast<size_t>((n + kBlockRows - 1) / kBlockRows)),
        touched_(sums_.size()),
        weights_(sums_.size() * static_cast<size_t>(kBlockRows), 0.0),
        row_weights_(std::move(row_weights)) {
    if (weighted()) row_weights_.resize(weights_.size(), 0.0);
    std::fill_n(weights_.begin(), n, kInfinity);
  }

  double operator[](int64_t row) const { return weights_[row]; }
  int64_t rows() const { return n_; }
  bool weighted() const { return !row_weights_.empty(); }

  // What the row is drawn in proportion to.
  double share(int64_t row) const {
    return weighted() ? row_weights_[row] * weights_[row] : weights_[row];
  }

  // Of each block, as they were when `sum` was last called.
  const std::vector<double>& sums() const { return sums_; }

  // Two threads may do so at a time, for different rows.
  void set(int64_t row, double weight) {
    weights_[row] = weight;
    touched_[row / kBlockRows].store(true, std::memory_order_relaxed);
  }

  // The weights of some rows of one block, to be lowered.
  double* rows_from(int64_t begin) {
    touched_[begin / kBlockRows].store(true, std::memory_order_relaxed);
    return &weights_[begin];
  }

  // Sums the shares of blocks of which a weight has changed, each in the order of its rows, but
  // several side by side: an addition waits for the one before it.
  void sum(Team& team) {
    std::vector<int64_t> changed;
    for (size_t b = 0; b < sums_.size(); ++b) {
      if (touched_[b].exchange(false)) changed.push_back(static_cast<int64_t>(b));
    }
    const auto count = static_cast<int64_t>(changed.size());
    const int64_t rows = std::min(kBlockRows, n_);
    team.run_range(count, kChains, [&](int64_t begin, int64_t end, int) {
      int64_t first[kChains];
      for (int64_t c = 0; c < kChains; ++c) {
        first[c] = changed[std::min(begin + c, end - 1)] * kBlockRows;
      }
      double sum[kChains] = {};
      if (weighted()) {
        for (int64_t i = 0; i < rows; ++i) {
          for (int64_t c = 0; c < kChains; ++c) sum[c] += share(first[c] + i);
        }
      } else {
        for (int64_t i = 0; i < rows; ++i) {
          for (int64_t c = 0; c < kChains; ++c) sum[c] += weights_[first[c] + i];
        }
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
  std::vector<double> row_weights_;         // so are these, if there are any
};

}  // namespace meddel

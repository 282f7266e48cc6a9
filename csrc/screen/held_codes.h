// The codes of a matrix's rows, by row, each held from when it is first made: what one operation
// has encoded the next one need not.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

namespace meddel {

class HeldCodes {
 public:
  // Of the first rows of a matrix, as many as may be held; of `width` integers each.
  HeldCodes(int64_t rows, int64_t width)
      : rows_(rows),
        width_(width),
        codes_(new int8_t[static_cast<size_t>(rows * width)]),
        share_(new int32_t[static_cast<size_t>(rows)]),
        tau_(new double[static_cast<size_t>(rows)]),
        state_(static_cast<size_t>(rows)) {}

  static int64_t row_bytes(int64_t width) { return width + 4 + 8 + 1; }
  int64_t bytes() const { return rows_ * row_bytes(width_); }

  // Whether a row's code is there; if so, it stays as it is.
  bool has(int64_t row) const {
    return row < rows_ && state_[row].load(std::memory_order_acquire) == kThere;
  }
  const int8_t* code(int64_t row) const { return &codes_[row * width_]; }
  int32_t share(int64_t row) const { return share_[row]; }  // a
  double tau(int64_t row) const { return tau_[row]; }

  // Holds a row's code, unless another thread does so, or has.
  void put(int64_t row, const int8_t* code, int32_t share, double tau) {
    uint8_t before = kNone;
    if (row >= rows_ || !state_[row].compare_exchange_strong(before, kWritten)) return;
    std::copy_n(code, width_, &codes_[row * width_]);
    share_[row] = share;
    tau_[row] = tau;
    state_[row].store(kThere, std::memory_order_release);
  }

 private:
  static constexpr uint8_t kNone = 0, kWritten = 1, kThere = 2;

  const int64_t rows_;
  const int64_t width_;
  // Not touched before they are written: what is never encoded takes no memory.
  const std::unique_ptr<int8_t[]> codes_;
  const std::unique_ptr<int32_t[]> share_;
  const std::unique_ptr<double[]> tau_;
  std::vector<std::atomic<uint8_t>> state_;
};

}  // namespace meddel

// Rows of few elements in columns, so that a register holds an element of many rows.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/matrix.h"
#include "base/parallel.h"

namespace meddel {

class ColumnRows {
 public:
  static constexpr int64_t kPanel = 64;   // rows that stand together, as kernels().top_two has them
  static constexpr int64_t kWidest = 64;  // elements

  // What a panel is put into.
  class Room {
   public:
    float* of(int64_t floats) {
      if (floats <= kFew) return few_;
      if (many_ == nullptr) many_.reset(new float[static_cast<size_t>(floats)]);
      return many_.get();
    }

   private:
    static constexpr int64_t kFew = 1024;
    float few_[kFew];
    std::unique_ptr<float[]> many_;  // of one size
  };

  static bool fits(const Matrix& x) { return x.d <= kWidest; }

  // Requires that the rows outlive it. They are put into this form once where there is room for
  // them and they are asked for again, else whenever they are asked for.
  ColumnRows(Team& team, const Matrix& x, bool once = false);

  // The rows from `begin` on, a multiple of kPanel, in fp32; after the last one there are zeros.
  const float* panel(int64_t begin, Room& room) const;

  // A panel of one row.
  const float* spread(int64_t row, Room& room) const;

 private:
  const float* wide(int64_t row, Room& room) const;
  void fill(int64_t begin, float* panel) const;

  const Matrix& x_;
  std::vector<float> kept_;
};

}  // namespace meddel

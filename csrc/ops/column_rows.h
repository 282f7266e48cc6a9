// Rows of few elements in columns, so that a register holds an element of many rows.
#pragma once

#include <cstdint>
#include <vector>

#include "base/matrix.h"
#include "base/parallel.h"

namespace meddel {

constexpr int64_t kLine = 64;  // bytes

class ColumnRows {
 public:
  static constexpr int64_t kPanel = 64;   // rows that stand together, as kernels().top_two has them
  static constexpr int64_t kWidest = 64;  // elements

  // What a panel is put into. It begins with a cache line, so that no register of rows is in two.
  using Room = float[kPanel * kWidest];

  static bool fits(const Matrix& x) { return x.d <= kWidest; }

  // Requires that the rows outlive it. They are put into this form once where there is room for
  // them and they are asked for again, else whenever they are asked for.
  ColumnRows(Team& team, const Matrix& x, bool once = false);
  ColumnRows(const ColumnRows&) = delete;
  ColumnRows& operator=(const ColumnRows&) = delete;

  // The rows from `begin` on, a multiple of kPanel, in fp32; after the last one there are zeros.
  const float* panel(int64_t begin, Room& room) const;

  // A panel of one row.
  void spread(int64_t row, Room& panel) const;

 private:
  const float* wide(int64_t row, float* room) const;
  void fill(int64_t begin, float* panel) const;

  const Matrix& x_;
  std::vector<float> kept_;
  float* panels_ = nullptr;  // in it; none where they are not kept
};

}  // namespace meddel

// The screen of scans of few rows, or of rows in small groups, by cosine: all scores of some rows
// are worked out at once, so that the best of them gives a row its bar, and nothing but what may
// reach that is confirmed. Rows of few elements are multiplied in fp32, others as dense codes.
//
// Products. A row x becomes w~, its elements times f = 1 / |x|, each rounded to fp32, and one more
// that adds 2 to all products: as bits, positive floats are integers of the same order. With u =
// 2^-24, f is off by a share of 1.01 u and an element of w~ by one of u, so that <w~_x, w~_y> is
// off the real cosine by at most 4.1 u, and an element that underflows by 2^-149, which is lost in
// that. For any order of summation, fused or not, a product of d + 1 terms is off by at most
// gamma = (d + 2) u / (1 - (d + 2) u) times the sum of their sizes, 3.01 at most. The truth is off
// the real cosine by (d + 16) 2^-52 (confirm.h). Together
//
//   |product - 2 - cosine| <= 3.01 gamma + 4.1 u + (d + 16) 2^-52.
//
// Rows with norms near the ends of fp32's range become zeros and twice the last element: 4 in a
// product, more than 2 + 1, so that they are never left out. A zero row's product is exactly 2.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/parallel.h"
#include "base/sides.h"
#include "screen/plan.h"
#include "screen/points.h"
#include "screen/scan_screens.h"
#include "screen/screen.h"

namespace meddel {

// What makes scores of a scan's rows and columns, and what they prove.
class BlockScreen {
 public:
  // Requires kind != kNone; codes are learned from some of the rows.
  BlockScreen(BlockKind kind, const ScanSide& x, const ScanSide& y);

  // A pair whose score less than -start is below the bar.
  int32_t start(double bar) const;

  // What the cosine of a pair is at most.
  double bound(int32_t score) const;

  // How far below what Block::bounds says a cosine is at most, where it says no more than kKnown:
  // beyond, nothing is known of a row.
  double width() const { return dense_ ? dense_->fine_width() : 2.0 * off_; }
  static constexpr double kKnown = 1.5;

  // Whether Block::bounds tells more than scores do.
  bool fine() const { return dense_.has_value(); }

  // A score below all that count, and such that score + start(bar) < 0 for every bar.
  int32_t out() const;

 private:
  friend class Block;

  PointMap map_;  // of products
  double off_;    // likewise
  std::optional<Screen> dense_;
};

// The rows [rows.begin, rows.end) of x and the columns [columns.begin, columns.end) of y, as the
// kernels take them. It may be used again for others.
class Block {
 public:
  static constexpr int64_t kPart = 64;  // positions

  Block(const BlockScreen& screen, const ScanSide& x, const ScanSide& y)
      : screen_(screen), x_(x), y_(y) {}

  // Makes room; the parts are to be filled, one by one, before there are scores.
  void reset(ColumnRange rows, ColumnRange columns);
  int64_t parts() const;
  void fill(int64_t part);

  // Scores of the rows [begin, end) and the columns [first, last): out[r * stride + c], where there
  // is room for multiples of 4 rows and of kPart columns, kPart rows at most. The first row is such
  // a multiple after the block's, and so is the first column; so is `stride`.
  void scores(int64_t begin, int64_t end, int64_t first, int64_t last, int32_t* out,
              int64_t stride) const;

  // A second look at some columns, listed from `first` on, of row p: what the cosines are at most,
  // about as near as products in fp32 tell.
  void bounds(int64_t p, int64_t first, const uint16_t* found, const int32_t* scores, int64_t count,
              std::vector<int32_t>& products, std::vector<double>& out) const;

  ColumnRange columns() const { return columns_; }
  bool one_side() const;

 private:
  void fill_products(int64_t part);
  void make_point(const Positions& positions, int64_t p, float* point) const;
  void turn(const float* points, int64_t count, float* out) const;
  void fill_codes(int64_t part);

  const BlockScreen& screen_;
  const ScanSide& x_;
  const ScanSide& y_;
  ColumnRange rows_{0, 0};
  ColumnRange columns_{0, 0};
  // Of products: the rows' points, d + 1 elements each; the columns' in blocks of kPart, element by
  // element.
  std::vector<float> points_;
  std::vector<float> packed_;
  RowCodes row_codes_;
  Codes column_codes_;
  FineCodes row_fine_;  // none where both sides are one
  FineCodes column_fine_;
};

}  // namespace meddel

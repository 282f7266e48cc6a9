// Rows scaled to length 1 in fp32, and their inner products in blocks: cosines to about 1e-5 of
// many rows and columns at once, several times as fast as row by row.
//
// A row's u~_i is its u_i by two roundings, of 1 / |x| and of the product, so that
// |<u~, v~> - <u, v>| <= 4.1 2^-24 sum |u_i v_i|; its sum of d terms in any order is off by at most
// gamma_d sum |u~_i v~_i|; both sums of products are at most 1 (1 + 2^-20) by Cauchy-Schwarz. Norms
// are within kLeastNorm and kGreatestNorm, or 0, so that nothing overflows, and what underflows is
// less than d 2^-148. Hence |<u~, v~> - cosine| <= gamma_(d + 8) + (d + 16) 2^-52, which has the
// truth's own distance from the real cosine (bounds.h) in it.
#pragma once

#include <cstdint>
#include <vector>

#include "base/sides.h"

namespace meddel {

constexpr int64_t kPanelColumns = 64;

class UnitPanel {
 public:
  explicit UnitPanel(int64_t d);

  // A cosine c is the integer trunc(c 2^28), off by at most error(); rows that cannot be scaled
  // have kUnknown.
  static constexpr double kScale = 1.0 / (1 << 28);
  static constexpr int32_t kUnknown = 500'000'000;
  int32_t error() const { return error_; }

  // Whether the row at a position can be scaled.
  static bool fits(const ScanSide& side, int64_t p);

  // The columns from here on: at most kPanelColumns.
  void set_columns(const ScanSide& y, int64_t begin, int64_t end);

  // Writes the row at a position, which fits.
  void scale(const ScanSide& x, int64_t p, float* out) const;

  // Writes the cosines of `count` scaled rows and all columns, and leaves kPanelColumns for each.
  void multiply(const float* rows, int64_t count, int32_t* out);

 private:
  const int64_t d_;
  const int32_t error_;
  std::vector<float> zeros_;
  std::vector<float> rows_;     // some columns
  std::vector<float> columns_;  // element by element
  std::vector<float> products_;
  std::vector<int64_t> unknown_;  // columns that cannot be scaled
};

}  // namespace meddel

// Rows and a few centres, all of whose products are worked out, many at a time: the truth's, where
// they are fewest, else in fp32, and the truth's of those centres alone that these leave. Where the
// centres are too few to pay for codes.
#pragma once

#include <cstdint>
#include <vector>

#include "base/matrix.h"
#include "base/sides.h"
#include "base/truth.h"
#include "cpu/isa.h"

namespace meddel {

// Of a row x and a centre y, s = <x, y> - <y, y> / 2 for the Euclidean metric and <x, y> / |y| for
// cosines (0 of a zero row y) orders the centres as the row's scores do. It is worked out in fp32:
//
// - <x, y> is off by at most gamma |x||y|, gamma = u / (1 - u) with u = (d + 8) 2^-24, in any order
//   of summation. What underflows adds no more than d 2^-149.
// - Euclidean: <y, y> / 2, rounded to fp32, is off by 2^-24 <y, y> / 2, and the difference is
//   rounded by 2^-24 (1.01 |x||y| + <y, y> / 2): with Y the longest centre, s is off by at most
//   E = 1.01 ((gamma + 2^-23) |x| Y + 2^-23 Y^2) + 2^-120.
// - Cosines: 1 / |y|, rounded to fp32, and the product add 2^-23 of s, which is at most |x|:
//   E = 1.01 (gamma + 2^-23) |x|, of |x||y| > 1e-25 for all centres but zero rows, beside which
//   d 2^-149 is nothing, and of |y| within kLeastNorm and kGreatestNorm, so that 1 / |y| is a
//   normal number.
//
// The truth's score is off the real one, which is 2 s - <x, x> (but for being cut at 0) or s / |x|,
// by at most off (<x, x> + <y, y>) or off, as base/confirm.h says of RoughScore. So a score is
// below a bar where
//
//   s < (bar + <x, x> - off (<x, x> + Y^2)) / 2 - E        or        s < |x| (bar - off) - E,
//
// and no higher than that of the centre with the largest s, m, where
//
//   s < m - 2 E - off (<x, x> + Y^2)                        or        s < m - 2 E - 2 off |x|
//
// (cut at 0, equal ones may come of it, which have one distance). Where norms are such that fp32
// may overflow, or tell nothing, all centres are left.
class NearCentres {
 public:
  NearCentres(const Matrix& x, Metric metric);

  // From now on these rows of x, at least one, of whose squares all that are needed are known.
  void assign(const int64_t* centres, int64_t count, const std::vector<double>& squares);

  // Lowers the distances (by row; squared for the Euclidean metric) of some rows to those to their
  // nearest centres, where these are lower.
  void lower(const int64_t* rows, int64_t count, std::vector<double>& nearest) const;

 private:
  static constexpr int64_t kPanel = 64;  // centres side by side

  // What is left of the sums of a row is at least `floor`, and at most `gap` below the largest.
  struct Limits {
    double floor;
    double gap;
  };

  struct Block;  // of rows, in cache

  void lower_exactly(const int64_t* rows, int64_t count, std::vector<double>& nearest) const;
  void widen_exactly();

  const float* panel(int64_t begin) const { return &panels_[begin * x_.d]; }
  void multiply(Block& block, int64_t begin, int64_t columns) const;
  Limits limits(double square, double nearest) const;
  void settle(Block& block, int64_t row, float* sums, int64_t begin, int64_t columns,
              double nearest) const;
  void confirm(Block& block, std::vector<double>& nearest) const;

  const Matrix& x_;
  const Metric metric_;
  const int type_;
  const double roundings_;  // u
  const double off_;
  const std::vector<double>* squares_ = nullptr;
  const int64_t* centres_ = nullptr;
  int64_t count_ = 0;
  bool exact_ = false;         // the truth's products of all
  std::vector<double> wide_;   // the centres in fp64, as Kernels::cross wants them, in groups
  std::vector<float> panels_;  // element e of centre c of a panel at [e * columns + c]
  std::vector<float> factor_;  // s = product * factor + offset
  std::vector<float> offset_;
  double longest_ = 0.0;   // Y
  double shortest_ = 0.0;  // of those that are no zero rows
};

}  // namespace meddel

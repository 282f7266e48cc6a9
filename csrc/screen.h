// A cheap upper bound on the cosine of two rows, as one integer inner product, so that an operation
// need work out in full only the few pairs that may matter.
//
// Codes. B is a d x m basis of (nearly) orthonormal columns that span the directions in which a
// sample of the rows varies most, turned at random so that no coordinate stands out. A unit row u
// (the row over its norm) becomes m integers q in [-127, 127] with u ~ s B q, for one step s of all
// rows, and a remainder e = u - s B q. For two rows u and v, with E = B'B - I,
//
//   <u, v> = s^2 q_u'q_v + s^2 q_u'E q_v + s q_u'B'e_v + s q_v'B'e_u + <e_u, e_v>
//
// and by Cauchy-Schwarz, with delta >= |E| (spectral; we take the Frobenius norm), rho >= |e|,
// tau >= |B'e| and P >= s |q|,
//
//   <u, v> <= s^2 q_u'q_v + rho_u rho_v + P tau_u + P tau_v + delta P^2.
//
// Four more integers r = ceil(rho / 2s) in each code make the second term part of the product:
// 4 s^2 r_u r_v >= rho_u rho_v. The third and fourth are integers a = ceil(P tau / s^2) in the
// accumulator's start, as is the cosine that matters. What remains is a test of signs:
//
//   q_u'q_v + 4 r_u r_v + a_u + a_v - floor((bar - delta P^2 - slack) / s^2) < 0
//                                                          proves  cosine < bar.
//
// How rho and tau are known. p = B'u is worked out in fp32 as p~, in any order of summation:
// |p - p~| <= eta = (d + 2) 2^-24 1.01 |B|_F + 2^-23 (1 + delta): the first part is the usual bound
// gamma_d sum |u_i||B_ij| on an inner product of d terms, the second the rounding of u itself to
// fp32, with room for the rounding of its norm. Then
//
//   |e|^2 = 1 - 2 s q'p + s^2 q'B'B q <= 1 - 2 s q'p~ + s^2 |q|^2 + 2 s |q| eta + delta s^2 |q|^2
//   |B'e| = |(p - p~) + (p~ - s q) - s E q| <= |p~ - s q| + eta + delta s |q|,
//
// both evaluated in fp64 with the rounding of those few operations (1e-12 of 1) added (the dense
// screen's own rounding stands beside encode_dense). slack is
// the distance between a real cosine and the truth's fp64 one, at most (d + 8) 2^-52.
// The dense screen is the same with B = I: all d dimensions, no remainder beside rounding and
// clipping, so that rho = tau = |e|, and rho_u rho_v <= (rho_u + rho_v) / 2 * (the largest rho)
// joins the third and fourth terms: a = ceil((P + rho_max / 2) tau / s^2). It costs d / 64 times as
// much, and tells cosines apart to about 0.02 whatever the data.
//
// s, P and rho_max are chosen from the sample. A row that does not fit (r > 127 or s |q| > P) gets
// an a so large that it always survives; a zero row, whose cosine is 0, has q = 0, rho = tau = 0
// and thus a bound >= 0.
#pragma once

#include <cstdint>
#include <vector>

#include "matrix.h"
#include "parallel.h"

namespace meddel {

constexpr int64_t kBlockColumns = 16;  // positions a block of packed codes

// The codes of one side of a scan, by position, in blocks of kBlockColumns: [group][position][4],
// a group being 4 of the code's integers. Positions beyond the last never survive.
struct Codes {
  std::vector<int8_t> packed;
  std::vector<int32_t> start;  // a, less what the kernels' bias on the other side adds

  int64_t blocks() const { return static_cast<int64_t>(start.size()) / kBlockColumns; }
};

// The codes of some rows of the other side, one after the other with the kernels' bias, and their
// a; filled up to a multiple of 4 rows with such as never survive.
struct RowCodes {
  std::vector<uint8_t> bytes;
  std::vector<int32_t> share;

  // The codes of the given rows of these, which are `width` integers each, for either side.
  RowCodes gather(const int64_t* rows, int64_t count, int64_t width) const;
  Codes pack(const int64_t* rows, int64_t count, int64_t width) const;
};

// The rows of a side: their matrix, their norms (by row), and which row stands at each position.
struct Positions {
  const Matrix& x;
  const std::vector<double>& norms;
  const std::vector<int64_t>& rows;
};

class Screen {
 public:
  // Each learns what it needs from a sample of the rows of both sides (one side when they are the
  // same object).
  static Screen prefix(Team& team, const Positions& x, const Positions& y);

  static Screen dense(const Positions& x, const Positions& y);

  int64_t width() const { return width_; }  // integers a code, a multiple of 4

  Codes encode(Team& team, const Positions& side) const;
  Codes encode(const Positions& side, int64_t begin, int64_t end) const;
  RowCodes encode_rows(Team& team, const Positions& side) const;
  RowCodes encode_rows(const Positions& side, int64_t begin, int64_t end) const;

  // The accumulator's start for a row with share a: a pair whose sum stays negative is below bar.
  int32_t start(int32_t a, double bar) const;

 private:
  Screen(int64_t d, int64_t kept, bool dense);

  void learn_basis(Team& team, const std::vector<float>& sample);
  void measure_basis();
  void learn_step(const std::vector<float>& sample);
  void learn_dense_step(const std::vector<float>& sample);

  // Calls take(p, code, a) for the positions [begin, end).
  template <class Take>
  void each_code(const Positions& side, int64_t begin, int64_t end, const Take& take) const;
  int32_t encode_prefix(const float* projected, int8_t* code) const;
  int32_t encode_dense(const float* unit, int8_t* code) const;

  int64_t d_;
  int64_t kept_;    // m
  int64_t padded_;  // m, filled up to what the projection works in
  int64_t width_;   // m and the remainder, filled up to a multiple of 4
  bool dense_;
  std::vector<float> basis_;  // d x padded; empty when dense
  double delta_ = 0.0;
  double eta_;
  double step_ = 0.0;
  double longest_ = 0.0;    // P
  double remainder_ = 0.0;  // rho_max, when dense
};

// Which screens serve a scan of so many pairs of rows of d elements, `columns` of them a row.
struct ScreenPlan {
  bool prefix;
  bool dense;
};
ScreenPlan plan_screens(double pairs, double columns, int64_t d);

// By the scan's size (the default), or, for tests: both, the dense one alone, or none.
enum class ScreenMode { kAuto, kAlways, kDense, kNever };
void use_screen(ScreenMode mode);

}  // namespace meddel

// A cheap upper bound on the score of two rows (their cosine, or minus their squared distance), as
// one integer inner product, so that an operation need work out in full only the few pairs that may
// matter.
//
// Points. A row x becomes the point w = alpha x - mu: alpha is 1 / |x| for cosines (0 for a zero
// row) and the same for all rows for distances; mu is about the mean of a sample, so that what all
// rows have in common costs no precision. With kappa = 1 (cosines, but for zero rows) or 0,
//
//   S(u, v) = <w_u, w_v> + t_u + t_v,   t = (kappa - |w|^2) / 2
//
// is the cosine, zero rows included, or -alpha^2 / 2 times the squared distance.
//
// Codes. B is a d x m basis of (nearly) orthonormal columns that span the directions in which the
// sample's points vary most, turned at random so that no coordinate stands out. A point becomes m
// integers q in [-127, 127] with w ~ s B q, for one step s of all rows, and a remainder
// e = w - s B q. For two points u and v, with E = B'B - I,
//
//   <u, v> = s^2 q_u'q_v + s^2 q_u'E q_v + s q_u'B'e_v + s q_v'B'e_u + <e_u, e_v>
//
// and by Cauchy-Schwarz, with delta >= |E| (spectral; we take the Frobenius norm), rho >= |e|,
// tau >= |B'e| and P >= s |q|,
//
//   <u, v> <= s^2 q_u'q_v + rho_u rho_v + P tau_u + P tau_v + delta P^2.
//
// Four more integers r = ceil(rho / 2s) in each code make the second term part of the product:
// 4 s^2 r_u r_v >= rho_u rho_v. The third and fourth, and t, are integers
// a = ceil((P tau + t) / s^2) in the accumulator's start, as is the score that matters. What
// remains is a test of signs:
//
//   q_u'q_v + 4 r_u r_v + a_u + a_v - floor((bar - delta P^2 - slack) / s^2) < 0
//                                                          proves  score < bar.
//
// How t, rho and tau are known. w is worked out in fp32 as w~ by two roundings an element, so that
// |w - w~| <= eps = 1.01 2^-24 (2 W + |mu|) for all rows of |w~| <= W; rows beyond W, or with norms
// near the ends of fp32's range, are not screened. |w~|^2 is summed in fp32 to within a share
// (d / 16 + 20) 2^-24 of itself. p = B'w is worked out in fp32 from w~ as p~, in any order of
// summation: |p - p~| <= eta = (d + 2) 2^-24 1.01 |B|_F W + (1 + delta) eps, the first part being
// the usual bound gamma_d sum |w_i||B_ij| on an inner product of d terms. Then
//
//   |e|^2 = |w|^2 - 2 s q'p + s^2 q'B'B q
//        <= |w|^2 - 2 s q'p~ + s^2 |q|^2 + 2 s |q| eta + delta s^2 |q|^2
//   |B'e| = |(p - p~) + (p~ - s q) - s E q| <= |p~ - s q| + eta + delta s |q|,
//
// both evaluated in fp64 with the rounding of those few operations (1e-12) added (the dense
// screen's own rounding stands beside encode_dense). slack holds alpha's rounding to fp32, which
// scales a cosine and |w|^2 by 1 +- 2^-23 each, and the distance between a real score and the
// truth's fp64 one: at most (d + 8) 2^-52 for cosines and (d + 8) 2^-51 alpha^2 (|x|^2 + |y|^2) for
// squared distances, where alpha |x| <= 4 for all rows that are screened. (For cosines: products of
// elements are exact and a lane's sum and the lanes' take at most d / 8 + 3 additions, so that
// <x, y> is off by at most (d / 8 + 3) 2^-53 |x||y|, and <x, x> and <y, y> by as much of
// themselves; their product, its root, which halves what is off so far, and the quotient add a
// rounding each: (d / 4 + 8.5) 2^-53 in all, and terms of higher order. Cutting to [-1, 1] brings
// it nearer to the real one.)
//
// The dense screen is the same with B = I: all d dimensions, no remainder beside rounding and
// clipping, so that rho = tau = |e|, and rho_u rho_v <= (rho_u + rho_v) / 2 * (the largest rho)
// joins the third and fourth terms: a = ceil(((P + rho_max / 2) tau + t) / s^2). It costs d / 64
// times as much, and tells cosines apart to about 0.02 whatever the data.
//
// s, W, P and rho_max are chosen from the sample. A row that does not fit (|w~| > W, r > 127 or
// s |q| > P) gets an a so large that it always survives.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "cpu/kernels.h"
#include "matrix.h"
#include "parallel.h"
#include "truth.h"

namespace meddel {

constexpr int64_t kBlockColumns = 16;  // positions a block of packed codes
constexpr int kRemainder = 4;          // integers of a prefix code that hold the remainder's length
constexpr int64_t kWidest = 16384;     // dimensions of a dense code at most

// A code's length as Kernels::refine wants it.
inline int64_t chunked(int64_t width) { return (width + kChunk - 1) / kChunk * kChunk; }

// The codes of one side of a scan, by position, in blocks of kBlockColumns: [group][position][4],
// a group being 4 of the code's integers. Positions beyond the last never survive.
struct Codes {
  std::vector<int8_t> packed;
  std::vector<int32_t> start;  // a, less what the kernels' bias on the other side adds

  int64_t blocks() const { return static_cast<int64_t>(start.size()) / kBlockColumns; }

  // The same codes, of `width` integers each, one after the other as Kernels::refine wants them.
  std::vector<int8_t> unpack(int64_t width) const;
};

// The codes of some rows of the other side, one after the other with the kernels' bias, and their
// a; filled up to a multiple of 4 rows with such as never survive.
struct RowCodes {
  std::vector<uint8_t> bytes;  // and kChunk more, which the kernels may read
  std::vector<int32_t> share;
  std::vector<double> tau;  // by row, where encode_rows made these of a range

  int64_t size() const { return static_cast<int64_t>(share.size()); }

  // Whether row k is screened at all.
  bool fits(int64_t k) const;

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

// How rows become points.
struct PointMap {
  // Writes w~ of row i and returns |w~|^2; infinite where the row cannot be screened.
  float operator()(const Positions& side, int64_t i, float* out) const;

  double score(double s) const;     // of S
  double wanted(double bar) const;  // the S of a score

  // S of equal points, the largest there is.
  double most() const { return metric == Metric::kCosine ? 1.0 : 0.0; }

  double kappa(double norm) const { return metric == Metric::kCosine && norm > 0.0 ? 1.0 : 0.0; }

  Metric metric;
  int64_t d;
  float scale = 1.0f;                                        // alpha of all rows, for distances
  std::vector<float> mean;                                   // mu
  double mean_norm = 0.0;                                    // |mu|
  double longest = std::numeric_limits<double>::infinity();  // W
};

// Which screens serve a scan of so many pairs of rows of d elements, `columns` of them a row.
struct ScreenPlan {
  bool prefix;  // if a sample says so
  bool dense;
  bool groups;  // likewise
};
ScreenPlan plan_screens(double pairs, double columns, int64_t d);

// The points of some rows, spread evenly over both sides of a scan (one side when they are the same
// object); at least one, of zeros if need be.
struct Sample {
  Sample(Metric metric, const Positions& x, const Positions& y, const ScreenPlan& plan);

  int64_t count() const { return static_cast<int64_t>(squares.size()); }

  PointMap map;
  std::vector<float> points;
  std::vector<float> squares;  // their |w~|^2
};

class Screen {
 public:
  // Keeps so many dimensions, or all if there are no more.
  static Screen prefix(Team& team, const Sample& sample, int64_t kept);
  static Screen dense(const Sample& sample);

  int64_t width() const { return width_; }  // integers a code, a multiple of 4
  double step() const { return step_; }

  Codes encode(Team& team, const Positions& side) const;
  Codes encode(const Positions& side, int64_t begin, int64_t end) const;
  RowCodes encode_rows(Team& team, const Positions& side) const;
  RowCodes encode_rows(const Positions& side, int64_t begin, int64_t end) const;

  // The accumulator's start for a row with share a: a pair whose sum stays negative is below bar.
  int32_t start(int32_t a, double bar) const;

  // What a score is at most when the sum of the shares and the product is `sum`.
  double bound(int32_t sum) const;

  // What the score of two rows is at most when their points are at least `gap` apart.
  double highest_score(double gap) const;

  // The start of a row that is not to survive with anything.
  static int32_t never();

 private:
  Screen(const Sample& sample, int64_t kept, bool dense);

  void learn_basis(Team& team, const Sample& sample);
  void measure_basis();
  void learn_step(const Sample& sample);
  void learn_dense_step(const Sample& sample);

  // Calls take(p, code, a, tau) for the positions [begin, end).
  template <class Take>
  void each_code(const Positions& side, int64_t begin, int64_t end, const Take& take) const;

  struct Share {
    int32_t a;
    double tau;
  };
  Share encode_prefix(const float* projected, double square, double kappa, int8_t* code) const;
  Share encode_dense(const float* point, double square, double kappa, int8_t* code) const;
  Share share(double tau, double factor, double square, double kappa) const;

  PointMap map_;
  int64_t d_;
  int64_t kept_;    // m
  int64_t padded_;  // m, filled up to what the projection works in
  int64_t width_;   // m and the remainder, filled up to a multiple of 4
  bool dense_;
  double slack_;
  double epsilon_;            // eps
  double off_;                // the share by which |w~|^2 may be off
  std::vector<float> basis_;  // d x padded; empty when dense
  double delta_ = 0.0;
  double eta_ = 0.0;
  double step_ = 0.0;
  double longest_ = 0.0;    // P
  double remainder_ = 0.0;  // rho_max, when dense
};

// The median score of some of the sampled rows and the nearest of the others.
double typical_bar(const Sample& sample);

// The prefix that costs least beside a dense screen (null: none), by what it leaves of some pairs
// of x and y at a bar, in a scan of so many pairs; none where it costs more than it saves.
std::optional<Screen> choose_prefix(Team& team, const Sample& sample, const Screen* dense,
                                    const Positions& x, const Positions& y, double pairs,
                                    double bar);

// By the scan's size (the default), or, for tests: all, the same with a wider prefix but no groups,
// the dense one with groups, the dense one alone, or none.
enum class ScreenMode { kAuto, kAlways, kWide, kGrouped, kDense, kNever };
void use_screen(ScreenMode mode);
bool screens_forced();
bool groups_forced();

}  // namespace meddel

// Int8 codes of rows, each with a step and an error of its own: bounds.h's dense screen for two
// sides that are unlike, such as rows and the centroids of many of them, which are much shorter.
//
// Points w, the scores S(u, v) = <w_u, w_v> + t_u + t_v and eps are bounds.h's. A point becomes d
// integers q in [-127, 127] with w = s q + e, its own step s being its greatest element / 127. With
// L >= s |q| and tau >= |e|, by Cauchy and Schwarz,
//
//   <w_u, w_v> = s_u s_v q_u'q_v + s_u q_u'e_v + s_v q_v'e_u + <e_u, e_v>
//             <= s_u s_v q_u'q_v + L_u tau_v + tau_u (L_v + tau_v),
//
// where nothing is shared by all rows: bounds are as good for short rows as for long ones. What is
// left of a pair, its bound, is worked out in fp32 from the exact integer product:
//
//   bound(u, v) = s_u s_v q_u'q_v + L_u tau_v + tau_u (L_v + tau_v) + t_v + (t_u - level),
//
// and bound < 0 proves a score below the one of which level is the S, less bounds.h's slack.
//
// tau. w~ is w as worked out in fp32, |w - w~| <= eps = 1.01 2^-24 (2 |w~| + |mu|), and of w~ - s q
// the squares' sum is known within a share `off`; each of its elements comes from a product of size
// at most |w~_i| + s and a difference, off by at most 2^-23 (|w~_i| + s), 2^-23 (|w~| + s sqrt(d))
// together. |w|^2 >= |w~|^2 - 2 eps |w~|, so that t <= (kappa - |w~|^2) / 2 + eps |w~|.
//
// fp32. A term of the bound takes at most 8 roundings (its integer's, its factors', its sums'), all
// of which are off by less than 2^-20 of the sum of the terms' sizes. L_u tau_v and the other terms
// are raised by this share of themselves; that of s_u s_v q_u'q_v, at most 2^-20 L_u L_v, is added
// to L_u tau_v, as 2^-20 L_v is added to tau_v.
//
// Some of this is more than is needed, which no test can miss. (a) Where |q_i| >= 1, w~_i and s q_i
// are within a factor of two, so that their difference is exact and the product alone is off, by
// 2^-24 s |q_i|: 2^-24 L together, which the 2^-19 L that tau is raised by holds too. (b) For the
// sign of a bound 2^-20 L_v is not needed: if S is at least the level, with X the size of the
// products' terms and Y = |t_v| + |t_u - level|, either X <= Y, and Y's share of 2^-20 is more than
// 2^-21 (X + Y), or the bound is at least X - Y, or s_u s_v q_u'q_v < 0 is within Y and the terms
// of tau, which are raised themselves. It is for `score`, where no level is near. (c) L's share
// need not be there, as L_u tau_v has tau_v's.
//
// A row whose norm is near the ends of fp32's range, or far beyond the sample's, is not screened:
// its bounds are above 0, whatever the other.
#pragma once

#include <cstdint>
#include <vector>

#include "base/sides.h"
#include "cpu/kernels.h"
#include "screen/points.h"

namespace meddel {

class Scaled {
 public:
  explicit Scaled(const PointMap& map);

  int64_t width() const { return width_; }  // integers a code, a multiple of 4

  // Writes the code of row i of a side, and returns what its bounds take beside it (t as rest).
  // `point` has room for d elements.
  ScaledRow encode(const Positions& side, int64_t i, float* point, int8_t* code) const;

  // The level of a score; without one (-infinity) one that all bounds of screened rows exceed.
  double level(double score) const;

  // The row with t - level for a rest.
  static ScaledRow below(ScaledRow row, double level);

  // What a score is at most where the bound is `reach` above the level; of real numbers, too.
  double score(float reach, double level) const;

  // S of equal points, the largest there is.
  double most() const { return map_.most(); }

  // A row that reaches nothing.
  static ScaledRow none();

 private:
  const PointMap map_;
  const int64_t width_;
  const double off_;
  const double slack_;
};

// The codes of some rows as the columns of Kernels::scores and Kernels::reach.
struct ScaledColumns {
  ScaledColumns() = default;
  ScaledColumns(const Scaled& screen, const Positions& side);

  // Some of these, of `width` integers each; where -1 is given, one that reaches nothing.
  ScaledColumns gather(const std::vector<int64_t>& columns, int64_t width) const;

  std::vector<int8_t> packed;
  std::vector<int32_t> start;
  std::vector<float> traits;
};

}  // namespace meddel

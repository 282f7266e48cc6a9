// int8 codes of unit rows, and what they say of <w, u_i> for a vector w: which rows are nowhere
// near the highest product is told by products of integers.
//
// Points. With a centre m (fp32), v_i = u_i - m is worked out in fp32 as v~_i: u_i is rounded once
// and the difference once, so that |v_i - v~_i| <= eps_i = 1.01 2^-24 (1 + |v~_i|) + 1e-30.
//
// Codes. B is a d x k basis of nearly orthonormal columns or, for dense codes, the identity; q_i
// are k integers in [-127, 127] with one step s of all rows, and e_i = v_i - s B q_i.
//
// Of w, c = B'w and h = w - B c (0 when dense) are worked out in fp64, and c = t p + f with k
// integers p in [-127, 127] and a step t. As <w, B q> = <c, q>,
//
//   <w, u_i> = <w, m> + s <c, q_i> + <c, B'e_i> + <h, e_i>
//           <= <w, m> + s t p'q_i + |f| Q + |c| T + |h| rho_i
//
// with Q >= s |q_i|, T >= |B'e_i| and rho_i >= |e_i|. Dense codes have <w, e_i> in place of the
// last two inner products: T = 0, and |w| takes the place of |h|. Call that factor H. Four more
// integers of each code make its part one of the product: r_i = ceil(rho_i g / 2 s), r = ceil(H / 2
// t g) for some g, so that 4 s t r r_i >= rho_i H, and
//
//   <w, u_i> <= base + s t (p'q_i + 4 r r_i) + room,   base = <w, m>,  room = |f| Q + |c| T + ...
//
// (Where H times the largest rho of a code, 254 s / g, is next to nothing, it joins room: r = 0.)
// What remains is a test of signs: p'q_i + 4 r r_i - floor((bar - base - room) / s t) < 0 proves
// that the product is below bar. The rest of room holds what fp64 adds: the truth's sum is off by
// at most (d / 8 + 5) 2^-53 |w| |u_i|, base by (d + 2) 2^-53 |w| |m|, c, h, f and their norms by
// sums of at most d + 2 terms: less than (d + 16) 2^-46 |w| together, as |u_i| and |m| are at
// most 1.01, |B| and s |q_i| at most 3. Where |w| is not within [1e-100, 1e100] nothing is ruled
// out.
//
// How rho and T are known, as |v~_i| <= 2.03. Dense: the kernel's sum of squares of v~ - s q is off
// by at most (d / 16 + 20) 2^-24 of itself and each difference by 2^-23 |v~_e| (bounds.h), so that
// rho = sqrt(sum (1 + that)) + 2^-23 |v~| + eps, the last two below kPoint = 2^-20. With a basis
// p~ = B'v~ is worked out in fp32, and rho^2 = |v|^2 - 2 s q'p~ + s^2 |q|^2 + 2 s |q| eta +
// delta s^2 |q|^2 and tau = |p~ - s q| + eta + delta s |q| bound |e|^2 and |B'e|, with delta and
// eta of bounds.h. A row of tau > T or r_i > 127 has no code: it is never ruled out.
//
// Rows of dense codes, one after the other, are looked up for the few that a pass has left. There
// f = t2 p2 + f2 with a second plane of integers p2, and each row has its own rho:
//
//   <w, u_i> <= base + s t p'q_i + s t2 p2'q_i + |f2| Q + |w| rho_i + (rounding as above).
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/parallel.h"
#include "base/unit_rows.h"
#include "screen/codes.h"

namespace meddel {

// Directions that many rows may lie near: d x padded, of which the first `kept` columns count.
struct Basis {
  std::vector<float> columns;
  int64_t kept;
  int64_t padded;
};

// A basis that rows spread evenly over all lie near; none where it leaves more than a fifth of
// their lengths, unless any will do.
std::optional<Basis> basis_near(Team& team, const UnitRows& rows, bool any);

// A vector that rows are multiplied with, which outlives this, and what holds of it beside codes.
struct Direction {
  Direction(const std::vector<double>& vector, const std::vector<float>& centre);

  // Whether codes can say anything of it.
  bool fits() const { return norm > 1e-100 && norm < 1e100; }

  const std::vector<double>& w;
  double norm;      // |w|
  double base;      // <w, m>
  double rounding;  // what fp64 adds
};

// Codes in blocks, for passes over all rows.
class StreamedCodes {
 public:
  // Dense, or by a basis.
  StreamedCodes(Team& team, const UnitRows& rows, const std::vector<float>& centre,
                const Basis* basis);

  int64_t width() const { return width_; }
  const Codes& codes() const { return codes_; }

  // The rows without a code, which no sum tells of; rising.
  const std::vector<int64_t>& uncoded() const { return uncoded_; }

  // Leaves a row out from now on: its sums are below whatever `least` returns.
  void drop(int64_t i);

  struct Probe {
    std::vector<int8_t> code;
    double unit;  // s t
    double low;   // base + room
  };
  Probe probe(const Direction& direction) const;

  // A row whose sum is below this has a product below bar.
  static int32_t least(const Probe& probe, double bar);

 private:
  struct Coded {
    double rho;
    double tau;
    double size;  // s |q|
  };
  Coded encode_dense(const float* point, int8_t* code) const;
  Coded encode_near(const float* point, const float* projected, int8_t* code) const;
  void measure_basis();
  void learn(const UnitRows& rows, const std::vector<float>& centre);
  void encode(Team& team, const UnitRows& rows, const std::vector<float>& centre);
  template <class Take>
  void each_code(const UnitRows& rows, const std::vector<float>& centre, const int64_t* which,
                 int64_t count, const Take& take) const;

  const int64_t d_;
  const Basis basis_;  // empty when dense
  const int64_t kept_;
  const int64_t width_;
  double delta_ = 0.0;
  double eta_ = 0.0;
  double step_ = 0.0;
  double grain_ = 1.0;    // g
  double tau_ = 0.0;      // T
  double longest_ = 0.0;  // Q
  Codes codes_;
  std::vector<int64_t> uncoded_;
};

// Dense codes one after the other.
class CodedRows {
 public:
  CodedRows(Team& team, const UnitRows& rows, const std::vector<float>& centre);

  struct Probe {
    std::vector<uint8_t> planes[2];
    double units[2];  // s t of each
    double base;
    double room;  // |f2| Q + rounding
    double norm;  // |w|
  };
  Probe probe(const Direction& direction) const;

  // out[k] = p'q of row rows[k]: its product less base, in units, nearly.
  void estimates(const Probe& probe, const int64_t* rows, int64_t count, int32_t* out) const;

  // Leaves those of some rows whose products may be bar or more, in their order.
  void leave(const Probe& probe, double bar, std::vector<int64_t>& rows) const;

 private:
  const int64_t d_;
  double step_ = 0.0;
  double longest_ = 0.0;  // Q
  std::vector<int8_t> codes_;
  std::vector<int32_t> start_;  // what takes the kernels' bias off
  std::vector<float> rho_;
};

}  // namespace meddel

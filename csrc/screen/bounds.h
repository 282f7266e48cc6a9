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

namespace meddel {

constexpr int64_t kWidest = 16384;  // dimensions of a dense code at most

// Bounds of the accumulator's parts, so that sums stay within 32 bits: a row's share is within
// kShare, or kSurvives or -kDropped, which decide alone; the bar's share is at most kBar; kWidest
// products of at most 127 * 255 make 5.3e8. Real scores and bars ask for at most 1.1 / step^2.
constexpr int32_t kShare = 150'000'000;
constexpr int32_t kBar = 150'000'000;
constexpr int32_t kSurvives = 600'000'000;
constexpr int32_t kDropped = 800'000'000;
constexpr double kLeastStep = 1e-4;
constexpr double kUnit = 1.0 / (1 << 24);  // rounding of fp32
// Norms outside are not screened: alpha, or a product with it, might leave fp32's range.
constexpr double kLeastNorm = 1e-30, kGreatestNorm = 1e30;
constexpr double kFarOut = 4.0;  // alpha |x| of rows that are screened

}  // namespace meddel

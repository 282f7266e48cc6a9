// What every operation returns, from one primitive: <x, y> in fp64.
//
// Lane j of 8 sums the products of elements i with i mod 8 = j, in rising i; the lanes are added as
// ((0+4)+(2+6))+((1+5)+(3+7)). Inputs are fp32, fp16, bf16 or int8, so a product has at most 48
// significant bits and is exact in fp64: fused multiply-add and multiply-then-add agree, and every
// instruction set and device gives the same bits. The primitive is Kernels::dot; these are the
// expressions above it, in the order of operations that is part of the contract.
#pragma once

#include <cmath>
#include <limits>

// For what runs on GPUs too, where the build forbids to fuse products with sums.
#if defined(__CUDACC__)
#define MEDDEL_HD __host__ __device__
#else
#define MEDDEL_HD
#endif

namespace meddel {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// <x, y> / sqrt(<x, x> <y, y>), within [-1, 1]. A zero vector has cosine 0 to everything.
//
// Rows that are equal, or opposite, have exactly 1, or -1: with q = <x, x> = <y, y> = +-<x, y>, as
// the sums of equal terms are equal, sqrt(fl(q q)) is q. For 1 <= q < 2, as powers of two scale all
// of it, fl(q q) = q q (1 + e) with |e| <= 2^-53, and its root is off q by at most
// q (|e| / 2) (1 + |e|) <= (2 - 2^-52) 2^-54 (1 + 2^-53) < 2^-53, half the distance to q's
// neighbours (q = 1, which has a nearer one, has the exact root 1): it rounds to q. The same holds
// for rows that differ by a power of two; other multiples may be an ulp below 1. For fp32 rows
// <x, x> is 0 or within [2^-298, 2^256 d], so the product neither under- nor overflows.
MEDDEL_HD inline double cosine(double xy, double xx, double yy) {
  const double squares = xx * yy;
  if (!(squares > 0.0)) return 0.0;
  const double value = xy / std::sqrt(squares);
  return value > 1.0 ? 1.0 : value < -1.0 ? -1.0 : value;
}

// Exactly 0 for equal rows. Doubling is exact, so fusing the subtraction changes nothing.
MEDDEL_HD inline double squared_distance(double xy, double xx, double yy) {
  const double value = (xx + yy) - 2.0 * xy;
  return value > 0.0 ? value : 0.0;
}

enum class Metric { kEuclidean, kCosine };

// What pairs of rows are ordered by: the cosine, or minus the squared distance.
MEDDEL_HD inline double score(Metric metric, double xy, double xx, double yy) {
  return metric == Metric::kCosine ? cosine(xy, xx, yy) : -squared_distance(xy, xx, yy);
}

// The distance that a score stands for: 1 - cosine, or the squared distance.
MEDDEL_HD inline double distance_of(Metric metric, double score) {
  return metric == Metric::kCosine ? 1.0 - score : -score;
}

MEDDEL_HD inline double distance(Metric metric, double xy, double xx, double yy) {
  return distance_of(metric, score(metric, xy, xx, yy));
}

}  // namespace meddel

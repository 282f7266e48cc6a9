// What every operation returns, from one primitive: <x, y> in fp64.
//
// Lane j of 8 sums the products of elements i with i mod 8 = j, in rising i; the lanes are added as
// ((0+4)+(2+6))+((1+5)+(3+7)). Inputs are fp32, fp16, bf16 or int8, so a product has at most 48
// significant bits and is exact in fp64: fused multiply-add and multiply-then-add agree, and every
// instruction set and device gives the same bits. The primitive is Kernels::dot; these are the
// expressions above it, in the order of operations that is part of the contract.
#pragma once

#include <cmath>

// For what runs on GPUs too, where the build forbids to fuse products with sums.
#if defined(__CUDACC__)
#define MEDDEL_HD __host__ __device__
#else
#define MEDDEL_HD
#endif

namespace meddel {

// A zero vector (norm 0) has cosine 0 to everything.
MEDDEL_HD inline double cosine(double xy, double x_norm, double y_norm) {
  const double norms = x_norm * y_norm;
  return norms > 0.0 ? xy / norms : 0.0;
}

// Exactly 0 for equal rows. Doubling is exact, so fusing the subtraction changes nothing.
MEDDEL_HD inline double squared_distance(double xy, double xx, double yy) {
  const double value = (xx + yy) - 2.0 * xy;
  return value > 0.0 ? value : 0.0;
}

enum class Metric { kEuclidean, kCosine };

// What pairs of rows are ordered by: the cosine, or minus the squared distance.
MEDDEL_HD inline double score(Metric metric, double xy, double xx, double yy, double x_norm,
                              double y_norm) {
  return metric == Metric::kCosine ? cosine(xy, x_norm, y_norm) : -squared_distance(xy, xx, yy);
}

MEDDEL_HD inline double cosine_distance(double cosine) { return cosine < 1.0 ? 1.0 - cosine : 0.0; }

}  // namespace meddel

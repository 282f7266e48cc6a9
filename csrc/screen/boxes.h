// Rows of few elements, near ones side by side: in buckets of a few hundred, each with the box
// that holds it. What is no nearer to the box than the farthest of the bucket's rows is to its
// nearest centre changes none of them.
//
// The proof, for <= 8 elements. Let u = 2^-53, x a row of the box, y a centre, D = |x - y|^2
// exactly and N = |x|^2 + |y|^2. Products of fp32 numbers are exact in fp64 and at least 2^-298 or
// 0, so that nothing underflows, and a sum of 8 rounds each term 3 times at most:
//   <x, x> + <y, y> as truth.h has it is off by at most ((1 + u)^4 - 1) N <= 4.001 u N,
//   2 <x, y> by at most ((1 + u)^3 - 1) 2 sum |x_i y_i| <= 3.001 u N, and their difference, which
//   is at most 2.001 N, is rounded once more: 2.001 u N.
// The clamp at 0 only raises it. So the truth's squared distance is at least D - 9.01 u N. As
// |y|^2 <= (|x| + sqrt(D))^2 <= 2 |x|^2 + 2 D, N is at most 3 (1 + 4 u) q + 2 D with q the largest
// <x, x> of the bucket, so that it is at least
//   (1 - 18.1 u) L - 27.1 u q,   L the exact squared distance of y and the box (L <= D).
//
// Kernels::next_near works out L in fp32. With v = 2^-24 a gap is rounded once, its square once
// more, and a sum of 8 rounds each 8 times at most; a square that underflows is off by 2^-150:
//   l <= (1 + v)^11 L + 8 (1 + v)^8 2^-150 <= (1 + 2^-20) L + 2^-146,
// or infinite, and then fp32's range is at most (1 + 2^-20) L. For a bucket whose rows have a
// distance of at most f it stands against
//   limit >= (1 + 2^-19) (f + 2^-48 q) + 2^-140,
// in fp32, infinite where it is beyond that, and then nothing is above it. With 2^-48 = 32 u
//   l > limit   implies   L > (1 + 2^-21) (f + 32 u q),
// and the truth's distance of y to each row is at least
//   (1 - 18.1 u) (1 + 2^-21) (f + 32 u q) - 27.1 u q >= f: the minimum keeps its bits.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/matrix.h"
#include "base/parallel.h"
#include "cpu/kernels.h"

namespace meddel {

struct Box {
  float low[kNarrow];
  float high[kNarrow];
  double most_square;  // the largest <x, x>
  int64_t begin;       // the position of its first row
  int64_t count;       // positions, a multiple of 16: the last ones may have no row
};

// All rows of a matrix of at most kNarrow columns and 2^31 - 1 rows, in buckets. Which rows share
// one is a matter of speed alone.
struct Boxes {
  Boxes(Team& team, const Matrix& x);

  const float* points(const Box& box) const { return &columns[box.begin * d]; }
  int64_t size() const { return static_cast<int64_t>(boxes.size()); }

  int64_t d;
  std::vector<Box> boxes;
  int64_t positions = 0;
  std::unique_ptr<float[]> columns;   // of each bucket, as Kernels::nearer wants them
  std::unique_ptr<double[]> squares;  // <x, x>, by position; 0 where there is no row
  std::unique_ptr<int32_t[]> rows;    // by position; -1 where there is none
};

// For next_near: centres beyond it are no nearer than `farthest` to any row of the box.
float limit_of(const Box& box, double farthest);

}  // namespace meddel

// The few primitives that differ by instruction set: one table a set, filled by its leaf file.
//
// The leaf files include this header and intrinsics, nothing else: inline code of other headers,
// compiled with their flags, could be merged by the linker into what older CPUs run.
#pragma once

#include <cstddef>
#include <cstdint>

namespace meddel {

// The truth: <x, y> of d elements in fp64, in the order that truth.h states.
using DotFn = double (*)(const void* x, const void* y, int64_t d);

// out[c] = <x, row rows[c] of y>, the same bits as DotFn; y's rows are ld elements apart. Without
// rows, the first count ones.
using DotsFn = void (*)(const void* x, const void* y, int64_t ld, const int64_t* rows,
                        int64_t count, int64_t d, double* out);

// out[r] = <x_r, x_r> of count rows, ld elements apart; the same bits as DotFn.
using SquaresFn = void (*)(const void* x, int64_t ld, int64_t count, int64_t d, double* out);

// The first `count` rows of y: inner[c] = <x, row c>, squares[c] = <row c, row c>; the same bits.
using MeasureFn = void (*)(const void* x, const void* y, int64_t ld, int64_t count, int64_t d,
                           double* inner, double* squares);

// out[c] = <row rows[c], row others[c]> of x; the same bits.
using PairDotsFn = void (*)(const void* x, int64_t ld, const int64_t* rows, const int64_t* others,
                            int64_t count, int64_t d, double* out);

// out[r * columns + c] = <row rows[r] of x, column c>, the same bits, of 1 to kCrossed columns of
// fp64 numbers that are of x's type, filled up with zeros to a multiple of 8: element 8 i + j of
// column c is y[8 (i * columns + c) + j].
constexpr int64_t kCrossed = 7;
using CrossFn = void (*)(const void* x, int64_t ld, const int64_t* rows, int64_t count, int64_t d,
                         const double* y, int64_t columns, double* out);

// The d elements as fp32, exactly.
using WidenFn = void (*)(const void* x, int64_t d, float* out);

// sum[i] += x[i] / divisor in fp64, each rounded on its own.
using AddFn = void (*)(const float* x, int64_t d, double divisor, double* sum);

// out[i] = x[i] * scale - centre[i] in fp32, fused or not; returns sum out[i]^2, worked out in fp32
// with 16 partial sums: off by at most (d / 16 + 20) 2^-24 of itself, where nothing underflows.
using PointFn = float (*)(const void* x, int64_t d, float scale, const float* centre, float* out);

// code[i] = x[i] / step rounded, within [-127, 127]; returns sum (x[i] - step code[i])^2, worked
// out in fp32 with 16 partial sums.
using QuantiseFn = float (*)(const float* x, int64_t d, float step, int8_t* code);

// Whether all d elements are finite.
using FiniteFn = bool (*)(const void* x, int64_t d);

// out (rows x columns) = x (rows x inner, ld apart) * y (inner x columns) in fp32, in any order of
// summation; columns is a multiple of 16.
using MultiplyFn = void (*)(const float* x, int64_t ld, int64_t rows, const float* y, int64_t inner,
                            int64_t columns, float* out);

// The same for `blocks` blocks of kPacked columns of y, each of which stands alone (inner x
// kPacked): column c of row r is out[r * stride + c].
constexpr int64_t kPacked = 64;
using MultiplyBlocksFn = void (*)(const float* x, int64_t ld, int64_t rows, const float* y,
                                  int64_t inner, int64_t blocks, float* out, int64_t stride);

// out[c] ~ <x, row rows[c] of y> in fp32, in any order of summation.
using RoughDotsFn = void (*)(const void* x, const void* y, int64_t ld, const int64_t* rows,
                             int64_t count, int64_t d, float* out);

// sums[c] = sums[c] * factor[c] + offset[c] in fp32, fused or not; returns the largest. columns is
// a multiple of 16, and nothing is NaN, or what is returned is any number.
using BestFn = float (*)(float* sums, const float* factor, const float* offset, int64_t columns);

// The sign test of screen/bounds.h for `rows` codes of x (1, or a multiple of 4) against `blocks`
// blocks of packed codes of y: column c of row r survives when x_start[r] + y_start[c] + <x, y> is
// at least 0. Writes the surviving columns of row r, rising, to columns[r * stride ...] and their
// number to counts[r].
using ScreenFn = void (*)(const uint8_t* x, const int32_t* x_start, int64_t rows, const int8_t* y,
                          const int32_t* y_start, int64_t blocks, int64_t width, uint16_t* columns,
                          int64_t stride, int32_t* counts);

// The sums whose signs ScreenFn tests: out[r * stride + c] = x_start[r] + y_start[c] + <x, y>, for
// all 16 * blocks columns.
using ScoresFn = void (*)(const uint8_t* x, const int32_t* x_start, int64_t rows, const int8_t* y,
                          const int32_t* y_start, int64_t blocks, int64_t width, int32_t* out,
                          int64_t stride);

// The sign test for the listed columns of one code of x, where y's codes stand one after the other,
// filled up with zeros to a multiple of kChunk (and x's may be read so far): keeps those that
// survive in `columns`, in order, and returns their number.
constexpr int64_t kChunk = 64;
using RefineFn = int32_t (*)(const uint8_t* x, int32_t x_start, const int8_t* y,
                             const int32_t* y_start, int64_t width, uint16_t* columns,
                             int32_t count);

// code[i] = x[i] / step rounded, for x[i] / step within +-2^15 - 1: off by at most .507 of a step.
using FineCodesFn = void (*)(const float* x, int64_t d, float step, int16_t* code);

// out[c] = <x, code rows[c] of y>, for codes that stand one after the other, `width` integers each,
// and of which no part of a product leaves 32 bits.
using FineDotsFn = void (*)(const int16_t* x, const int16_t* y, const uint16_t* rows, int64_t count,
                            int64_t width, int32_t* out);

// The same with x in two planes: `low`, whose bytes have no bias, counts 2^-kPlaneBits times as
// much, and its product is rounded up to an integer or the next one.
constexpr int kPlaneBits = 8;
using RefineFineFn = int32_t (*)(const uint8_t* x, const uint8_t* low, int32_t x_start,
                                 const int8_t* y, const int32_t* y_start, int64_t width,
                                 uint16_t* columns, int32_t count);

// out[k] = y_start[row] + <x, code of the row>, row = rows[k]; codes as RefineFn wants them.
using ByteDotsFn = void (*)(const uint8_t* x, const int8_t* y, const int32_t* y_start,
                            int64_t width, const int64_t* rows, int64_t count, int32_t* out);

// The first of the highest of n >= 1 scores.
using HighestFn = int64_t (*)(const int32_t* scores, int64_t n);

// out[j], of kApart: the highest score of the columns c with c mod kApart = j; n >= kApart is a
// multiple of it. Returns the highest of all.
constexpr int64_t kApart = 64;
using HighestApartFn = int32_t (*)(const int32_t* scores, int64_t n, int32_t* out);

// A score that k of n >= k at least have, `least` at least, and few more: the k-th highest where it
// takes long to find. Where fewer have `least`, kNoScore. n is a multiple of 16.
constexpr int32_t kNoScore = INT32_MIN;
using KthHighestFn = int32_t (*)(const int32_t* scores, int64_t n, int64_t k, int32_t least);

// out[c]: how many of n values, a multiple of 8, are greater than the c-th, or equal and before it.
using PlacesFn = void (*)(const double* values, int64_t n, int64_t* out);

// Lists the columns with scores[c] + start >= 0, rising, and returns their number; n is a multiple
// of 16.
using AtLeastFn = int32_t (*)(const int32_t* scores, int64_t n, int32_t start, uint16_t* columns);

// What screen/scaled.h makes of sums (of ScoresFn) for one row and n columns, a multiple of 16, in
// fp32, fused or not: bound = sum * (row.step * step) + row.length * rounding + row.rounding *
// length
// + rest + row.rest, with step, rounding, length and rest of 16 columns each one after the other in
// `columns`. Writes the bounds' bits, whose signs are theirs, and returns the greatest bound.
struct ScaledRow {
  float step;
  float length;
  float rounding;
  float rest;
};
using ReachFn = float (*)(const int32_t* sums, int64_t n, const ScaledRow& row,
                          const float* columns, int32_t* bits);

// For rows of at most kNarrow elements, which stand in columns: element e of point i is
// x[e * count + i], and count is a multiple of 16. nearest[i] = min(nearest[i], squared distance of
// point i and the centre), the same bits as truth.h's, given <x, x> and <y, y> from DotFn; returns
// the largest (at least -1).
constexpr int kNarrow = 8;
using NearerFn = double (*)(const float* x, const double* squares, int64_t count,
                            const float* centre, double square, double* nearest);

// Where nearest is `value`: the place of the lowest of those rows, or -1; count as above.
using LowestFn = int64_t (*)(const double* nearest, const int32_t* rows, int64_t count,
                             double value);

// The first of the centres [begin, end) whose squared distance to a box, worked out in fp32, is not
// above the limit, or `end`. Blocks of 16 centres, the last one filled up, column by column.
using NextNearFn = int64_t (*)(const float* low, const float* high, const float* centres,
                               int64_t begin, int64_t end, float limit);

// nearest[i] = min(nearest[i], squared distance of row i and the centre), by truth.h's expression,
// given inner[i] = <row i, centre>, squares[i] = <row i, row i> and square = <centre, centre>;
// returns the largest of at least one (at least -1).
using LowerFn = double (*)(const double* inner, const double* squares, int64_t count, double square,
                           double* nearest);

// values[i] = sqrt(max(values[i], 0)).
using RootsFn = void (*)(double* values, int64_t count);

// Points in columns, some of which may be there to fill up: element e of point i is
// x[e * count + i], and count is a multiple of 64.

// Of the k centroids (contiguous; k even) the one with the highest <x_i, c> + offset[c], worked out
// in fp32, in any order of summation, fused or not; this score, and the second highest. Offsets of
// minus infinity count for nothing.
using TopTwoFn = void (*)(const float* x, int64_t count, int64_t d, const float* centroids,
                          const float* offset, int64_t k, float* best, float* second,
                          int32_t* label);

// The same where the products are given: products[c * count + i].
using TopTwoProductsFn = void (*)(const float* products, int64_t count, const float* offset,
                                  int64_t k, float* best, float* second, int32_t* label);

// sums[c] = sums[c] + offset[c]; the same of these sums; columns is a multiple of 16.
using TopTwoSumsFn = void (*)(float* sums, const float* offset, int64_t columns, float* best,
                              float* second, int32_t* label);

// Lists c * count + i of all scores that are not below floor[i], worked out likewise, by c and then
// by i, and returns their number.
using TopNearFn = int32_t (*)(const float* x, int64_t count, int64_t d, const float* centroids,
                              const float* offset, int64_t k, const float* floor, int32_t* found);

// out[i] = <x_i, y_i>, the same bits as DotFn.
using ColumnDotsFn = void (*)(const float* x, const float* y, int64_t count, int64_t d,
                              double* out);

// inner[i], which is <x, y>, becomes truth.h's cosine, given <x, x> and <y, y>.
using CosinesFn = void (*)(const double* xx, const double* yy, int64_t count, double* inner);

// Every array of four is indexed by DType: fp32, fp16, bf16, int8.
struct Kernels {
  const char* name;
  DotFn dot[4];
  DotsFn dots[4];
  SquaresFn squares[4];
  MeasureFn measure[4];
  PairDotsFn pair_dots[4];
  CrossFn cross[4];
  WidenFn widen[4];
  AddFn add;
  PointFn point[4];
  FiniteFn finite[4];
  QuantiseFn quantise;
  MultiplyFn multiply;
  MultiplyBlocksFn multiply_blocks;
  RoughDotsFn rough_dots[4];
  BestFn best;
  ScreenFn screen;
  ScoresFn scores;
  RefineFn refine;
  FineCodesFn fine_codes;
  FineDotsFn fine_dots;
  RefineFineFn refine_fine;
  ByteDotsFn byte_dots;
  HighestFn highest;
  HighestApartFn highest_apart;
  KthHighestFn kth_highest;
  PlacesFn places;
  AtLeastFn at_least;
  ReachFn reach;
  NearerFn nearer[kNarrow];       // by the width less 1
  NextNearFn next_near[kNarrow];  // likewise
  LowestFn lowest;
  LowerFn lower;
  RootsFn roots;
  TopTwoFn top_two;
  TopTwoProductsFn top_two_products;
  TopTwoSumsFn top_two_sums;
  TopNearFn top_near;
  ColumnDotsFn column_dots;
  CosinesFn cosines;
  int32_t bias;  // what screen wants added to each byte of x (VNNI multiplies unsigned by signed)
};

// Tables of the leaf files; defined only for the architecture they belong to.
extern const Kernels kScalarKernels;
extern const Kernels kAvx2Kernels;
extern const Kernels kAvxVnniKernels;
extern const Kernels kAvx512Kernels;
extern const Kernels kAvx512VnniKernels;
extern const Kernels kNeonKernels;
extern const Kernels kNeonDotKernels;

}  // namespace meddel

// The truth of listed pairs of rows, and the exact distances of all pairs of rows.
//
// Bodies of kernels. Block is what a thread knows of its block: common.cuh has the GPU's, and
// tests/native/simt.h one that runs the same code on the host.
#pragma once

#include "cuda/elements.h"

namespace meddel::cuda {

// Eight threads a pair, one for each lane of the truth. They load 64 elements of both rows at a
// time, side by side, into shared memory, where each finds those of its lane.
struct InnerProducts {
  static constexpr int kThreads = 256;
  static constexpr int kPairs = kThreads / kEight;      // a block
  static constexpr int kElements = kEight * kEight;     // a row at a time
  static constexpr int kStride = kElements + kEight;    // four pairs of a warp in other banks
  static constexpr int kShared = 2 * kPairs * kStride;  // floats

  template <class T>
  struct Arguments {
    Rows<T> x;
    Rows<T> y;
    const int64_t* i;  // rows of x, or null for 0, 1, 2 ...
    const int64_t* j;  // rows of y, likewise
    int64_t count;
    double* out;
  };

  // The sums of the eight threads of a pair, in the truth's order, for each of them.
  template <class Block>
  static MEDDEL_HD double add_lanes(const Block& block, double sum) {
    sum += block.shuffle_xor(sum, 4);
    sum += block.shuffle_xor(sum, 2);
    return sum + block.shuffle_xor(sum, 1);
  }

  template <class T, class Block>
  static MEDDEL_HD void run(const Block& block, const Arguments<T>& a, float* shared) {
    const int lane = block.thread() % kEight, group = block.thread() / kEight;
    const int64_t pair = block.index_x() * kPairs + group;
    // A warp stays together: groups beyond the last pair work it out again.
    const int64_t p = pair < a.count ? pair : a.count - 1;
    const int64_t row = a.i == nullptr ? p : a.i[p], column = a.j == nullptr ? p : a.j[p];
    float* x = shared + 2 * group * kStride;
    float* y = x + kStride;
    Eight<T> next_x = a.x.eight(row, kEight * lane), next_y = a.y.eight(column, kEight * lane);
    double sum = 0.0;
    for (int64_t begin = 0; begin < a.x.d; begin += kElements) {
      block.sync_warp();  // all have read what is overwritten now
      *reinterpret_cast<Floats*>(x + kEight * lane) = next_x.widened();
      *reinterpret_cast<Floats*>(y + kEight * lane) = next_y.widened();
      block.sync_warp();
      next_x = a.x.eight(row, begin + kElements + kEight * lane);
      next_y = a.y.eight(column, begin + kElements + kEight * lane);
      for (int e = 0; e < kEight; ++e) {
        sum = multiply_add(x[kEight * e + lane], y[kEight * e + lane], sum);
      }
    }
    sum = add_lanes(block, sum);
    if (lane == 0 && pair < a.count) a.out[pair] = sum;
  }
};

// A block works out a tile of 32 x 32 distances, on or above the diagonal, and writes it twice.
// Eight threads, one a lane, share 8 x 4 pairs: each keeps its lane's 32 sums, for which it reads
// 12 numbers from shared memory per 32 products.
struct DistanceMatrix {
  static constexpr int kThreads = 256;
  static constexpr int kTile = 32;
  static constexpr int kElements = 32;                 // a row at a time
  static constexpr int kStride = kElements + kEight;   // numbers; neighbouring rows in other banks
  static constexpr int kShared = 2 * kTile * kStride;  // numbers
  static constexpr int kRows = 8, kColumns = 4;        // a thread
  static constexpr int kRowGroups = kTile / kRows, kColumnGroups = kTile / kColumns;
  static_assert(kThreads == kEight * kRowGroups * kColumnGroups, "all pairs");
  static_assert(kThreads * kEight == 2 * kTile * kElements, "a thread loads eight elements");
  static_assert(kTile * (kTile + 1) <= kShared, "the sums fit where the rows were");

  template <class T>
  struct Arguments {
    Rows<T> x;
    int64_t count;          // of rows
    const double* squares;  // <x, x> of each
    Metric metric;
    double* out;  // count x count: cosine distances, or squared distances
  };

  // What a thread keeps on its way through the elements.
  struct Sums {
    double value[kRows][kColumns];
  };

  // Which of a tile's rows and columns a thread works on: rows row + 4 r and columns column + 8 c.
  // A warp has 2 x 2 of the groups of eight threads.
  struct Place {
    int lane, row, column;
  };

  static MEDDEL_HD Place place(int thread) {
    const int warp = thread / 32, group = thread % 32 / kEight;
    return {thread % kEight, warp / 4 * 2 + group / 2, warp % 4 * 2 + group % 2};
  }

  static MEDDEL_HD void add_products(const Place& at, const double* x, const double* y,
                                     Sums& sums) {
    for (int e = at.lane; e < kElements; e += kEight) {
      double column[kColumns];
      for (int c = 0; c < kColumns; ++c) {
        column[c] = y[(at.column + c * kColumnGroups) * kStride + e];
      }
      for (int r = 0; r < kRows; ++r) {
        const double row = x[(at.row + r * kRowGroups) * kStride + e];
        for (int c = 0; c < kColumns; ++c) {
          sums.value[r][c] = multiply_add(row, column[c], sums.value[r][c]);
        }
      }
    }
  }

  // The row that a thread loads from: of the tile's rows, then of its columns.
  template <class T>
  static MEDDEL_HD int64_t loaded_row(const Arguments<T>& a, int64_t row0, int64_t column0,
                                      int which) {
    const int64_t p = which < kTile ? row0 + which : column0 + which - kTile;
    return p < a.count ? p : a.count - 1;
  }

  // Leaves the tile's inner products in `shared`, kTile + 1 a row.
  template <class T, class Block>
  static MEDDEL_HD void multiply(const Block& block, const Arguments<T>& a, int64_t row0,
                                 int64_t column0, double* shared) {
    const Place at = place(block.thread());
    const int which = block.thread() / (kElements / kEight);
    const int first = block.thread() % (kElements / kEight) * kEight;
    const int64_t row = loaded_row(a, row0, column0, which);
    double* mine = shared + which * kStride + first;
    Eight<T> next = a.x.eight(row, first);
    Sums sums{};
    for (int64_t begin = 0; begin < a.x.d; begin += kElements) {
      block.sync();
      const Floats floats = next.widened();
      for (int e = 0; e < kEight; ++e) mine[e] = floats.value[e];
      block.sync();
      next = a.x.eight(row, begin + kElements + first);
      add_products(at, shared, shared + kTile * kStride, sums);
    }
    block.sync();
    for (int r = 0; r < kRows; ++r) {
      for (int c = 0; c < kColumns; ++c) {
        const double sum = InnerProducts::add_lanes(block, sums.value[r][c]);
        if (at.lane == (kColumns * r + c) % kEight) {
          const int tile_row = at.row + r * kRowGroups, column = at.column + c * kColumnGroups;
          shared[tile_row * (kTile + 1) + column] = sum;
        }
      }
    }
    block.sync();
  }

  template <class T, class Block>
  static MEDDEL_HD void run(const Block& block, const Arguments<T>& a, double* shared) {
    const int64_t row0 = block.index_y() * kTile, column0 = block.index_x() * kTile;
    if (column0 < row0) return;
    multiply(block, a, row0, column0, shared);
    for (int e = block.thread(); e < kTile * kTile; e += kThreads) {
      const int64_t p = row0 + e / kTile, q = column0 + e % kTile;
      if (p >= a.count || q >= a.count) continue;
      double& inner = shared[e / kTile * (kTile + 1) + e % kTile];
      inner = distance(a.metric, inner, a.squares[p], a.squares[q]);
      a.out[p * a.count + q] = inner;
    }
    block.sync();
    for (int e = block.thread(); e < kTile * kTile; e += kThreads) {
      const int64_t q = column0 + e / kTile, p = row0 + e % kTile;
      if (p < a.count && q < a.count) {
        a.out[q * a.count + p] = shared[e % kTile * (kTile + 1) + e / kTile];
      }
    }
  }
};

}  // namespace meddel::cuda

// The tiled all-pairs loop under similar_pairs, redundancy, top-k and spherical k-means: an
// operation says, per row, which columns count and which cosine it still cares for, and is handed
// every pair that reaches it, with the truth's inner product.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cpu/isa.h"
#include "matrix.h"
#include "parallel.h"

namespace meddel {

// Rows of a matrix in the order of a scan, with their norms: position p is row rows[p] of x.
struct ScanSide {
  const Matrix* x;
  std::vector<int64_t> rows;
  std::vector<double> squares;  // <x, x>, by row
  std::vector<double> norms;    // their roots

  int64_t size() const { return static_cast<int64_t>(rows.size()); }
  const void* data(int64_t p) const { return x->row(rows[p]); }
  double square(int64_t p) const { return squares[rows[p]]; }
  double norm(int64_t p) const { return norms[rows[p]]; }
};

ScanSide make_side(Team& team, const Matrix& x, std::vector<int64_t> rows);

// All rows of x, in order.
ScanSide all_rows(Team& team, const Matrix& x);

// The columns [begin, end) of a row.
struct ColumnRange {
  int64_t begin;
  int64_t end;
};

// Scans x against y in bands of rows; a band belongs to one thread from start to end, so that an
// operation's state per row needs no locks. Operation must offer
//   ColumnRange range(int64_t p) const       columns of row p, fixed
//   double bar(int64_t p) const              cosines below it need not be handed over; may rise
//   void take(int64_t p, int64_t q, double inner)        in any order of q
//   void finish_band(int64_t begin, int64_t end)         after the band's last pair
// What a screen leaves out has a cosine below the bar; what is handed over may still be below it.
// The elements of x and y are of one type, or those of y are fp32 (x is widened, exactly).
template <class Operation>
void scan_pairs(Team& team, const ScanSide& x, const ScanSide& y, Operation& operation) {
  constexpr int64_t kBandRows = 32;
  constexpr int64_t kTileColumns = 256;  // 256 rows of 768 fp32: 768 KiB, within a core's L2
  const WidenFn widen = kernels().widen[static_cast<int>(x.x->dtype)];
  const DotsFn dots = kernels().dots[static_cast<int>(y.x->dtype)];
  team.run_range(x.size(), kBandRows, [&](int64_t band, int64_t band_end, int) {
    const bool widened = x.x->dtype != y.x->dtype;
    std::vector<float> buffer(widened ? static_cast<size_t>(x.x->d) : 0);
    int64_t first = y.size(), last = 0;
    for (int64_t p = band; p < band_end; ++p) {
      const ColumnRange range = operation.range(p);
      first = std::min(first, range.begin);
      last = std::max(last, range.end);
    }
    double inner[kTileColumns];
    for (int64_t tile = first; tile < last; tile += kTileColumns) {
      for (int64_t p = band; p < band_end; ++p) {
        const ColumnRange range = operation.range(p);
        const int64_t begin = std::max(tile, range.begin);
        const int64_t end = std::min(tile + kTileColumns, range.end);
        if (begin >= end) continue;
        const void* row = x.data(p);
        if (widened) {
          widen(row, x.x->d, buffer.data());
          row = buffer.data();
        }
        dots(row, y.x->data, y.x->ld, y.rows.data() + begin, end - begin, y.x->d, inner);
        for (int64_t q = begin; q < end; ++q) operation.take(p, q, inner[q - begin]);
      }
    }
    operation.finish_band(band, band_end);
  });
}

}  // namespace meddel

// The two sides of a scan of one set against itself, or of one set against another.
#pragma once

#include <cstdint>
#include <memory>
#include <numeric>
#include <vector>

#include "base/matrix.h"
#include "base/parallel.h"
#include "base/sides.h"
#include "ops/pairs.h"

namespace meddel {

// One set against itself (y null: both sides are the same object), or two sets. A range of one set
// is compared with itself and all that follows: two sides unless nothing follows.
struct TwoSides {
  TwoSides(Team& team, const Matrix& x, const Matrix* y) : TwoSides(team, x, y, {0, x.n}) {}

  TwoSides(Team& team, const Matrix& x, const Matrix* y, const RowRange& range)
      : left(make_side(team, x, rows_of(range))) {
    if (y != nullptr) {
      other.reset(new ScanSide(all_rows(team, *y)));
    } else if (range.end < x.n) {
      other.reset(new ScanSide{&x, rows_of({range.begin, x.n}), left.squares, left.norms});
    }
  }

  static std::vector<int64_t> rows_of(const RowRange& range) {
    std::vector<int64_t> rows(static_cast<size_t>(range.end - range.begin));
    std::iota(rows.begin(), rows.end(), range.begin);
    return rows;
  }

  ScanSide& right() { return other ? *other : left; }

  ScanSide left;
  std::unique_ptr<ScanSide> other;
};

}  // namespace meddel

// Operations on pairs of rows where both sides are parts of larger sets: each call takes account of
// what one more part of the columns holds, and after all parts, in any order, the result is that of
// the operation on the whole sets. Here is what these have in common.
#pragma once

#include <cstdint>
#include <vector>

#include "base/matrix.h"
#include "screen/scan_screens.h"

namespace meddel {

// Some rows of a set: by row, which samples they are, where these stand in the set's order, and
// their groups (null: one group).
struct Part {
  Matrix rows;
  const int64_t* samples;
  const int64_t* places;
  const int64_t* labels;
};

// The rows of a part by label, then by place.
std::vector<int64_t> in_order(const Part& part);

// By position of x: the positions of y with the same label and an earlier place.
std::vector<ColumnRange> earlier_columns(const Part& x, const std::vector<int64_t>& x_rows,
                                         const Part& y, const std::vector<int64_t>& y_rows);

// How many pairs these are.
double pairs_in(const std::vector<ColumnRange>& columns);

}  // namespace meddel

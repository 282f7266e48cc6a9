// Per-row quantities of the truth.
#pragma once

#include <vector>

#include "base/matrix.h"
#include "base/parallel.h"

namespace meddel {

// <x_i, x_i> for every row.
std::vector<double> squared_norms(Team& team, const Matrix& x);

// The square root of each.
std::vector<double> roots(const std::vector<double>& squares);

// Index of the first row with a NaN or an infinity, or -1.
int64_t first_nonfinite_row(Team& team, const Matrix& x);

}  // namespace meddel

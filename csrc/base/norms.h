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

// Refuse rows with a NaN or an infinity; the message names the first. By the squares of all rows,
// which are finite of all others, or by the elements.
void require_finite(const std::vector<double>& squares);
void require_finite(Team& team, const Matrix& x);

// Whether so many squares are finite: what is not is not in their sum either.
bool all_finite(const double* squares, int64_t count);

// Index of the first row with a NaN or an infinity, or -1.
int64_t first_nonfinite_row(Team& team, const Matrix& x);

}  // namespace meddel

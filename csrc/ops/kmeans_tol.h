// What k-means compares with its tolerance, in fixed orders of fp64 sums: every device stops at the
// same iteration.
#pragma once

#include <cstdint>
#include <vector>

#include "base/matrix.h"
#include "base/parallel.h"
#include "base/sides.h"

namespace meddel {

// The mean variance of the features of all rows (of the unit rows, when spherical): the mean of
// <x, x> (of a unit row 1, of a zero row 0) less <m, m> of the mean row m, over their number. Not
// below 0.
double mean_variance(Team& team, const ScanSide& rows, bool spherical);

// The sum, in order, of the squared distances between k old rows of d elements and new ones.
double squared_shift(const std::vector<float>& before, const std::vector<float>& after, int64_t k,
                     int64_t d);

}  // namespace meddel

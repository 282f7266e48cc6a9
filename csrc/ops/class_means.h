// How near rows are to the mean direction of their class.
#pragma once

#include <cstdint>
#include <vector>

#include "base/matrix.h"
#include "base/parallel.h"

namespace meddel {

// <u_i, m / |m|>, u being the rows of x scaled to norm 1 (base/unit_rows.h) and m the sum of those
// of the row's class, added in the order of their index; 0 where m is 0. labels are within [0, k).
std::vector<double> class_mean_cosines(const Matrix& x, const std::vector<int64_t>& labels,
                                       int64_t k, const Context& context);

}  // namespace meddel

// similar_pairs of the groups that two parts of a set have in common (see parts.h).
#pragma once

#include <cstdint>

#include "base/matrix.h"
#include "base/parallel.h"
#include "ops/pairs.h"

namespace meddel {

// Every pair of a row of x and a row of y of equal labels with cosine >= threshold, by row of x.
// Throws TooManyPairs soon after more than max_pairs are found.
Pairs pairs_of_groups(const Matrix& x, const int64_t* x_labels, const Matrix& y,
                      const int64_t* y_labels, double threshold, int64_t max_pairs,
                      const Context& context);

}  // namespace meddel

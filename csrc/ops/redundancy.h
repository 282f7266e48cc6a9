// How much a sample repeats what came before it. Exact: equal to what truth.h says, ties to the
// lowest index, for any number of threads.
#pragma once

#include <cstdint>
#include <vector>

#include "base/matrix.h"
#include "base/parallel.h"
#include "ops/ordering.h"

namespace meddel {

struct Redundancy {
  std::vector<double> similarity;  // by row; `above` where nothing is earlier and above it
  std::vector<int64_t> neighbor;   // by row; -1 likewise
};

// For every row the highest cosine to an earlier row of its group, and the lowest such row; only
// cosines greater than `above` count, which may be -infinity.
Redundancy redundancy(const Matrix& x, const Ordering& ordering, double above,
                      const Context& context);

}  // namespace meddel

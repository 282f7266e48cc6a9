// Farthest-point selection (k-center greedy).
#pragma once

#include <cstdint>
#include <vector>

#include "base/matrix.h"
#include "base/parallel.h"
#include "base/truth.h"

namespace meddel {

struct KCenter {
  std::vector<int64_t> indices;   // the new centres, in the order they were chosen
  std::vector<double> radii;      // distance of each, when chosen, to the centres before it
  std::vector<double> distances;  // of every row to its nearest centre, old or new, if wanted
};

// The first centre is `start` unless some are `selected` already; each next one is the row that is
// farthest from all centres, the lowest index among equals. Ends after k centres, or before one
// whose distance would be `radius` or less. A centre has distance 0 and is never chosen again, even
// if all rows are equal. Requires 0 <= start < n, distinct `selected` within [0, n),
// 1 <= k <= n - selected; a negative radius never ends it.
KCenter kcenter_greedy(const Matrix& x, int64_t k, double radius, Metric metric, int64_t start,
                       const std::vector<int64_t>& selected, bool distances,
                       const Context& context);

}  // namespace meddel

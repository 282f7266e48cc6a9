// The most similar rows by cosine. Exact: equal to what truth.h says, ties to the lowest index, for
// any number of threads.
#pragma once

#include <cstdint>
#include <vector>

#include "base/matrix.h"
#include "base/parallel.h"

namespace meddel {

struct TopK {
  std::vector<double> similarity;  // n x k, falling
  std::vector<int64_t> indices;    // n x k, rising among equals
};

// The k most similar rows of y (or of x without the row itself when y is null).
// Requires 1 <= k <= rows to choose from.
TopK topk_similarity(const Matrix& x, const Matrix* y, int64_t k, const Context& context);

}  // namespace meddel

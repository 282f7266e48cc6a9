// topk_similarity on parts of two sets, or of one (see parts.h).
#pragma once

#include <cstdint>

#include "base/matrix.h"
#include "base/parallel.h"
#include "ops/topk.h"

namespace meddel {

// Goes on with the rows of y, of which the first is sample y_first. Places without a sample
// have index -1 and stand behind the others. With x_first >= 0 both are of one set, and no sample
// is compared with itself.
TopK topk_in_part(const Matrix& x, int64_t x_first, const Matrix& y, int64_t y_first, TopK best,
                  int64_t k, const Context& context);

}  // namespace meddel

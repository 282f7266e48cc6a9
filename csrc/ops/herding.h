// Herding: rows, each the one with the highest product with a vector that each changes.
#pragma once

#include <cstdint>
#include <vector>

#include "base/matrix.h"
#include "base/parallel.h"

namespace meddel {

struct Herding {
  std::vector<int64_t> order;     // the rows chosen, in order
  std::vector<double> products;   // <w, u> of all rows, when each count of these had been chosen
  std::vector<double> distances;  // and |w - mean| then
};

// With u the rows of x scaled to norm 1 (base/unit_rows.h) and w = their mean, weighted by
// `weights` unless that is empty: the row of the highest <w, u> that is not chosen yet is chosen,
// of equal ones the first, and w becomes (w + mean) - u; after the same was done with the rows
// `selected`, which are distinct. Until the last of the `counts`, which rise, are at least 1 and at
// most the rows that remain; there is at least one.
//
// All is in fp64, and its order of operations, that of unit_rows.h, is part of the contract.
Herding herding(const Matrix& x, const std::vector<double>& weights,
                const std::vector<int64_t>& selected, const std::vector<int64_t>& counts,
                const Context& context);

}  // namespace meddel

// k-center greedy where the rows are held in parts: what kcenter.h does on a whole matrix, in the
// two steps that need rows. Distances are squared for the Euclidean metric; that of a centre is -1.
#pragma once

#include <cstdint>
#include <vector>

#include "base/matrix.h"
#include "base/parallel.h"
#include "base/truth.h"

namespace meddel {

// The distances of rows to their nearest centre, given those that take account of the first
// seen[row] centres alone (infinity of none).
std::vector<double> catch_up(const Matrix& x, const Matrix& centres, Metric metric,
                             std::vector<int32_t> seen, std::vector<double> nearest,
                             const Context& context);

struct Chosen {
  std::vector<int64_t> rows;    // the new centres, in the order they were chosen
  std::vector<double> radii;    // as of KCenter
  std::vector<double> nearest;  // by row, new centres included
  bool ended;                   // whether the radius ended it
};

// Chooses up to k centres among some rows, whose distances are exact, as long as the farthest of
// them comes before all rows that are not among them: of these none is farther than `bound`, and
// those that are as far stand behind the first `before` rows.
Chosen choose_among(const Matrix& x, std::vector<double> nearest, int64_t k, double radius,
                    Metric metric, double bound, int64_t before, const Context& context);

}  // namespace meddel

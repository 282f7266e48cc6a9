// k-means where the rows are held in parts: what kmeans.h does on a whole matrix, in the steps that
// need rows. Parts begin at multiples of kBlockRows.
#pragma once

#include <cstdint>
#include <vector>

#include "base/matrix.h"
#include "base/parallel.h"

namespace meddel {

// The weights of k-means++ after one more seed (a matrix of one row), which is the given row of x,
// or none of them (-1). squares holds <x, x> by row.
std::vector<double> lower_weights(const Matrix& x, const std::vector<double>& squares,
                                  const Matrix& seed, int64_t row, bool spherical,
                                  std::vector<double> weights, const Context& context);

// The sums of the wanted clusters' members after a part more: of the rows themselves, or of the
// rows divided by their norms. Where rows have weights, they are multiplied by them, and each sum
// (d + 1 elements instead of d) ends in that of the weights. Parts must be added in the order of
// their rows.
std::vector<double> add_members(const Matrix& x, const std::vector<int64_t>& labels,
                                const std::vector<double>& norms,
                                const std::vector<double>& weights, const std::vector<bool>& wanted,
                                std::vector<double> sums, const Context& context);

}  // namespace meddel

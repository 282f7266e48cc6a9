// The steps of Lloyd's k-means whose every bit is fixed; the loop itself is in ops.py.
#pragma once

#include <cstdint>
#include <vector>

#include "matrix.h"
#include "parallel.h"

namespace meddel {

// Sums over samples run over blocks of so many rows in index order; the block sums are then added
// in order. Part of the contract, the same in reference.py.
constexpr int64_t kBlockRows = 1024;

// k-means++ seeding (Arthur and Vassilvitskii 2007): k rows, one per uniform in [0, 1). Weights are
// squared distances, or 1 - cosine when spherical. When only copies of the seeds are left, the
// lowest rows not yet taken follow.
std::vector<int64_t> kmeans_plus_plus(const Matrix& x, bool spherical,
                                      const std::vector<double>& uniforms, const Context& context);

struct Assignment {
  std::vector<int64_t> labels;    // nearest centroid, the lowest among equals
  std::vector<double> distances;  // 1 - cosine when spherical, else squared
  double inertia;                 // their sum, by blocks
};

// centroids: fp32, x.d wide. guess may be null, or hold a label for each row: right ones make it
// faster, none changes the answer.
Assignment kmeans_assign(const Matrix& x, const Matrix& centroids, const int64_t* guess,
                         bool spherical, const Context& context);

// Mean of each cluster (of the unit rows, scaled to norm 1, when spherical), k x d in fp32. A
// cluster without members takes the row with the largest distance, the second empty one the row
// with the second largest, and so on; ties to the lowest row.
std::vector<float> kmeans_update(const Matrix& x, const int64_t* labels, const double* distances,
                                 int64_t k, bool spherical, const Context& context);

}  // namespace meddel

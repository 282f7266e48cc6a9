// Lloyd's k-means, every bit of which is fixed.
#pragma once

#include <cstdint>
#include <vector>

#include "base/matrix.h"
#include "base/parallel.h"

namespace meddel {

// Sums over samples run over blocks of so many rows in index order; the block sums are then added
// in order. Part of the contract, the same in reference.py.
constexpr int64_t kBlockRows = 1024;

// k-means++ seeding (Arthur and Vassilvitskii 2007): k rows, one per uniform in [0, 1). Weights are
// squared distances, or 1 - cosine when spherical. When only copies of the seeds are left, the
// lowest rows not yet taken follow.
std::vector<int64_t> kmeans_plus_plus(const Matrix& x, bool spherical,
                                      const std::vector<double>& uniforms, const Context& context);

struct KMeans {
  std::vector<int64_t> labels;    // nearest centroid, the lowest among equals
  std::vector<float> centroids;   // k x d
  std::vector<double> distances;  // 1 - cosine when spherical, else squared
  double inertia;                 // their sum, by blocks
  int64_t iterations;             // updates made
  bool converged;                 // whether the last update changed no label
};

// Lloyd's algorithm from the given centroids (k x x.d). A centroid becomes the mean of its cluster
// (of the unit rows, scaled to norm 1, when spherical), rounded to fp32 once. A cluster without
// members takes the row with the largest distance, the second empty one the row with the second
// largest, and so on; ties to the lowest row.
KMeans kmeans(const Matrix& x, std::vector<float> centroids, int64_t k, bool spherical,
              int64_t max_iterations, const Context& context);

}  // namespace meddel

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
// squared distances, or 1 - cosine when spherical, times the rows' own (by row; empty for all 1),
// which alone draw the first. When nothing of them is left (copies of the seeds, rows of weight 0),
// the lowest rows not yet taken follow.
std::vector<int64_t> kmeans_plus_plus(const Matrix& x, bool spherical,
                                      const std::vector<double>& uniforms,
                                      const std::vector<double>& row_weights,
                                      const Context& context);

struct KMeans {
  std::vector<int64_t> labels;    // nearest centroid, the lowest among equals
  std::vector<float> centroids;   // k x d
  std::vector<double> distances;  // 1 - cosine when spherical, else squared
  double inertia;                 // the sum of distances, times the weights, by blocks
  int64_t iterations;             // updates made
  bool converged;                 // whether the last update changed no label, or moved too little
};

struct KMeansOptions {
  bool spherical;
  int64_t max_iterations;
  double tol = 0.0;
  std::vector<double> weights = {};  // by row: 0 or from 1e-100 to 1e100; empty for all 1
};

// Lloyd's algorithm from the given centroids (k x x.d). A centroid becomes the weighted mean of its
// cluster (of the unit rows, scaled to norm 1, when spherical), rounded to fp32 once. A cluster
// without weight (no members, or all weigh 0) takes the row with the largest distance, the second
// such one the row with the second largest, and so on; ties to the lowest row, and rows of weight 0
// come last, by index. Ends when an update changes no label, or when the sum of the centroids'
// squared shifts is at most tol times the mean variance of the features, see kmeans_tol.h.
KMeans kmeans(const Matrix& x, std::vector<float> centroids, int64_t k,
              const KMeansOptions& options, const Context& context);

}  // namespace meddel

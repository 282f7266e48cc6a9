// k-means where the rows are held in parts: what kmeans.h does on a whole matrix, in the steps that
// need rows. Parts begin at multiples of kBlockRows.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/matrix.h"
#include "base/parallel.h"
#include "base/truth.h"
#include "ops/seed_screens.h"
#include "ops/seed_weights.h"

namespace meddel {

// The weights of k-means++ of a process's own rows, which are elsewhere: each seed asks for those
// that it may come nearer to.
class SeedParts {
 public:
  // For so many seeds and n rows (with weights of their own, or none), of which some are given to
  // learn from, and so many bytes of codes.
  SeedParts(const Matrix& sample, bool spherical, int64_t n, int64_t seeds, int64_t bytes,
            const std::vector<double>& row_weights, const Context& context);
  SeedParts(const SeedParts&) = delete;
  SeedParts& operator=(const SeedParts&) = delete;

  // Takes the rows from `begin` on, and their <x, x>. All rows come before the first seed.
  void add(const Matrix& rows, const std::vector<double>& squares, int64_t begin,
           const Context& context);

  // The rows, rising, that a seed (a matrix of one row) may come nearer to.
  std::vector<int64_t> left(const Matrix& seed, const Context& context) const;

  // Compares some rows with a seed, which is the given one of all, or none of them (-1).
  void lower(const Matrix& rows, const std::vector<int64_t>& which, const Matrix& seed, int64_t row,
             const Context& context);

  // After their sums were brought up to date.
  const SeedWeights& weights(const Context& context);

  int64_t rows() const { return weights_.rows(); }
  int64_t bytes() const { return screens_->bytes(); }  // of codes
  double share(int64_t row) const { return weights_.share(row); }

 private:
  const Metric metric_;
  SeedWeights weights_;
  std::vector<double> squares_;
  std::optional<SeedScreens> screens_;
};

// The sums of the wanted clusters' members after a part more: of the rows themselves, or of the
// rows divided by their norms. Where rows have weights, they are multiplied by them, and each sum
// (d + 1 elements instead of d) ends in that of the weights. Parts must be added in the order of
// their rows.
std::vector<double> add_members(const Matrix& x, const std::vector<int64_t>& labels,
                                const std::vector<double>& norms,
                                const std::vector<double>& weights, const std::vector<bool>& wanted,
                                std::vector<double> sums, const Context& context);

}  // namespace meddel

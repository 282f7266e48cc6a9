// Assignments of k-means where rows have few elements: these stand in columns, a register of rows
// at a time, and all their fp32 products with all centroids are worked out. Where the two best
// centroids of a row are too near to each other for fp32, the truth decides.
//
// Of a row x and a centroid c, s = <x, c> - <c, c> / 2 for the Euclidean metric and <x, c> / |c|
// for cosines (0 of a zero centroid) orders the centroids as the row's scores do. It is worked out
// as the product of d + 1 terms of (x, 1) and (c, -<c, c> / 2), or of d terms of x and c / |c|:
//
// - A sum of d products and of what it starts with, in any order, fused or not, is off by at most
//   (d + 1) u / (1 - (d + 1) u) times the sum of their sizes, u = 2^-24. What underflows adds no
//   more than d 2^-148.
// - Euclidean: <c, c> / 2 is rounded to fp32, by u of itself. With gamma = (d + 4) u / (1 - (d + 4)
//   u) and C the longest centroid, s is off by at most gamma (|x| C + C^2 / 2), so by
//   E = 1.01 gamma (|x|^2 / 2 + C^2) + 2^-120.
// - Cosines: 1 / |c|, rounded to fp32, and the products with it are off by 2 u of themselves, and
//   a bit: E = 1.01 gamma |x|, as |x| > 1e-25, beside which d 2^-148 is nothing, and |c| is within
//   kLeastNorm and kGreatestNorm, so that 1 / |c| is a normal number.
//
// The truth's score is off the real one, which is 2 s - <x, x> or s / |x|, by at most
// off (<x, x> + <c, c>) or off, as base/confirm.h says of RoughScore, before it is cut. So the
// centroid of the highest s has a higher truth than all others where the next s is lower by more
// than
//
//   2 E + off (<x, x> + C^2)          or          2 E + 2 off |x|,
//
// for then their real scores differ by more than twice what truths are off. Cutting does not make
// them equal: the other's real distance is more than 2 off (<x, x> + C^2), its truth above 0; and
// the other's real cosine is less than 1 - 2 off, the best one's more than -1 + 2 off, so that
// the one is below 1 and the other above -1 before they are cut.
#pragma once

#include <cstdint>
#include <vector>

#include "base/matrix.h"
#include "base/parallel.h"
#include "base/truth.h"
#include "ops/column_rows.h"

namespace meddel {

class ColumnAssigner {
 public:
  // Whether that is the way to assign these rows.
  static bool pays(const Matrix& x);

  // Requires that the rows outlive it, and their squares, which may be none where there is but one
  // assignment.
  ColumnAssigner(Team& team, const Matrix& x, const std::vector<double>& squares, Metric metric,
                 bool once);

  // The `made`-th of at most `total` times, for progress.
  void assign(const std::vector<float>& centroids, int64_t k, int64_t made, int64_t total);

  const std::vector<int64_t>& labels() const { return labels_; }

  // Of all rows to the centroids given last. May be called once.
  std::vector<double> distances();

 private:
  void set_centroids(const std::vector<float>& centroids, int64_t k);
  void assign_panel(int64_t begin, int64_t end, bool last);
  void measure(int64_t begin, int64_t end, const float* panel, const double* squares);
  double gap(double square) const;
  void settle(int64_t begin, const int32_t* rows, int64_t open, const float* best,
              const double* squares);

  Team& team_;
  const Matrix& x_;
  const std::vector<double>& squares_;
  const Metric metric_;
  const ColumnRows rows_;
  std::vector<int64_t> labels_;
  std::vector<double> distances_;
  bool measured_ = false;  // whether these are of the last assignment

  int64_t centroid(int64_t column) const { return distinct_.empty() ? column : distinct_[column]; }

  Matrix given_ = {};               // centroids
  std::vector<int64_t> distinct_;   // of them, where any are equal: the columns
  std::vector<double> squares_of_;  // of centroids
  std::vector<double> norms_of_;    // likewise
  int64_t columns_ = 0;             // filled up to an even number
  std::vector<float> scaled_;
  std::vector<float> offset_;
  double slope_ = 0.0;  // how far the best s has to be above the next: slope |x|^2 + least, or, for
  double least_ = 0.0;  // cosines, slope |x|
  bool usable_ = false;
};

}  // namespace meddel

// Assignments of k-means by fp32 products of all rows with all centroids, where neither codes nor
// what the last assignment has shown pay. Rows of few elements stand in columns, a register of rows
// at a time, others as they are, beside a register of centroids. Where the two best centroids of a
// row are too near to each other for fp32, the truth decides.
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
#include <optional>
#include <vector>

#include "base/matrix.h"
#include "base/parallel.h"
#include "base/truth.h"
#include "ops/column_rows.h"

namespace meddel {

// Centroids as the products take them. Of equal ones the first alone is a column.
class ProductCentroids {
 public:
  static constexpr int64_t kPanel = 64;  // columns

  enum class Layout {
    kRows,    // rows, an even number of them
    kFew,     // rows, no more than there are
    kPanels,  // panels, element by element; the last one filled up to a multiple of 16
  };

  ProductCentroids(Team& team, const std::vector<float>& centroids, int64_t k, int64_t d,
                   Metric metric, bool narrow);

  Layout layout() const { return layout_; }
  int64_t columns() const { return columns_; }  // but for those that fill up
  int64_t padded() const { return static_cast<int64_t>(offset_.size()); }
  const float* column(int64_t c) const { return &scaled_[c * d_]; }  // or the panel that begins so
  const float* offset(int64_t c) const { return &offset_[c]; }
  int64_t centroid(int64_t column) const { return distinct_.empty() ? column : distinct_[column]; }

  // How far below the best s of a row the next one has to be; infinite where fp32 tells nothing.
  double gap(double square) const;

  // The truth's score of a row, in fp32, given <x, x>.
  double score_of(const float* row, double square, int64_t centroid) const;

  // Makes distances of the products of at most ColumnRows::kPanel rows with their centroids.
  void to_distances(const double* squares, const int64_t* labels, int64_t count,
                    double* inner) const;

  const float* row(int64_t centroid) const {
    return static_cast<const float*>(given_.row(centroid));
  }

 private:
  void place(int64_t column, const float* from, float scale);
  void bound(double shortest, double longest);

  const Metric metric_;
  const int64_t d_;
  const Matrix given_;
  Layout layout_ = Layout::kRows;
  int64_t columns_;
  std::vector<int64_t> distinct_;  // centroids, where any are equal
  std::vector<double> squares_;    // of all centroids
  std::vector<float> scaled_;
  std::vector<float> offset_;
  double slope_ = 0.0;  // how far the best s has to be above the next: slope |x|^2 + least, or, for
  double least_ = 0.0;  // cosines, slope |x|
  bool usable_ = false;
};

class ProductAssigner {
 public:
  // Whether that is the way to assign these rows, once or more often.
  static bool pays(const Matrix& x, int64_t k, bool once);

  // Requires that the rows outlive it, and their squares, which may be none where there is but one
  // assignment.
  ProductAssigner(Team& team, const Matrix& x, const std::vector<double>& squares, Metric metric,
                  bool once);

  // The `made`-th of at most `total` times, for progress. The centroids may change afterwards.
  void assign(const std::vector<float>& centroids, int64_t k, int64_t made, int64_t total);

  const std::vector<int64_t>& labels() const { return labels_; }

  // Of all rows to the centroids given last, which must not have changed yet. May be called once.
  std::vector<double> distances();

 private:
  struct Block;  // of rows, in cache

  void load(Block& block, int64_t begin, int64_t end) const;
  void compare(Block& block);
  void compare_wide(Block& block) const;
  void compare_few(Block& block) const;
  void settle(Block& block);
  void settle_narrow(Block& block);
  void settle_wide(Block& block);
  void offer(Block& block, int64_t open, int64_t column);
  void measure(const Block& block);
  template <class Work>
  void each_block(const Work& work);

  Team& team_;
  const Matrix& x_;
  const std::vector<double>& squares_;
  const Metric metric_;
  const bool narrow_;
  const int64_t most_;  // rows of a block
  std::optional<ColumnRows> rows_;
  std::optional<ProductCentroids> centroids_;
  std::vector<int64_t> labels_;
  std::vector<double> distances_;
  bool measured_ = false;  // whether these are of the last assignment
};

}  // namespace meddel

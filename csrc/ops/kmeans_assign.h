// The assignments of k-means: for each row the nearest centroid, the lowest among equals.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "base/copies.h"
#include "base/parallel.h"
#include "base/sides.h"
#include "ops/kmeans_bounds.h"
#include "screen/scan_screens.h"

namespace meddel {

// Rows and what is known of them throughout, with the screens learned from them and the first
// centroids. Of rows that are equal, and of centroids, the first alone is compared.
class Assigner {
 public:
  // Requires that the rows outlive it; it puts them into another order.
  Assigner(Team& team, ScanSide& rows, int64_t k, Metric metric);

  // Assigns the rows to the centroids, which may have moved since the last time; the `made`-th of
  // at most `total` times, for progress.
  void assign(const Matrix& centroids, int64_t made, int64_t total);

  const std::vector<int64_t>& labels() const { return out_.labels; }

  // Of all rows to their centroids, the ones given last.
  std::vector<double> distances();

 private:
  void learn(const ScanSide& centroids);
  std::optional<CellsOfRows> sort_by_cell(const PointMap& map, const ScanSide& centroids);
  std::vector<double> drifts(const ScanSide& centroids) const;
  void scan(const ScanSide& centroids, const std::vector<double>& drift,
            const std::function<void()>& begins);
  void tell_copies();
  void keep(ScanSide centroids);

  Team& team_;
  ScanSide& rows_;
  const int64_t k_;
  const Metric metric_;
  const Copies copies_;
  Assignment out_;
  std::optional<ScanSide> last_;  // centroids, of which those were compared that are its rows
  Matrix last_matrix_ = {};
  std::vector<float> last_data_;
  std::optional<BoundedAssignment> bounded_;
  std::optional<Screen> prefix_;
  std::optional<Screen> dense_;
  std::optional<DenseRows> dense_rows_;
  RowCodes prefix_codes_;  // of all rows
  Codes centroid_codes_;
  scan::Screening screening_;
};

}  // namespace meddel

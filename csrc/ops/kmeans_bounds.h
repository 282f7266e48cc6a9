// Assignments of k-means that know what the last one has shown: which rows cannot have changed
// their centroid, and which centroids the others have to be compared with.
//
// Distances. Euclidean ones, or those of unit vectors (2 - 2 cosine is their square): in these the
// triangle inequality holds. For each row, `upper` is at least its distance to its centroid and
// `lower` at most its distance to any other one. A centroid c that moves by at most drift(c) is at
// least lower - drift(c) away afterwards, and the row's own at most upper + drift(own). So only the
// centroids with drift(c) >= lower - upper - room can be nearer: centroids are ordered by their
// drift, those that moved farthest first, so that they are the first few columns, or none, for each
// row. A row that has none is not looked at. Otherwise upper is made anew, from the truth, and a
// row that still has some is compared with these by scaled codes (screen/scaled.h), whose greatest
// bound among those that are not nearest tells the next `lower`.
//
// Where the row's own centroid came no farther away (by the truth, which was worked out the last
// time too), those that did not move cannot win, as they did not then: their scores are the same.
//
// Room. The truth's squared distance is off the real one by at most
// err = (d + 16) 2^-51 (|x|^2 + |c|^2) (bounds.h; |x| = |c| = 1 for cosines). Real distances l > u
// of two centroids have truths of the same order where l^2 - err > u^2 + err, so if
// l > u + sqrt(2 err). `room` is sqrt(2 err) for the longest centroid, twice, for the rounding of
// what is compared, as lower and upper are at most |x| + |c| where it matters; upper, from the
// truth, is raised by as much. Sums are rounded outward by 2^-50 of themselves.
//
// Not all centroids are such points: one of norm 0 has cosine 0 to everything, and copies of others
// (of which the first alone is a column) are bounded by nothing once they differ. Their drift is
// infinite. Rows of norm 0 have no bounds where cosines count.
#pragma once

#include <cstdint>
#include <vector>

#include "base/parallel.h"
#include "base/sides.h"
#include "base/truth.h"
#include "screen/scaled.h"

namespace meddel {

// By row: the nearest centroid, and its score, which is NaN where it is not worked out.
struct Assignment {
  explicit Assignment(int64_t n);

  std::vector<int64_t> labels;
  std::vector<double> best;
};

// Centroids, and how far each has come since the last assignment (infinite: unknown).
struct Centroids {
  ScanSide side;  // of these the first of equal ones, by falling drift
  std::vector<double> drift;
};

class BoundedAssignment {
 public:
  // Requires that the rows outlive it, and keep their order. `kept` bytes may be used for codes.
  BoundedAssignment(const ScanSide& rows, Metric metric, const PointMap& map, int64_t kept);

  // Goes on from the last assignment; the first time, from labels of -1.
  void assign(Team& team, const Centroids& centroids, Assignment& out);

 private:
  struct Round;
  class Band;

  const ScanSide& rows_;
  const Metric metric_;
  const Scaled screen_;
  const int64_t held_;          // codes of so many positions are kept
  std::vector<uint8_t> codes_;  // with the kernels' bias
  std::vector<ScaledRow> traits_;
  std::vector<double> upper_;  // by position
  std::vector<double> lower_;
  bool first_ = true;
  bool seeks_ = true;    // whether second nearest centroids are wanted, from the second time on
  bool sought_ = false;  // whether they were the last time
  int64_t renewed_ = 0;  // centroids that moved when rows without a gap were last given one
};

}  // namespace meddel

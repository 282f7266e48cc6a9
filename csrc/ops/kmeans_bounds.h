// Assignments of k-means that know what the last ones have shown: which rows cannot have changed
// their centroid, and which centroids the others have to be compared with.
//
// Distances. Euclidean ones, or those of unit vectors (2 - 2 cosine is their square): in these the
// triangle inequality holds. For each row, `upper` is at least its distance to its centroid, `near`
// at most its distance to one of the few that are near this one (for each of a list by centroid,
// made now and then), and `far` at most its distance to any other. A centroid c that moves by at
// most drift(c) is at least near - drift(c), or far - drift(c), away afterwards, and the row's own
// at most upper + drift(own). So only a centroid with drift(c) >= near - upper - room, or far -
// upper - room, can be nearer. A row with no such centroid is not looked at. Otherwise upper is
// made anew, from the truth, and a row that still has some is compared by scaled codes
// (screen/scaled.h): with its centroid's list, together with all rows of this centroid, and, if
// `far` does not hold, with the far ones in question: columns are ordered by their drift, those
// that moved farthest first, so that they are the first few. The second best of each kind, by the
// truth, are the next bounds.
//
// Where the row's own centroid came no farther away (by the truth, which was worked out the last
// time too), those that did not move cannot win, as they did not then: their scores are the same.
//
// Where bounds save too little (isotropic rows: all centroids are about equally far), they are
// given up, until half as many centroids move: rows are then compared with those that moved alone.
//
// Of very many centroids, whole cells are left out instead (kmeans_cells.h) where these tell more:
// a row that is to be compared is compared with the cells that it reaches.
//
// Room. The truth's squared distance is off the real one by at most
// err = (d + 16) 2^-51 (|x|^2 + |c|^2) (bounds.h; |x| = |c| = 1 for cosines). Real distances l > u
// of two centroids have truths of the same order where l^2 - err > u^2 + err, so if
// l > u + sqrt(2 err). `room` is sqrt(2 err) for the longest centroid, twice, for the rounding of
// what is compared, as near, far and upper are at most |x| + |c| where it matters; bounds from the
// truth, upper too, keep as much away. Sums are rounded outward by 2^-50 of themselves.
// This is more than is needed: a root of the truth is off by at most sqrt(err) <= .354 room, and
// l > u + .5 room is wanted. near - room > upper + room + room says l > u + 2.29 room; without any
// one of the three l > u + 1.29 room, and with half of each l > u + .79 room: no test can tell.
//
// Not all centroids are such points: one of norm 0 has cosine 0 to everything, and copies of others
// (of which the first alone is a column) are bounded by nothing once they differ. Their drift is
// infinite. Rows of norm 0 have no bounds where cosines count.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/parallel.h"
#include "base/sides.h"
#include "base/truth.h"
#include "ops/kmeans_cells.h"
#include "ops/kmeans_compare.h"
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
  // Requires that the rows outlive it, and keep their order, which is by cell where there are
  // cells. `kept` bytes may be used for codes and bounds by list.
  BoundedAssignment(const ScanSide& rows, Metric metric, const PointMap& map, int64_t kept,
                    std::optional<CellsOfRows> cells);

  // Goes on from the last assignment; the first time, from labels of -1. Calls `begins` before the
  // run over the rows that takes the most time.
  template <class Begins>
  void assign(Team& team, const Centroids& centroids, Assignment& out, const Begins& begins) {
    Round round(centroids, metric_);
    place(team, round);
    start(team, round);
    begins();
    run(team, round, out);
    finish(round);
  }

  // With how many centroids, and centres of cells, a row was compared the first time, on average.
  double columns() const { return all_; }

 private:
  // What is the same for all rows, and the rows that have to be compared.
  struct Round {
    Round(const Centroids& given, Metric metric);

    // The columns whose drift is at least (or above) a gap; all if it is no number.
    int64_t columns_from(double gap, bool equal = true) const;

    // What a bound is once it counts no longer for the first columns.
    double lowered(double bound, int64_t from) const;

    const Centroids& centroids;
    const int64_t size;
    ScaledColumns columns;                    // by position, or cell by cell
    std::vector<int64_t> positions;           // of the columns; -1 for what fills up a cell
    std::vector<int64_t> places;              // of the positions among the columns
    Cells::Placed placed;                     // the cells, if any
    std::vector<int64_t> begin;               // by cell, and the end: its first column
    std::vector<int64_t> members;             // by cell: how many columns
    std::vector<int64_t> moved_members;       // and how many of them, the first ones, have a drift
    std::vector<int64_t> position;            // of each centroid, or -1
    std::vector<double> drifts;               // by position, falling
    int64_t moved;                            // columns with a drift
    bool seeks = false;                       // whether bounds are used and wanted
    bool seconds = false;                     // and those of the second nearest among the near ones
    std::vector<std::vector<int64_t>> lists;  // positions of those near a centroid
    // The same in the lists' order, -1 for copies of others, their codes, and their drift.
    std::vector<std::vector<int64_t>> near_positions;
    std::vector<ScaledColumns> near_columns;
    std::vector<std::vector<float>> near_drift;
    std::vector<uint8_t> near_moved;   // whether any of them has one
    std::vector<double> far_drift;     // the greatest of the others
    std::atomic<int64_t> open{0};      // rows that near ones might be nearer to
    std::atomic<int64_t> compared{0};  // columns, of all rows, with centres of cells
    double room;                       // a length
    double longest;
  };

  void place(Team& team, Round& round) const;
  void start(Team& team, Round& round);
  void make_lists(Team& team, const Round& round);
  void place_lists(Team& team, Round& round) const;
  void choose(const Round& round, Comparer& comparer, int64_t p, Assignment& out,
              std::vector<Compared>& chosen);
  double age_near(const Round& round, int64_t p, int64_t label);
  void fill_near(int64_t p, double bound);
  float* near_of(int64_t p) { return &near_[p * kNear]; }
  void run(Team& team, Round& round, Assignment& out);
  using Lists = std::vector<const std::vector<int64_t>*>;
  void compare_far(Team& team, int worker, const Round& round, Comparer& comparer,
                   std::vector<Compared>& chosen) const;
  void compare_columns(const Round& round, Comparer& comparer, const std::vector<Compared*>& rows,
                       const Lists& lists) const;
  void compare_cells(const Round& round, Comparer& comparer,
                     const std::vector<Compared*>& rows) const;
  void settle(const Round& round, const Compared& row, Assignment& out);
  void finish(const Round& round);
  double room(const Round& round, int64_t p) const;

  const ScanSide& rows_;
  const Metric metric_;
  const Scaled screen_;
  const bool lists_fit_;
  const std::optional<CellsOfRows> cells_;  // instead of bounds
  ScaledCodes codes_;
  std::vector<double> upper_;  // by position, as the next two
  std::vector<double> far_;
  std::vector<float> near_;  // kNear a position, in the order of its centroid's list; or none
  std::vector<std::vector<int64_t>> lists_;  // centroids near a centroid
  bool first_ = true;
  bool seeks_ = true;    // whether bounds are wanted, from the second time on
  bool sought_ = false;  // whether they were the last time
  bool seconds_ = true;  // likewise second nearest ones of the lists
  int64_t renewed_ = 0;  // centroids that moved when rows without bounds were last given some
  double all_ = 0.0;     // columns that a row is compared with where nothing is known of it
};

}  // namespace meddel

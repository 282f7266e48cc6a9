// Comparing rows with centroids by scaled codes (screen/scaled.h), and by the truth where these
// leave it open.
#pragma once

#include <cstdint>
#include <vector>

#include "base/confirm.h"
#include "base/sides.h"
#include "base/truth.h"
#include "ops/kmeans_cells.h"
#include "screen/scaled.h"

namespace meddel {

// The distance (kmeans_bounds.h) of a score, or of higher ones, at least.
double distance_at_least(Metric metric, double score);

// A distance in fp32, not above it where it is one (not below 0), and how far a point has come, not
// below it.
float rounded_down(double bound);
float rounded_up(double drift);

// A row that is to be compared, and what is known of it.
struct Compared {
  int64_t position = 0;
  int64_t label = -1;        // its nearest centroid so far
  int64_t before = -1;       // the same, before it was compared with any
  int64_t own = -1;          // the label's column
  int64_t columns = 0;       // far ones that it is compared with: so many of the first
  int64_t seen = 0;          // columns that it was compared with in the end
  bool open = false;         // whether it is compared with those near its centroid
  double best = -kInfinity;  // the score with the label
  double bar = -kInfinity;   // lower scores need not be known
  double near = -kInfinity;  // near ones (kmeans_bounds.h), but for the label: at most so much
  double far = -kInfinity;   // and the far ones that it is compared with
  double left = -kInfinity;  // and centroids that were the label
  // Distance at least of near ones that it is not compared with: never what decides, as these are
  // no nearer than the label was (they are left out for that), which is in `left` if it changes.
  double least = kInfinity;
  double floor = kInfinity;  // and of far ones
};

constexpr int64_t kNear = 16;  // centroids of a list: a block of columns

// The codes of all rows, made when first wanted, as far as they are held.
struct ScaledCodes {
  ScaledCodes(const Scaled& scaled, const ScanSide& side, int64_t bytes);

  const Scaled& screen;
  const ScanSide& rows;
  const int64_t held;          // positions
  std::vector<uint8_t> codes;  // with the kernels' bias
  std::vector<ScaledRow> traits;
  std::vector<uint8_t> made;  // by position
};

// What the confirmer hands the truth of one row's candidates to.
class NearestOfRow {
 public:
  static constexpr bool kRising = true;

  NearestOfRow(const ScanSide& x, const ScanSide& centroids, Metric metric)
      : x_(x), centroids_(centroids), metric_(metric) {}

  void begin(Compared& row) { row_ = &row; }
  Metric metric() const { return metric_; }
  double bar(int64_t) const { return row_->bar; }
  void take(int64_t p, int64_t q, double inner);

 private:
  const ScanSide& x_;
  const ScanSide& centroids_;
  const Metric metric_;
  Compared* row_ = nullptr;
};

// Cells of centroids, and by position the one that a row lies in (or -1).
struct CellsOfRows {
  Cells cells;
  std::vector<int32_t> own;
};

// One thread's work.
class Comparer {
 public:
  static constexpr int64_t kRows = 64;      // at a time: codes and sums in L2
  static constexpr int64_t kColumns = 256;  // likewise

  Comparer(ScaledCodes& codes, const ScanSide& centroids, Metric metric);

  // The truth of a row and a centroid.
  double truth(int64_t p, int64_t centroid);

  // The rows to come, at most kRows.
  void load(std::vector<Compared*> rows);

  // Some columns, at most kColumns, their positions among the centroids, and, unless they are few,
  // the place of all positions in `codes`.
  struct Columns {
    const ScaledColumns& codes;
    int64_t begin;  // in codes
    int64_t count;
    const int64_t* positions;
    const int64_t* places;
  };
  // Compares the first of them with the kNear columns of a list: its `near` becomes the second
  // highest score that is above the bar, and `bounds` distances at least, less the room, from all
  // but the label. Without bounds the best alone is looked for, and `near` becomes its score.
  void compare_near(const Columns& list, double room, float* bounds);

  // Compares some of them, rising, with far columns: their `far` becomes at least what the others
  // than the label have, those in a row's list of `out` (positions; by row, or none and no `far`)
  // left out.
  void compare_far(const std::vector<uint8_t>& rows, const Columns& columns,
                   const std::vector<const std::vector<int64_t>*>& out);

  // Sets bit r of each cell that may have a centroid nearer to row r than its label.
  void reach_cells(const CellsOfRows& cells, const Cells::Placed& placed,
                   std::vector<uint64_t>& wanted);

  // The bounds of one row with the first columns, 0 for a score that all exceed.
  void bounds(int64_t p, const ScaledColumns& columns, int64_t count, std::vector<float>& out);

 private:
  void load(int64_t p, int64_t r);
  void sum(const uint8_t* bytes, int64_t rows, const Columns& columns);
  void near(Compared& row, const ScaledRow& traits, const Columns& columns, int32_t* sums);
  void far(Compared& row, const ScaledRow& traits, const Columns& columns, bool bounded,
           int32_t* sums);
  void leave_out_own(const Compared& row, const Columns& columns, int32_t* sums) const;
  void add(const Columns& columns, int64_t column);
  void confirm_first(Compared& row, const Columns& columns);
  void confirm_all(Compared& row, const Columns& columns);
  float reach(const Compared& row, const ScaledRow& traits, const Columns& columns,
              const int32_t* sums);

  ScaledCodes& codes_;
  const ScanSide& rows_;
  const ScanSide& centroids_;
  const Metric metric_;
  const int64_t width_;
  const WidenFn widen_;
  NearestOfRow nearest_;
  scan::Confirmer<NearestOfRow> confirmer_;
  std::vector<Compared*> loaded_;
  std::vector<float> wide_;
  std::vector<int8_t> code_;
  std::vector<uint8_t> bytes_;
  std::vector<uint8_t> some_;  // of them
  std::vector<ScaledRow> traits_;
  const std::vector<int32_t> none_;
  std::vector<int32_t> sums_;
  std::vector<int32_t> cell_sums_;
  std::vector<int32_t> bits_;
  std::vector<uint16_t> found_;
};

}  // namespace meddel

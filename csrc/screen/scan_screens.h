// The screens of one scan: which there are, their codes of both sides, and the groups that leave
// out whole tiles.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/parallel.h"
#include "base/sides.h"
#include "base/truth.h"
#include "screen/row_reach.h"
#include "screen/screen.h"

namespace meddel {

// The columns [begin, end) of a row.
struct ColumnRange {
  int64_t begin;
  int64_t end;
};

namespace scan {

constexpr int64_t kTileRows = 128;
constexpr int64_t kTileColumns = 256;  // their codes, 16 KiB, stay in L1; 768 fp32 each in L2

// What a scan leaves pairs out by: no screens where it is too small to pay for them, the dense one
// alone where it is too small for a prefix.
struct Screening {
  const Screen* prefix = nullptr;
  const Screen* dense = nullptr;
  const Codes* y_codes = nullptr;                     // of prefix
  std::function<RowCodes(int64_t, int64_t)> x_codes;  // of prefix, for a range of positions
  std::function<RowCodes(int64_t, int64_t)> x_dense;  // likewise of dense
  // Dense codes of the columns of the tile that begins at a position; made in the second argument,
  // unless they are kept elsewhere.
  std::function<const Codes&(int64_t, Codes&)> y_dense;
  // Groups of the positions of both sides, which then stand group by group.
  int64_t groups = 0;
  std::vector<double> reach;  // highest score of two groups: [x's * groups + y's]
  std::vector<int32_t> x_group;
  std::vector<int32_t> y_group;
  std::vector<int64_t> y_begin;         // by group, and the end: its first position
  const RowReach* row_reach = nullptr;  // likewise of single rows, where that is worth it

  // The highest score of rows [begin, end) of x and columns [first, last) of y.
  double highest(int64_t begin, int64_t end, int64_t first, int64_t last) const;
};

}  // namespace scan

// Bytes of codes that an operation may keep beside others that take `taken`: within the quarter of
// the input that it may take, beside the norms.
int64_t kept_bytes(const Matrix& x, int64_t taken);

// The dense codes of rows that are scanned again and again: held where they take little memory,
// else made anew each time.
class DenseRows {
 public:
  DenseRows(Team& team, const Screen& dense, const ScanSide& all);

  // Of positions [begin, end) of a side with rows of the same matrix.
  RowCodes operator()(const ScanSide& side, int64_t begin, int64_t end) const;

 private:
  const Screen& dense_;
  std::optional<RowCodes> held_;  // by row
};

// Shares of all pairs that groups may leave over where they are to be used: they look at both
// (p, q) and (q, p) where an order of their own forbids to tell which is the earlier.
constexpr double kRegroup = 0.67;
constexpr double kRegroupEarlier = 0.3;

// Of an operation that takes the several best pairs of a row: columns that it looks at before there
// is a bar (opening.h), and whether groups are told apart row by row.
struct Several {
  int64_t opened = 0;
  bool by_row = false;
};

// The screens of one scan. Requires that x and y outlive it, and are changed by nobody else.
class ScanScreens {
 public:
  // Learns what is worth it for so many pairs. Rows and columns may be put into another order, by
  // groups (the rows of x and y are then permuted, alike if they are one object), where that leaves
  // no more than the share `regroup` of all pairs to be looked at, at the given bar or, without
  // one, at what a sample says that the bars of nearest neighbours will be.
  ScanScreens(Team& team, Metric metric, ScanSide& x, ScanSide& y, double pairs, double regroup,
              std::optional<double> bar = std::nullopt, const Several& several = {});

  const scan::Screening& screening() const { return screening_; }

 private:
  // Returns the share of the pairs that is left to look at.
  double group(Team& team, ScanSide& x, ScanSide& y, double regroup, double bar, bool by_row);
  void keep_tiles(const ScanSide& y);

  std::optional<Screen> prefix_;
  std::optional<Screen> dense_;
  std::optional<RowReach> row_reach_;
  scan::Screening screening_;
  Codes y_codes_;
  std::vector<Codes> kept_;  // dense codes of the first tiles
  std::unique_ptr<std::once_flag[]> made_;
};

}  // namespace meddel

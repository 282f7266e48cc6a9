// The screens that serve k-center, and the codes of rows and of centres, made as they are wanted.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>
#include <vector>

#include "base/parallel.h"
#include "base/sides.h"
#include "base/truth.h"
#include "screen/codes.h"
#include "screen/screen.h"

namespace meddel {

// A screen's codes of rows that are asked for again and again: of those that were asked for once,
// unless they would take too much memory. Threads may ask for different rows at a time.
class RowStore {
 public:
  // Requires that both outlive it.
  RowStore(const Screen& screen, const ScanSide& all);

  // Whether a row's code need not be made.
  bool holds(int64_t row) const { return bytes_ && share_[row] != kMissing; }

  // The codes of some rows, all different.
  RowCodes operator()(const int64_t* rows, int64_t count) const;

 private:
  static constexpr int32_t kMissing = std::numeric_limits<int32_t>::min();

  struct Free {
    void operator()(uint8_t* bytes) const { std::free(bytes); }
  };

  void make(const int64_t* rows, int64_t count) const;

  const Screen& screen_;
  const ScanSide& all_;
  // By row; the memory of rows that are not asked for is never touched.
  std::unique_ptr<uint8_t[], Free> bytes_;
  mutable std::vector<int32_t> share_;
};

// A screen, with the codes of all rows and of all centres so far.
class CentreScreen {
 public:
  // Requires that `rows` outlives it. Codes of centres stand one after the other, for
  // Kernels::refine, or in blocks.
  CentreScreen(Screen screen, const ScanSide& rows, bool listed);

  const Screen& screen() const { return screen_; }
  const RowStore& rows() const { return rows_; }

  // Makes codes of the centres that have come since the last time.
  void extend(const ScanSide& centres);

  // Of the centres from `first` on, a multiple of kBlockColumns.
  const int8_t* codes(int64_t first) const { return &codes_[first * stride_]; }
  const int32_t* starts(int64_t first) const { return &starts_[first]; }

  // Of the first kBeginning centres, in blocks.
  static constexpr int64_t kBeginning = 256;
  const int8_t* beginning() const { return beginning_.data(); }

 private:
  const Screen screen_;
  const RowStore rows_;
  const bool listed_;
  const int64_t stride_;
  std::vector<int8_t> codes_;
  std::vector<int32_t> starts_;
  std::vector<int8_t> beginning_;
  int64_t count_ = 0;
};

// The screens of a choice of k centres: one for all pairs of rows and centres, and maybe one for
// what it leaves.
struct CentreScreens {
  // Requires that `rows` outlives it.
  CentreScreens(Team& team, const ScanSide& rows, Metric metric, int64_t k);

  // Makes codes of the centres that have come since the last time.
  void extend(const ScanSide& centres);

  // Of whose sums the largest tells about which of the first centres is the nearest.
  const CentreScreen& precise() const { return second && !first_is_precise ? *second : *first; }

  std::unique_ptr<CentreScreen> first;
  std::unique_ptr<CentreScreen> second;
  std::atomic<bool> first_is_precise{true};
};

}  // namespace meddel

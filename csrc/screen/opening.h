// First bars, where an operation takes several best pairs of a row. A row stays open for some tiles
// of columns: of each it keeps those whose sums of the dense screen (screen.h) may be among the
// best, as the least scores of as many others tell, and none is worked out before the row is
// closed. Their exact scores then make a bar that is near the last one.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <vector>

#include "base/truth.h"
#include "screen/bounds.h"
#include "screen/screen.h"

namespace meddel::scan {

// The columns that one open row has kept.
struct Opening {
  struct Column {
    int64_t position;
    int32_t sum;
    int32_t least;  // less the losses of both rows
  };

  // Raises the bar to what the `wanted` best score at least, and drops what is below it. `sums` is
  // for its own use.
  void raise(const Screen& dense, int64_t wanted, std::vector<int32_t>& sums) {
    sums.clear();
    for (const Column& column : columns) {
      if (column.least > -kBar) sums.push_back(column.least);
    }
    if (static_cast<int64_t>(sums.size()) >= wanted) {
      const auto last = sums.begin() + wanted - 1;
      std::nth_element(sums.begin(), last, sums.end(), std::greater<int32_t>());
      bar = std::max(bar, dense.least(*last));
      const int32_t start = dense.start(0, bar);
      const auto below = [start](const Column& column) { return column.sum + start < 0; };
      columns.erase(std::remove_if(columns.begin(), columns.end(), below), columns.end());
    }
    raised_at = 2 * std::max(static_cast<int64_t>(columns.size()), wanted);
  }

  std::vector<Column> columns;
  double bar = -kInfinity;  // that the best of them prove
  int64_t raised_at = 0;    // so many columns raise it next
  int64_t seen = 0;
  bool open = false;
};

}  // namespace meddel::scan

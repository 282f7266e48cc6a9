#include "ops/column_rows.h"

#include <algorithm>

#include "cpu/isa.h"
#include "screen/scan_screens.h"

namespace meddel {

ColumnRows::ColumnRows(Team& team, const Matrix& x, bool once) : x_(x) {
  constexpr int64_t kGrain = 16 * kPanel;
  const int64_t padded = (x.n + kPanel - 1) / kPanel * kPanel;
  if (once || padded * x.d * int64_t{sizeof(float)} > kept_bytes(x, 0)) return;
  kept_.resize(static_cast<size_t>(padded * x.d));
  team.run_range(x.n, kGrain, [&](int64_t begin, int64_t end, int) {
    for (int64_t at = begin; at < end; at += kPanel) fill(at, &kept_[at * x_.d]);
  });
}

const float* ColumnRows::panel(int64_t begin, Room& room) const {
  if (!kept_.empty()) return &kept_[begin * x_.d];
  float* panel = room.of(kPanel * x_.d);
  fill(begin, panel);
  return panel;
}

const float* ColumnRows::spread(int64_t row, Room& room) const {
  Room own;
  const float* from = wide(row, own);
  float* panel = room.of(kPanel * x_.d);
  for (int64_t e = 0; e < x_.d; ++e) std::fill_n(&panel[e * kPanel], kPanel, from[e]);
  return panel;
}

const float* ColumnRows::wide(int64_t row, Room& room) const {
  if (x_.dtype == DType::kFloat32) return static_cast<const float*>(x_.row(row));
  float* to = room.of(x_.d);
  kernels().widen[static_cast<int>(x_.dtype)](x_.row(row), x_.d, to);
  return to;
}

void ColumnRows::fill(int64_t begin, float* panel) const {
  const int64_t rows = std::min(kPanel, x_.n - begin), d = x_.d;
  if (rows < kPanel) std::fill_n(panel, kPanel * d, 0.0f);
  Room room;
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = wide(begin + r, room);
    for (int64_t e = 0; e < d; ++e) panel[e * kPanel + r] = row[e];
  }
}

}  // namespace meddel

#include "ops/column_rows.h"

#include <algorithm>

#include "cpu/isa.h"
#include "screen/scan_screens.h"

namespace meddel {

ColumnRows::ColumnRows(Team& team, const Matrix& x, bool once) : x_(x) {
  constexpr int64_t kGrain = 16 * kPanel, kFloats = kLine / int64_t{sizeof(float)};
  const int64_t padded = (x.n + kPanel - 1) / kPanel * kPanel;
  if (once || padded * x.d * int64_t{sizeof(float)} > kept_bytes(x, 0)) return;
  kept_.resize(static_cast<size_t>(padded * x.d + kFloats));
  const auto before =
      static_cast<int64_t>(reinterpret_cast<uintptr_t>(kept_.data()) / sizeof(float));
  panels_ = kept_.data() + (kFloats - before % kFloats) % kFloats;
  team.run_range(x.n, kGrain, [&](int64_t begin, int64_t end, int) {
    for (int64_t at = begin; at < end; at += kPanel) fill(at, panels_ + at * x_.d);
  });
}

const float* ColumnRows::panel(int64_t begin, Room& room) const {
  if (panels_ != nullptr) return panels_ + begin * x_.d;
  fill(begin, room);
  return room;
}

void ColumnRows::spread(int64_t row, Room& panel) const {
  float room[kWidest];
  const float* from = wide(row, room);
  for (int64_t e = 0; e < x_.d; ++e) std::fill_n(&panel[e * kPanel], kPanel, from[e]);
}

const float* ColumnRows::wide(int64_t row, float* room) const {
  if (x_.dtype == DType::kFloat32) return static_cast<const float*>(x_.row(row));
  kernels().widen[static_cast<int>(x_.dtype)](x_.row(row), x_.d, room);
  return room;
}

void ColumnRows::fill(int64_t begin, float* panel) const {
  const int64_t rows = std::min(kPanel, x_.n - begin), d = x_.d;
  if (rows < kPanel) std::fill_n(panel, kPanel * d, 0.0f);
  float room[kWidest];
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = wide(begin + r, room);
    for (int64_t e = 0; e < d; ++e) panel[e * kPanel + r] = row[e];
  }
}

}  // namespace meddel

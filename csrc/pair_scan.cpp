#include "pair_scan.h"

#include <numeric>

#include "norms.h"

namespace meddel {

ScanSide make_side(Team& team, const Matrix& x, std::vector<int64_t> rows) {
  ScanSide side{&x, std::move(rows), squared_norms(team, x), {}};
  side.norms = roots(side.squares);
  return side;
}

ScanSide all_rows(Team& team, const Matrix& x) {
  std::vector<int64_t> rows(static_cast<size_t>(x.n));
  std::iota(rows.begin(), rows.end(), int64_t{0});
  return make_side(team, x, std::move(rows));
}

namespace scan {
namespace {

// Learning a screen and encoding take about as long as confirming so many products of elements.
constexpr double kWorthScreening = 1e9;
// Narrower rows lie in the prefix whole.
constexpr int64_t kDenseFrom = 64;

bool worth_screening(const ScanSide& x, const ScanSide& y) {
  if (screen_mode() != ScreenMode::kAuto) return screen_mode() == ScreenMode::kAlways;
  return static_cast<double>(x.size()) * static_cast<double>(y.size()) *
             static_cast<double>(x.x->d) >
         kWorthScreening;
}

}  // namespace

int64_t band_rows(const ScanSide& x, int threads) {
  const int64_t share = x.size() / (16 * threads) / kTileRows * kTileRows;
  return std::clamp(share, kTileRows, 8 * kTileRows);
}

Screening::Screening(Team& team, const ScanSide& x, const ScanSide& y) {
  if (!worth_screening(x, y)) return;
  prefix = Screen::prefix(team, x.positions(), y.positions());
  y_codes = prefix->encode(team, y.positions());
  if (x.x->d > kDenseFrom && x.x->d <= Screen::kWidest) {
    dense = Screen::dense(x.positions(), y.positions());
  }
}

Workspace::Workspace(const Screening& screening, int64_t d)
    : positions(static_cast<size_t>(kTileColumns)),
      rows(static_cast<size_t>(kTileColumns)),
      widened(static_cast<size_t>(d)),
      inner(static_cast<size_t>(kTileColumns)) {
  if (!screening.prefix) return;
  starts.resize(static_cast<size_t>(kTileRows));
  columns.resize(static_cast<size_t>(kTileRows * kTileColumns));
  counts.resize(static_cast<size_t>(kTileRows));
  warm.resize(static_cast<size_t>(kTileRows));
  rough.resize(static_cast<size_t>(kTileColumns));
}

}  // namespace scan
}  // namespace meddel

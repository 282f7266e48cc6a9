#include "pair_scan.h"

#include <cmath>
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

// The truth's squared distance is off the real one by less than error = k (|x|^2 + |c|^2). So c can
// be as near as `best` only at a cosine of at least (a + |c|^2) / (2 |x| |c|), a = |x|^2 - best -
// error, which over the norms of c is least at |c| = sqrt(a) or at an end.
double cosine_for_distance(const ScanSide& side, int64_t p, double best, double least,
                           double greatest) {
  const double x = side.norm(p), square = side.square(p);
  const double k = static_cast<double>(side.x->d + 8) * 0x1p-51;
  const double a = square - best - k * (square + greatest * greatest);
  const double c = std::clamp(a > 0.0 ? std::sqrt(a) : least, least, greatest);
  if (x == 0.0 || c == 0.0) return -std::numeric_limits<double>::infinity();
  const double cosine = (a + c * c) / (2.0 * x * c);
  return cosine - k * (1.0 + std::abs(cosine));
}

namespace scan {

int64_t band_rows(const ScanSide& x, int threads) {
  const int64_t share = x.size() / (16 * threads) / kTileRows * kTileRows;
  return std::clamp(share, kTileRows, 8 * kTileRows);
}

Workspace::Workspace(const Screening& screening, int64_t d)
    : candidates(static_cast<size_t>(kTileColumns)),
      rows(static_cast<size_t>(kTileColumns)),
      widened(static_cast<size_t>(d)),
      rough(static_cast<size_t>(kTileColumns)),
      inner(static_cast<size_t>(kTileColumns)) {
  if (screening.prefix == nullptr && screening.dense == nullptr) return;
  starts.resize(static_cast<size_t>(kTileRows));
  columns.resize(static_cast<size_t>(kTileRows * kTileColumns));
  counts.resize(static_cast<size_t>(kTileRows));
  warm.resize(static_cast<size_t>(kTileRows));
}

}  // namespace scan
}  // namespace meddel

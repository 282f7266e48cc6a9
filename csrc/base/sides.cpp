#include "base/sides.h"

#include <numeric>

#include "base/norms.h"

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

}  // namespace meddel

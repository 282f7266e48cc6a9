#include "ops/kcenter_parts.h"

#include <algorithm>
#include <cmath>

#include "cpu/isa.h"
#include "ops/catch_up.h"
#include "screen/pair_scan.h"

namespace meddel {
namespace {

constexpr int64_t kUpdatedRows = 1024;  // by one thread at a time

// Makes rows that are exact take account of one of them as a centre.
void add_centre(Team& team, const ScanSide& side, Metric metric, int64_t centre,
                std::vector<double>& nearest) {
  const Matrix& x = *side.x;
  const DotsFn dots = kernels().dots[static_cast<int>(x.dtype)];
  team.run_range(x.n, kUpdatedRows, [&](int64_t begin, int64_t end, int) {
    double inner[kUpdatedRows];
    dots(x.row(centre), x.row(begin), x.ld, nullptr, end - begin, x.d, inner);
    for (int64_t i = begin; i < end; ++i) {
      const double far = distance(metric, inner[i - begin], side.squares[i], side.squares[centre]);
      nearest[i] = std::min(nearest[i], far);
    }
  });
  nearest[centre] = kTaken;
}

}  // namespace

std::vector<double> catch_up(const Matrix& x, const Matrix& centres, Metric metric,
                             std::vector<int32_t> seen, std::vector<double> nearest,
                             const Context& context) {
  Team team(context);
  ScanSide left = all_rows(team, x), right = all_rows(team, centres);
  double pairs = 0.0;
  for (const int32_t count : seen) pairs += static_cast<double>(centres.n - count);
  // Rows that have seen as many centres side by side: their tiles are then rectangles.
  std::stable_sort(left.rows.begin(), left.rows.end(),
                   [&](int64_t a, int64_t b) { return seen[a] < seen[b]; });
  const bool alike = seen[left.rows.front()] == 0 && seen[left.rows.back()] == 0;
  const ScanScreens screens(team, metric, left, right, pairs, alike ? kRegroup : 0.0);
  Bounds bounds(0);
  bounds.nearest = std::move(nearest);
  bounds.seen = std::move(seen);
  CatchUp operation(left, right, metric, bounds);
  scan_pairs(team, left, right, screens.screening(), operation);
  return std::move(bounds.nearest);
}

Chosen choose_among(const Matrix& x, std::vector<double> nearest, int64_t k, double radius,
                    Metric metric, double bound, int64_t before, const Context& context) {
  Team team(context);
  const ScanSide side = all_rows(team, x);
  Chosen out{{}, {}, std::move(nearest), false};
  while (static_cast<int64_t>(out.rows.size()) < k) {
    const auto farthest = std::max_element(out.nearest.begin(), out.nearest.end());
    const int64_t row = farthest - out.nearest.begin();
    const double reached = *farthest;
    if (reached == kTaken || reached < bound || (reached == bound && row >= before)) break;
    const double distance = metric == Metric::kCosine ? reached : std::sqrt(reached);
    if (distance <= radius) {
      out.ended = true;
      break;
    }
    out.rows.push_back(row);
    out.radii.push_back(distance);
    add_centre(team, side, metric, row, out.nearest);
  }
  return out;
}

}  // namespace meddel

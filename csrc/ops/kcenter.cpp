#include "ops/kcenter.h"

#include "base/norms.h"
#include "ops/kcenter_bounds.h"
#include "ops/kcenter_boxes.h"
#include "ops/kcenter_passes.h"

namespace meddel {
namespace {

// All rows have distance 0: the lowest that are no centres yet follow.
void take_the_rest(int64_t n, int64_t k, const std::vector<int64_t>& selected, KCenter& out) {
  std::vector<bool> taken(static_cast<size_t>(n), false);
  for (const int64_t row : selected) taken[row] = true;
  for (const int64_t row : out.indices) taken[row] = true;
  for (int64_t row = 0; static_cast<int64_t>(out.indices.size()) < k; ++row) {
    if (taken[row]) continue;
    out.indices.push_back(row);
    out.radii.push_back(0.0);
  }
}

// The choice itself, by one of the classes that have the steps.
template <class Rows>
KCenter choose(Rows& rows, int64_t n, int64_t k, double radius, int64_t start,
               const std::vector<int64_t>& selected, bool distances) {
  for (const int64_t centre : selected) rows.add(centre);
  KCenter out;
  const int64_t total = distances ? 2 * k : k;
  bool covered = false;
  while (static_cast<int64_t>(out.indices.size()) < k) {
    rows.announce(static_cast<int64_t>(out.indices.size()), total);
    const bool first = selected.empty() && out.indices.empty();
    covered = !first && rows.covered();
    if (covered) {
      if (radius < 0.0) take_the_rest(n, k, selected, out);
      break;
    }
    const int64_t next = first ? start : rows.farthest();
    const double distance = rows.distance(next);
    if (distance <= radius) break;
    out.indices.push_back(next);
    out.radii.push_back(distance);
    rows.add(next);
  }
  if (distances && covered) {
    out.distances.assign(static_cast<size_t>(n), 0.0);
  } else if (distances) {
    rows.announce(k, total, k);
    out.distances = rows.distances();
  }
  return out;
}

}  // namespace

KCenter kcenter_greedy(const Matrix& x, int64_t k, double radius, Metric metric, int64_t start,
                       const std::vector<int64_t>& selected, bool distances,
                       const Context& context) {
  const int64_t centres = k + static_cast<int64_t>(selected.size());
  const bool boxes = metric == Metric::kEuclidean && boxes_pay(x, centres);
  const bool looks = distances || k > 1 || !selected.empty();  // at rows, and refuses some
  if (boxes || !looks) {
    Team team(context);
    require_finite(team, x);
  }
  if (passes_pay(x, centres, metric, distances)) {
    GreedyByPasses greedy(x, metric, context);
    return choose(greedy, x.n, k, radius, start, selected, distances);
  }
  if (boxes) {
    const std::vector<int64_t> first = selected.empty() ? std::vector<int64_t>{start} : selected;
    GreedyInBoxes greedy(x, first, context);
    return choose(greedy, x.n, k, radius, start, selected, distances);
  }
  GreedyByBounds greedy(x, centres, metric, context);
  return choose(greedy, x.n, k, radius, start, selected, distances);
}

}  // namespace meddel

// The scan by blocks of an ordering, whose rows are compared with the earlier ones of their group.
#pragma once

#include <cstdint>

#include "ops/ordering.h"
#include "screen/block_scan.h"
#include "screen/plan.h"

namespace meddel {

inline BlockKind plan_block(const Ordering& ordering, int64_t d, Asked asked) {
  const double pairs = pairs_of(ordering);
  const double columns = pairs / static_cast<double>(ordering.rows.size());
  if (ordering.begin.back() == 0) return plan_block(pairs, columns, d, asked);
  double squares = 0.0;  // of the numbers of earlier rows: most pairs are in large groups
  for (size_t p = 0; p < ordering.begin.size(); ++p) {
    const auto earlier = static_cast<double>(static_cast<int64_t>(p) - ordering.begin[p]);
    squares += earlier * earlier;
  }
  return plan_grouped_block(pairs, columns, pairs > 0.0 ? squares / pairs : 0.0, d, asked);
}

// Positions of the side are those of the ordering.
template <class Operation>
void scan_earlier_block(Team& team, const BlockScreen& screen, const ScanSide& side,
                        const Ordering& ordering, int64_t units, Operation& operation) {
  if (ordering.begin.back() == 0) {
    scan_block(team, screen, side, side, units, operation);
  } else {
    scan_grouped_block(team, screen, side, ordering.begin, units, operation);
  }
}

}  // namespace meddel

// Samples in a stated order and in groups: what is earlier than a sample, for redundancy and
// deduplicate.
#pragma once

#include <cstdint>
#include <vector>

#include "base/copies.h"

namespace meddel {

// The samples of a set in a stated order, in groups: only pairs within a group count.
struct Ordering {
  std::vector<int64_t> rows;   // group after group, inside a group in order
  std::vector<int64_t> begin;  // by position: where its group begins
};

// labels may be null (one group); order is a permutation of [0, n).
Ordering make_ordering(int64_t n, const int64_t* order, const int64_t* labels);

// The positions of an ordering that are the first of their kind; copies are those of its positions
// within groups.
Ordering first_of_each(const Copies& copies, const Ordering& ordering);

// The number of pairs of a position and an earlier one of its group.
double pairs_of(const Ordering& ordering);

}  // namespace meddel

// Every pair of rows whose cosine reaches a threshold: equal to what truth.h says, for any number
// of threads.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <vector>

#include "base/copies.h"
#include "base/matrix.h"
#include "base/parallel.h"
#include "ops/ordering.h"

namespace meddel {

struct Pairs {
  std::vector<int64_t> i;
  std::vector<int64_t> j;
  std::vector<double> similarity;
};

// More pairs than the caller allows; found counts what was found before giving up.
struct TooManyPairs : std::runtime_error {
  explicit TooManyPairs(int64_t count) : std::runtime_error("too many pairs"), found(count) {}
  int64_t found;
};

// Rows [begin, end) of a matrix.
struct RowRange {
  int64_t begin;
  int64_t end;
};

// Every pair with cosine >= threshold whose i is in the range, sorted by (i, j): i < j within x
// when y is null, else row i of x with row j of y. Throws TooManyPairs soon after more than
// max_pairs are found. Requires 0 <= begin < end <= rows of x.
Pairs similar_pairs(const Matrix& x, const Matrix* y, const RowRange& range, double threshold,
                    int64_t max_pairs, const Context& context);

// Every pair of positions (later, earlier) of one group with cosine >= threshold, sorted; only of
// those that are the first of their kind.
Pairs earlier_pairs(const Matrix& x, double threshold, const Ordering& ordering,
                    const Copies& copies, int64_t max_pairs, Team& team);

}  // namespace meddel

// Operations on pairs of rows by cosine. All are exact: equal to what truth.h says, ties to the
// lowest index, for any number of threads.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <vector>

#include "copies.h"
#include "matrix.h"
#include "parallel.h"

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

// The samples of a set in a stated order, in groups: only pairs within a group count.
struct Ordering {
  std::vector<int64_t> rows;   // group after group, inside a group in order
  std::vector<int64_t> begin;  // by position: where its group begins
};

// labels may be null (one group); order is a permutation of [0, n).
Ordering make_ordering(int64_t n, const int64_t* order, const int64_t* labels);

struct Redundancy {
  std::vector<double> similarity;  // by row; `above` where nothing is earlier and above it
  std::vector<int64_t> neighbor;   // by row; -1 likewise
};

// For every row the highest cosine to an earlier row of its group, and the lowest such row; only
// cosines greater than `above` count, which may be -infinity.
Redundancy redundancy(const Matrix& x, const Ordering& ordering, double above,
                      const Context& context);

// The positions of an ordering that are the first of their kind; copies are those of its positions
// within groups.
Ordering first_of_each(const Copies& copies, const Ordering& ordering);

// Every pair of positions (later, earlier) of one group with cosine >= threshold, sorted; only of
// those that are the first of their kind.
Pairs earlier_pairs(const Matrix& x, double threshold, const Ordering& ordering,
                    const Copies& copies, int64_t max_pairs, Team& team);

struct TopK {
  std::vector<double> similarity;  // n x k, falling
  std::vector<int64_t> indices;    // n x k, rising among equals
};

// The k most similar rows of y (or of x without the row itself when y is null).
// Requires 1 <= k <= rows to choose from.
TopK topk_similarity(const Matrix& x, const Matrix* y, int64_t k, const Context& context);

}  // namespace meddel

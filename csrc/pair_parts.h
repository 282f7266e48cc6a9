// Operations on pairs of rows where both sides are parts of larger sets: each call takes account of
// what one more part of the columns holds, and after all parts, in any order, the result is that of
// pairs.h for the whole sets.
#pragma once

#include <cstdint>
#include <vector>

#include "matrix.h"
#include "pairs.h"
#include "parallel.h"

namespace meddel {

// Some rows of a set: by row, which samples they are, where these stand in the set's order, and
// their groups (null: one group).
struct Part {
  Matrix rows;
  const int64_t* samples;
  const int64_t* places;
  const int64_t* labels;
};

// redundancy: takes the samples of y that are earlier than a row of x and of its group into account
// of the row's best, which starts at -infinity and -1, or at a bar that samples have to exceed.
Redundancy earlier_in_part(const Part& x, const Part& y, Redundancy best, const Context& context);

// topk_similarity: of the rows of y, of which the first is sample y_first. Places without a sample
// have index -1 and stand behind the others. With x_first >= 0 both are of one set, and no sample
// is compared with itself.
TopK topk_in_part(const Matrix& x, int64_t x_first, const Matrix& y, int64_t y_first, TopK best,
                  int64_t k, const Context& context);

// Every pair of a row of x and a row of y of equal labels with cosine >= threshold, by row of x.
// Throws TooManyPairs soon after more than max_pairs are found.
Pairs pairs_of_groups(const Matrix& x, const int64_t* x_labels, const Matrix& y,
                      const int64_t* y_labels, double threshold, int64_t max_pairs,
                      const Context& context);

}  // namespace meddel

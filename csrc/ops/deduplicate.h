// Which samples to keep so that no kept one is a near duplicate of an earlier one.
#pragma once

#include <cstdint>
#include <vector>

#include "base/matrix.h"
#include "base/parallel.h"
#include "ops/ordering.h"
#include "ops/pairs.h"

namespace meddel {

// Samples are looked at in order, group by group.
enum class Rule {
  kSemDeDup,    // dropped when any earlier sample is similar, even one that was dropped itself
  kGreedy,      // dropped when an earlier kept sample is similar
  kComponents,  // dropped when it is not the first of its connected component of similar pairs
};

struct Deduplicated {
  std::vector<int64_t> representative;  // by row: itself when kept, else the sample that covers it:
                                        // the most similar one that may (ties to the lowest row),
                                        // or the first of the component
  std::vector<double> similarity;       // to the representative; NaN for kept samples
};

// Two samples are similar when their cosine is >= threshold. Throws TooManyPairs when a rule that
// has to hold all similar pairs (greedy, components) meets more than max_pairs, copies of a row
// (see copies.h) counted once.
Deduplicated deduplicate(const Matrix& x, double threshold, Rule rule, const Ordering& ordering,
                         int64_t max_pairs, const Context& context);

// What the rules greedy and components go by: pairs of a sample and an earlier similar one, by
// position, sorted; of rows that are equal the first alone is in a pair.
struct EarlierSimilar {
  Ordering ordering;
  Copies copies;
  Pairs pairs;
};

// All pairs with cosine >= floor. Throws TooManyPairs as deduplicate does.
EarlierSimilar earlier_similar(const Matrix& x, double floor, Ordering ordering, int64_t max_pairs,
                               const Context& context);

// Leaves the pairs of a maximum spanning forest, at most n - 1: components at any threshold t are
// those of its pairs with cosine >= t, as a pair outside the forest is no heavier than the lightest
// on the forest's path between its ends (the cycle property).
void keep_spanning(EarlierSimilar& found);

// The same as deduplicate by the rule greedy or components, from pairs found for a floor that is
// not above the threshold. The rule components may go by a spanning forest.
Deduplicated deduplicate_by(const EarlierSimilar& found, const Matrix& x, double threshold,
                            Rule rule);

// The pairs as rows (later, earlier), and of each copy with the first of its kind, where they reach
// the floor; in no order.
Pairs similar_rows(const EarlierSimilar& found, const Matrix& x, double floor);

// The rule kGreedy for some rows that follow all those whose samples are accounted for in `known`:
// representative[row] is samples[row] where none of them covers it. The rows are in order.
Deduplicated greedy_in_part(const Matrix& x, double threshold, const int64_t* samples,
                            const int64_t* labels, int64_t max_pairs, Deduplicated known,
                            const Context& context);

// Union-find over positions: parent[p] <= p, and a component's root is its lowest position.
// Returns by position the root after the components of each pair were joined.
std::vector<int64_t> join_components(std::vector<int64_t> parent, const int64_t* i,
                                     const int64_t* j, int64_t pairs);

// The cosine of each row of x and the row of y at the same place.
std::vector<double> row_cosines(const Matrix& x, const Matrix& y, const Context& context);

}  // namespace meddel

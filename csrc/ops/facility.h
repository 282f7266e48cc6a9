// Facility location on a graph: samples that represent all others best, kept one after the other.
// All sums run over a sample's edges in their order, in fp64, so that every machine has the same.
#pragma once

#include <cstdint>
#include <vector>

#include "base/parallel.h"

namespace meddel {

// The edges that lead to each of n samples: those of sample j from start[j] to start[j + 1], at
// least one, from distinct sources, with values of at least 0. Weights are of the sources; null for
// all 1. With two hops, there are also edges i -> m -> j, of the product of both values; where
// several ways lead from i to j, the edge has the highest value of all. They are not held but found
// when j is looked at, in this order: the edges to j, then, by the order of these, those to the
// sources.
struct Graph {
  int64_t n;
  const int64_t* start;
  const int64_t* source;
  const double* value;
  const double* weights;
  int hops = 1;
};

// What is kept at some time, and how well it represents each sample.
struct Represented {
  std::vector<double> gains;  // what each sample would add
  std::vector<double> best;   // the value of the edge to the kept one that represents it best
  std::vector<int64_t> by;    // which one that is, the first kept among equals; -1 for none
};

struct Facility {
  std::vector<int64_t> order;  // as they were kept, beside those selected before
  std::vector<double> won;     // what each added
  std::vector<Represented> at;
};

// Keeps the sample of the highest gain, the lowest among equals, again and again: a sample's gain
// is the sum over its edges of max(0, value - best of the source), weighted. Says what is
// represented when as many as each of `counts` are kept, which rise and include the selected ones:
// there may be no others in the first. Requires as many samples.
//
// A gain of any time before bounds the gain now: each of its terms only falls, and sums of equally
// many smaller terms, added in the same order, are not larger when rounded either. So the first
// sample whose gain is of now and still the highest is the one of the highest gain (lazy greedy).
Facility facility(const Graph& graph, const std::vector<int64_t>& selected,
                  const std::vector<int64_t>& counts, const Context& context);

// Keeps the best of some drawn ones, again and again: `size` draws a step, each in [0, 1) for a
// place among `left`, the samples to choose from, where the last one then takes the place of the
// chosen one. Requires draws of at most as many steps as there are.
Facility stochastic_facility(const Graph& graph, const std::vector<int64_t>& selected,
                             std::vector<int64_t> left, const double* draws, int64_t steps,
                             int64_t size, const Context& context);

}  // namespace meddel

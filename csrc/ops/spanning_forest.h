// At which weights the components of a graph join as edges are added, the heaviest first.
#pragma once

#include <cstdint>
#include <vector>

namespace meddel {

// The edges of a maximum spanning forest (Boruvka 1926) of n nodes, in no order: edge e joins the
// nodes i[e] and j[e]; of equal weights the earlier one counts as the heavier.
std::vector<int64_t> spanning_edges(const int64_t* i, const int64_t* j, const double* weight,
                                    int64_t edges, int64_t n);

// Their weights: all spanning forests of the highest weight have the same ones.
std::vector<double> spanning_weights(const int64_t* i, const int64_t* j, const double* weight,
                                     int64_t edges, int64_t n);

}  // namespace meddel

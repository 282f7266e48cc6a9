#include "ops/spanning_forest.h"

#include <algorithm>

#include "base/copies.h"

namespace meddel {

std::vector<int64_t> spanning_edges(const int64_t* i, const int64_t* j, const double* weight,
                                    int64_t edges, int64_t n) {
  std::vector<int64_t> found;
  std::vector<int64_t> left = count_up(edges);
  std::vector<int64_t> root = count_up(n);  // by node, between rounds
  std::vector<int64_t> best(static_cast<size_t>(n));
  const auto top = [&root](int64_t v) {
    while (root[v] != v) v = root[v] = root[root[v]];
    return v;
  };
  while (true) {
    // The heaviest edge of each component, the first of equals, so that edges are ordered without
    // ties; those within a component are left out from now on.
    std::fill(best.begin(), best.end(), int64_t{-1});
    size_t kept = 0;
    for (const int64_t e : left) {
      const int64_t a = root[i[e]], b = root[j[e]];
      if (a == b) continue;
      left[kept++] = e;
      for (const int64_t c : {a, b}) {
        if (best[c] < 0 || weight[e] > weight[best[c]]) best[c] = e;
      }
    }
    if (kept == 0) return found;
    left.resize(kept);
    for (int64_t c = 0; c < n; ++c) {
      if (best[c] < 0) continue;
      const int64_t a = top(i[best[c]]), b = top(j[best[c]]);
      if (a == b) continue;  // both chose it
      root[a] = b;
      found.push_back(best[c]);
    }
    for (int64_t v = 0; v < n; ++v) root[v] = top(v);
  }
}

std::vector<double> spanning_weights(const int64_t* i, const int64_t* j, const double* weight,
                                     int64_t edges, int64_t n) {
  std::vector<double> found;
  for (const int64_t e : spanning_edges(i, j, weight, edges, n)) found.push_back(weight[e]);
  return found;
}

}  // namespace meddel

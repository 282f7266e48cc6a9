// Connected components: union-find over pairs of positions, many threads at once: the bodies of the
// kernels (see inner_products.h for what Block is).
//
// parent[p] <= p always, with equality for roots; a root's parent is set once, to a lower root, by
// compare-and-swap. So every tree's root is its lowest position, and when all pairs are joined the
// trees are the components, whatever the order in which threads came. (Jayanti and Tarjan 2016;
// Jaiganesh and Burtscher 2018.)
#pragma once

#include <cstdint>

#include "base/truth.h"

namespace meddel::cuda {

struct Components {
  static constexpr int kThreads = 256;

  // The root of p's tree. Halves the path: only parents of positions that are no roots are
  // overwritten, with ancestors, so that no join is lost.
  template <class Block>
  static MEDDEL_HD int64_t find(const Block& block, int64_t* parent, int64_t p) {
    for (int64_t up = block.load(parent + p); up != p; up = block.load(parent + p)) {
      const int64_t above = block.load(parent + up);
      if (above == up) return up;
      block.store(parent + p, above);
      p = above;
    }
    return p;
  }

  template <class Block>
  static MEDDEL_HD void join_pair(const Block& block, int64_t* parent, int64_t p, int64_t q) {
    for (;;) {
      p = find(block, parent, p);
      q = find(block, parent, q);
      if (p == q) return;
      const int64_t high = p > q ? p : q, low = p > q ? q : p;
      if (block.compare_and_swap(parent + high, high, low) == high) return;
    }
  }

  template <class Block>
  static MEDDEL_HD void start(const Block& block, int64_t* parent, int64_t n) {
    for (int64_t p = block.first(); p < n; p += block.all()) parent[p] = p;
  }

  template <class Block>
  static MEDDEL_HD void join(const Block& block, int64_t* parent, const int64_t* i,
                             const int64_t* j, int64_t count) {
    for (int64_t e = block.first(); e < count; e += block.all())
      join_pair(block, parent, i[e], j[e]);
  }

  // Makes every position's parent its root. Paths are only followed here: a thread that halved one
  // could overwrite a root with an ancestor that it had read before.
  template <class Block>
  static MEDDEL_HD void finish(const Block& block, int64_t* parent, int64_t n) {
    for (int64_t p = block.first(); p < n; p += block.all()) {
      int64_t root = p;
      for (int64_t up = block.load(parent + p); up != root; up = block.load(parent + root)) {
        root = up;
      }
      block.store(parent + p, root);
    }
  }
};

}  // namespace meddel::cuda

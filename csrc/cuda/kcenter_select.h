// Farthest-point selection among a few thousand rows, by one block, without the host: the body of
// the kernel (see inner_products.h for what Block is).
#pragma once

#include <cmath>
#include <cstdint>

#include "base/truth.h"

namespace meddel::cuda {

// What was selected; the host reads it when the block is done.
struct Selected {
  int64_t count;
  int64_t ended;  // 1 when the radius was reached
};

struct KCenterSelect {
  static constexpr int kThreads = 1024;
  static constexpr int kWarps = kThreads / 32;
  static constexpr int kMost = 4096;      // rows: 32 KiB of distances in shared memory
  static constexpr double kTaken = -1.0;  // below every distance: never the farthest

  struct Arguments {
    const double* distances;  // count x count (see DistanceMatrix)
    const int64_t* rows;      // rising
    int64_t count;            // 1 to kMost
    double* nearest;          // by position, to all centres; kTaken for the new ones afterwards
    // Every row that is not here has a distance below tau, or equal to it and an index of at least
    // `border`; so rows are selected as long as they come before all those.
    double tau;
    int64_t border;
    double radius;  // selection ends at a distance (not squared) of this
    int64_t most;   // centres
    Metric metric;
    int64_t* centres;
    double* radii;
    Selected* selected;
  };

  // A distance and its position; the lower position of equal distances.
  struct Farthest {
    double distance;
    int64_t position;

    MEDDEL_HD bool before(const Farthest& other) const {
      return distance > other.distance || (distance == other.distance && position < other.position);
    }
  };

  // Two sets of places for the warps' results, used in turn: a warp may be one step ahead.
  struct Shared {
    double nearest[kMost];
    Farthest found[2][kWarps];
  };

  template <class Block>
  static MEDDEL_HD Farthest over_warp(const Block& block, Farthest mine) {
    for (int mask = 16; mask > 0; mask /= 2) {
      const Farthest other{block.shuffle_xor(mine.distance, mask),
                           block.shuffle_xor(mine.position, mask)};
      if (other.before(mine)) mine = other;
    }
    return mine;
  }

  template <class Block>
  static MEDDEL_HD Farthest over_block(const Block& block, Farthest mine, Farthest* found) {
    mine = over_warp(block, mine);
    if (block.thread() % 32 == 0) found[block.thread() / 32] = mine;
    block.sync();
    return over_warp(block, found[block.thread() % 32]);
  }

  template <class Block>
  static MEDDEL_HD void run(const Block& block, const Arguments& a, Shared& shared) {
    Farthest mine{-2.0, a.count};
    for (int64_t p = block.thread(); p < a.count; p += kThreads) {
      shared.nearest[p] = a.nearest[p];
      if (shared.nearest[p] > mine.distance) mine = {shared.nearest[p], p};
    }
    Selected done{0, 0};
    while (done.count < a.most) {
      const Farthest next = over_block(block, mine, shared.found[done.count % 2]);
      if (next.distance < a.tau) break;
      if (next.distance == a.tau && a.rows[next.position] >= a.border) break;
      const double shown = a.metric == Metric::kCosine ? next.distance : std::sqrt(next.distance);
      if (shown <= a.radius) {
        done.ended = 1;
        break;
      }
      if (block.thread() == 0) {
        a.centres[done.count] = a.rows[next.position];
        a.radii[done.count] = shown;
      }
      ++done.count;
      const double* from = a.distances + next.position * a.count;
      mine = {-2.0, a.count};
      for (int64_t p = block.thread(); p < a.count; p += kThreads) {
        double nearest = shared.nearest[p];
        nearest = p == next.position ? kTaken : from[p] < nearest ? from[p] : nearest;
        shared.nearest[p] = nearest;
        if (nearest > mine.distance) mine = {nearest, p};
      }
    }
    for (int64_t p = block.thread(); p < a.count; p += kThreads) a.nearest[p] = shared.nearest[p];
    if (block.thread() == 0) *a.selected = done;
  }
};

}  // namespace meddel::cuda

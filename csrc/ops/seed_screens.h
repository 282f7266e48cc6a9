// Which rows a new seed of k-means++ may come nearer to than all before it. Most rows it does not,
// and their weights keep their bits: the screens of bounds.h tell so for nearly all of these.
//
// The sign test proves, of the truth's score of a row and the seed, score < bar, with
// bar = bar_of(metric, weight) of catch_up.h. Then the truth's distance is at least the weight, and
// the lower of the two is the weight, to the bit:
// - Euclidean: bar = -weight and distance = -score, both exact.
// - Cosine: bar = fl(fl(1 - weight) - 2^-50) and distance = fl(1 - score). As 1 - weight is within
//   [-1, 1] it is rounded by at most 2^-54, as is the next difference (2^-53 below -1), so that
//   score < 1 - weight - 2^-51, 1 - score > weight, and rounding, which keeps order, leaves
//   fl(1 - score) >= weight, a number of fp64 itself.
// A row of weight 0 keeps it whatever the seed, as no distance is below 0.
//
// Sums stay within 32 bits. A row's start is its a (at most kShare, or kSurvives alone) less its
// bar's share (at most kBar either way, or kSurvives added, where there is no bar), a seed's is its
// a. So a start is at most kShare + kSurvives, with the seed's kSurvives 1.35e9, and products add
// at most kWidest 127 128 = 2.7e8 on the way, whether of bytes with the kernels' bias or not: those
// done, less what the start takes off for the bias of those to come. Nor does it end below 0 where
// kSurvives was added: -2 kShare - 127^2 kWidest + kSurvives > 0. The least is
// -kDropped - kShare - 5.3e8.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/parallel.h"
#include "base/sides.h"
#include "base/truth.h"
#include "screen/screen.h"

namespace meddel {

class SeedScreens {
 public:
  static constexpr int64_t kRows = 1024;  // looked at a time

  // For so many seeds; learns nothing where these are too few to pay for it. Requires that the side
  // and the weights, which are by row, outlive it.
  SeedScreens(Team& team, const ScanSide& side, Metric metric, const std::vector<double>& weights,
              int64_t seeds);

  bool any() const { return streamed_.has_value(); }

  // A seed's codes. Requires that there are any, as do those that follow.
  struct Probe {
    RowCodes streamed;
    RowCodes refined;
  };
  Probe probe(int64_t p) const;

  // Lists the positions, counted from `begin`, a multiple of kRows, that a seed may come nearer to,
  // rising, and returns their number. Those are of [begin, end), at most kRows.
  int32_t left(const Probe& seed, int64_t begin, int64_t end, uint16_t* positions) const;

  // Takes account of the weight of a position.
  void lower(int64_t p);

  // Tells how many rows a seed was compared with, and how many of these it came nearer to.
  void learn(Team& team, int64_t compared, int64_t nearer);

 private:
  // A screen's codes of the first `count` positions, in blocks or one after the other, and where
  // the sums of their sign tests start.
  struct Stage {
    Screen screen;
    bool packed;
    int64_t count = 0;
    std::vector<int8_t> codes = {};
    std::vector<int32_t> share = {};  // a, less what the kernels' bias on the seed's side adds
    std::vector<int32_t> start = {};  // the same, less the bar's
  };

  void encode(Team& team, Stage& stage);
  int32_t start(const Stage& stage, int64_t p) const;

  const ScanSide& side_;
  const Metric metric_;
  const std::vector<double>& weights_;
  std::optional<Stage> streamed_;  // of all rows, seed by seed
  std::optional<Stage> refined_;   // of those that are left, once it is worth it
  int64_t idle_ = 0;               // comparisons that changed nothing
};

}  // namespace meddel

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
// A row of weight 0 keeps it whatever the seed, as no distance is below 0. Weights only fall, so
// that what a screen leaves out by a weight is out by all that follow.
//
// Own lengths. A row's and a seed's a hold P tau_u + P tau_v, with P beyond all lengths, where
// Cauchy and Schwarz ask for |s q_v| tau_u + |s q_u| tau_v. Of each kRows positions the least
// tau_u, L, and the greatest length, M, are known, and
//   P tau_u + P tau_v - (|s q_v| tau_u + |s q_u| tau_v) >= (P - |s q_v|) L + (P - M) tau_v,
// which the seed's start takes back, rounded down. (Beside a dense screen P is P + rho_max / 2 in
// a, of which the half stays.) Likewise (P + rho_max / 2 - |z|) L of a seed in two planes
// (fine.cpp).
//
// Sums stay within 32 bits. A row's start is its a (at most kShare, or kSurvives alone) less its
// bar's share (at most kBar either way, or kSurvives added, where there is no bar), a seed's is its
// a, less at most kOwn where it is not kSurvives. So a start is at most kShare + kSurvives, with
// the seed's kSurvives 1.35e9, and products add at most kWidest 127 128 = 2.7e8 on the way, whether
// of bytes with the kernels' bias or not: those done, less what the start takes off for the bias of
// those to come. Nor does it end below 0 where kSurvives was added: -2 kShare - 127^2 kWidest -
// kOwn + kSurvives > 0, a second plane's 127^2 kWidest / 256 included. The least is -kDropped -
// kShare - kOwn - 5.3e8.
#pragma once

#include <cstdint>
#include <functional>
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
  static constexpr int64_t kAtOnce = 16;  // seeds

  using Weight = std::function<double(int64_t)>;  // of a position

  // Where the rows are: elsewhere it takes so long to get one that all codes are made at first.
  enum class Rows { kHere, kElsewhere };

  // Learns from a side, or from rows spread over `size` positions, for so many seeds; nothing where
  // these are too few to pay for it. Codes of the first positions that `bytes` have room for.
  SeedScreens(Team& team, const Positions& sample, int64_t size, Metric metric, int64_t seeds,
              int64_t bytes, Rows rows, Weight weight);

  bool any() const { return streamed_ || refined_; }

  // Bytes of all codes and of what belongs to them, where rows are elsewhere.
  int64_t bytes() const;

  // Whether several seeds at a time take not much longer than one: codes then come from memory.
  bool slow() const;

  // Makes the codes of the positions from `begin` on, a multiple of kRows.
  void encode(Team& team, const Positions& part, int64_t begin);

  // Some seeds' codes, at most kAtOnce. Requires that there are any, as do those that follow.
  struct Probe {
    RowCodes codes;
    std::vector<double> length;
  };
  Probe probe(const Positions& seeds) const;

  // Lists, for the k-th seed at positions + k kRows, the positions, counted from `begin`, a
  // multiple of kRows, that it may come nearer to, rising, and writes their numbers. Those are of
  // [begin, end), at most kRows.
  void left(const Probe& seeds, int64_t begin, int64_t end, uint16_t* positions,
            int32_t* counts) const;

  // A seed's finer code, if it is used.
  std::optional<FineCode> fine(const Positions& side, int64_t p) const;

  // Keeps those of the listed positions that the seed may come nearer to; returns their number.
  int32_t refine(const FineCode& seed, int64_t begin, uint16_t* positions, int32_t count) const;

  // Takes account of the weight of a position.
  void lower(int64_t p);

  // Tells how many rows a seed was compared with, and how many of these it came nearer to; makes
  // the finer codes, of all positions, once they are worth it.
  void learn(Team& team, const Positions& all, int64_t compared, int64_t nearer);

 private:
  // A screen's codes of the first `count` positions, in blocks or one after the other, and where
  // the sums of their sign tests start.
  struct Stage {
    Screen screen;
    bool packed;
    int64_t count = 0;
    std::vector<int8_t> codes = {};
    std::vector<int32_t> share = {};    // a, less what the kernels' bias on the seed's side adds
    std::vector<int32_t> start = {};    // the same, less the bar's
    std::vector<double> rounding = {};  // of each kRows: L
    std::vector<double> longest = {};   // and M
  };

  static constexpr int64_t kCached = int64_t{1} << 24;  // bytes that a cache holds, about

  void make_room(Stage& stage, int64_t bytes);
  void share_out(int64_t bytes);
  static int64_t stride(const Stage& stage);  // from a code to the next
  static int64_t row_bytes(const Stage& stage);
  void encode(Team& team, Stage& stage, const Positions& part, int64_t begin);
  int32_t start(const Stage& stage, int64_t p) const;

  const Metric metric_;
  const int64_t size_;
  const int64_t bytes_;
  const Weight weight_;
  std::optional<Stage> streamed_;  // of all rows, seed by seed
  std::optional<Stage> refined_;   // of those that are left, once it is worth it
  int64_t idle_ = 0;               // comparisons that changed nothing
};

}  // namespace meddel

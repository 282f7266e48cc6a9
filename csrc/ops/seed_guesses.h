// Which rows k-means++ is likely to draw next. A draw is where a running sum of weights reaches a
// share of their total that is known beforehand, and a seed moves that place by a few rows only, so
// that the rows about where it is now may be looked at together with the seed at hand: codes are
// read once for all of them. Guesses choose what is looked at early; no result depends on them.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/seed_weights.h"

namespace meddel {

class SeedGuesses {
 public:
  static constexpr int64_t kAhead = 6;  // draws

  explicit SeedGuesses(const std::vector<double>& uniforms) : uniforms_(uniforms) {}

  struct Guess {
    int64_t row;
    int64_t draw;
    double chance;
  };

  // The likeliest rows of draws [next, next + kAhead), by weights before they change, most likely
  // first.
  std::vector<Guess> likely(int64_t next, const SeedWeights& weights);

  // Tells which row was drawn.
  void learn(int64_t draw, int64_t row);

 private:
  const std::vector<double>& uniforms_;
  int64_t expected_draw_ = -1;  // the last draw that was guessed first, and its row
  int64_t expected_row_ = -1;
  double off_ = 2.0;  // rows by which such a guess is off, about
};

}  // namespace meddel

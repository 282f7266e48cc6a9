#include "ops/seed_guesses.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace meddel {
namespace {

constexpr int64_t kReach = 4;      // rows on either side
constexpr double kMostOff = 16.0;  // rows, where guesses are of no use
constexpr double kPace = 0.1;      // of learning

}  // namespace

std::vector<SeedGuesses::Guess> SeedGuesses::likely(int64_t next, const SeedWeights& weights) {
  const std::vector<double>& blocks = weights.sums();
  std::vector<double> running(blocks.size());
  std::partial_sum(blocks.begin(), blocks.end(), running.begin());
  const double total = running.back();
  const int64_t rows = weights.rows();
  const auto draws = static_cast<int64_t>(uniforms_.size());
  std::vector<Guess> out;
  for (int64_t draw = next; draw < std::min(next + kAhead, draws); ++draw) {
    const double target = uniforms_[draw] * total;
    const int64_t block = std::min<int64_t>(
        std::upper_bound(running.begin(), running.end(), target) - running.begin(),
        static_cast<int64_t>(blocks.size()) - 1);
    double sum = block > 0 ? running[block - 1] : 0.0;
    int64_t row = block * kBlockRows;
    while (row + 1 < std::min(rows, (block + 1) * kBlockRows) &&
           sum + weights.share(row) <= target) {
      sum += weights.share(row++);
    }
    if (draw == next) {
      expected_draw_ = draw;
      expected_row_ = row;
    }
    // How far off it is is taken to be logistic, and to grow with the root of the draws between.
    const double typical = std::max(weights.share(row), total / static_cast<double>(rows));
    const double scale =
        typical * (0.2 + 0.6 * off_) * std::sqrt(static_cast<double>(draw - next + 1));
    const auto below = [&](double value) {
      return 1.0 / (1.0 + std::exp(-(value - target) / scale));
    };
    int64_t first = row;
    for (; first > std::max(row - kReach, int64_t{0}); --first) sum -= weights.share(first - 1);
    for (int64_t i = first; i < std::min(rows, row + kReach + 1); ++i) {
      const double chance = below(sum + weights.share(i)) - below(sum);
      sum += weights.share(i);
      if (weights.share(i) > 0.0) out.push_back({i, draw, chance});
    }
  }
  std::sort(out.begin(), out.end(), [](const Guess& a, const Guess& b) {
    return a.chance != b.chance ? a.chance > b.chance : a.row < b.row;
  });
  return out;
}

void SeedGuesses::learn(int64_t draw, int64_t row) {
  if (draw != expected_draw_) return;
  const double off = static_cast<double>(std::abs(row - expected_row_));
  off_ += kPace * (std::min(off, kMostOff) - off_);
}

}  // namespace meddel

// The seeding of kmeans.h.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <numeric>
#include <optional>
#include <unordered_map>
#include <utility>

#include "base/copies.h"
#include "base/sides.h"
#include "base/truth.h"
#include "cpu/isa.h"
#include "ops/column_rows.h"
#include "ops/kmeans.h"
#include "ops/seed_guesses.h"
#include "ops/seed_screens.h"
#include "ops/seed_weights.h"
#include "screen/plan.h"
#include "screen/scan_screens.h"

namespace meddel {
namespace {

static_assert(SeedScreens::kRows == kBlockRows);

// Draws rows with probability proportional to their weight, as reference.py states.
class Seeding {
 public:
  Seeding(const Matrix& x, bool spherical, const std::vector<double>& uniforms,
          const std::vector<double>& row_weights, const Context& context)
      : x_(x),
        metric_(spherical ? Metric::kCosine : Metric::kEuclidean),
        team_(context),
        dots_(kernels().dots[static_cast<int>(x.dtype)]),
        rows_(all_rows(team_, x)),
        copies_(pays(x, uniforms)
                    ? Copies(team_, x, spherical ? &rows_.squares : nullptr, &rows_.squares)
                    : Copies()),
        weights_(x.n, row_weights),
        taken_(static_cast<size_t>(x.n), false),
        guesses_(uniforms) {
    if (copies_.any()) rows_.rows = copies_.distinct;
    screens_.emplace(team_, rows_.positions(), rows_.size(), metric_,
                     static_cast<int64_t>(uniforms.size()), kept_bytes(x, 0),
                     SeedScreens::Rows::kHere,
                     [this](int64_t p) { return weights_[rows_.rows[p]]; });
    screens_->encode(team_, rows_.positions(), 0);
    if (!screens_->any() && ColumnRows::fits(x)) columns_.emplace(team_, x);
  }

  // The first seed: by the rows' own weights.
  int64_t draw_first(double uniform) {
    if (!weights_.weighted()) {
      return std::min(static_cast<int64_t>(uniform * static_cast<double>(x_.n)), x_.n - 1);
    }
    for (int64_t i = 0; i < x_.n; ++i) weights_.set(i, 1.0);
    weights_.sum(team_);
    const int64_t first = draw(uniform);
    for (int64_t i = 0; i < x_.n; ++i) weights_.set(i, kInfinity);
    return first;
  }

  // The seed is the `number`-th of `total`.
  void add(int64_t seed, int64_t number, int64_t total) {
    team_.announce(number, total);
    taken_[seed] = true;
    if (covered_) return;
    if (number > 0 && screens_->any()) {
      compare_some(seed, number);
    } else if (columns_) {
      compare_columns(seed);
    } else {
      compare_all(seed);
    }
    weights_.sum(team_);
    covered_ = std::all_of(weights_.sums().begin(), weights_.sums().end(),
                           [](double sum) { return sum == 0.0; });
  }

  int64_t draw(double uniform) {
    if (covered_) {
      while (taken_[lowest_free_]) ++lowest_free_;
      return lowest_free_;
    }
    std::vector<double> running(weights_.sums().size());
    std::partial_sum(weights_.sums().begin(), weights_.sums().end(), running.begin());
    const double total = running.back();
    const double target = std::min(uniform * total, std::nextafter(total, 0.0));
    const int64_t block =
        std::upper_bound(running.begin(), running.end(), target) - running.begin();
    double sum = block > 0 ? running[block - 1] : 0.0;
    int64_t last = -1;
    for (int64_t i = block * kBlockRows; i < std::min(x_.n, (block + 1) * kBlockRows); ++i) {
      sum += weights_.share(i);
      if (sum > target) return i;
      if (weights_.share(i) != 0.0) last = i;
    }
    return last;  // rounding left the running sum short of the target: the last possible row
  }

 private:
  // Seeds that several looked at together have to save: reading codes for them takes longer.
  static constexpr double kWorth = 0.4;
  static constexpr int64_t kFewer = 8;  // of the rows were left: lists are to take little memory

  // Whether to look for equal rows, of which one alone is then compared: rows of few elements are
  // compared as fast, but by screens.
  static bool pays(const Matrix& x, const std::vector<double>& uniforms) {
    return !ColumnRows::fits(x) || uniforms.size() >= 48 || screens_forced();
  }

  // What the screens leave for a row: positions by block, counted from its first.
  struct Found {
    // Copies those of a block; returns their number.
    int32_t copy(int64_t block, uint16_t* out) const {
      std::copy(left.begin() + begin[block], left.begin() + begin[block + 1], out);
      return static_cast<int32_t>(begin[block + 1] - begin[block]);
    }

    int64_t draw;  // at which it was expected
    std::vector<int64_t> begin;
    std::vector<uint16_t> left;
  };

  // Compares a seed with all rows: the first one, which comes nearer to each, or where there are no
  // screens.
  void compare_all(int64_t seed) {
    const int64_t* rows = copies_.any() ? rows_.rows.data() : nullptr;
    team_.run_range(rows_.size(), kBlockRows, [&](int64_t begin, int64_t end, int) {
      double inner[kBlockRows];
      const void* from = rows == nullptr ? x_.row(begin) : x_.data;
      dots_(x_.row(seed), from, x_.ld, rows == nullptr ? nullptr : rows + begin, end - begin, x_.d,
            inner);
      for (int64_t p = begin; p < end; ++p) {
        const int64_t i = rows_.rows[p];
        const double far = between(seed, i, inner[p - begin]);
        weights_.set(i, i == seed ? 0.0 : std::min(weights_[i], far));
        if (screens_->any()) screens_->lower(p);
      }
    });
    for (int64_t i = 0; copies_.any() && i < x_.n; ++i) weights_.set(i, weights_[copies_.first(i)]);
  }

  // The same of few elements.
  void compare_columns(int64_t seed) {
    constexpr int64_t kPanel = ColumnRows::kPanel;
    alignas(kLine) ColumnRows::Room centre;
    columns_->spread(seed, centre);
    team_.run_range(x_.n, kBlockRows, [&](int64_t begin, int64_t end, int) {
      alignas(kLine) ColumnRows::Room room;
      double inner[kPanel];
      double* weights = weights_.rows_from(begin);
      for (int64_t at = begin; at < end; at += kPanel) {
        kernels().column_dots(columns_->panel(at, room), centre, kPanel, x_.d, inner);
        for (int64_t i = at; i < std::min(end, at + kPanel); ++i) {
          weights[i - begin] = std::min(weights[i - begin], between(seed, i, inner[i - at]));
        }
      }
      if (seed >= begin && seed < end) weights[seed - begin] = 0.0;
    });
  }

  // Compares a seed with the rows that the screens leave.
  void compare_some(int64_t seed, int64_t number) {
    const int64_t own = position(seed);
    std::optional<Found> found;
    std::optional<SeedScreens::Probe> probe;
    if (screens_->slow()) {
      found = look_up(seed, number);
    } else {
      probe = screens_->probe({x_, rows_.norms, {seed}});
    }
    lower(own, 0.0);
    const std::optional<FineCode> fine = screens_->fine(rows_.positions(), own);
    std::atomic<int64_t> compared{0}, nearer{0};
    team_.run_range(rows_.size(), kBlockRows, [&](int64_t begin, int64_t end, int) {
      uint16_t left[kBlockRows];
      int32_t count = 0;
      if (found) {
        count = found->copy(begin / kBlockRows, left);
      } else {
        screens_->left(*probe, begin, end, left, &count);
      }
      if (fine) count = screens_->refine(*fine, begin, left, count);
      compared += count;
      nearer += compare(seed, begin, left, count);
    });
    compared_ = compared;
    screens_->learn(team_, rows_.positions(), compared, nearer);
  }

  int64_t position(int64_t row) const { return copies_.any() ? copies_.kind[row] : row; }

  // What the screens leave for a seed, as they did when they were asked.
  Found look_up(int64_t seed, int64_t number) {
    guesses_.learn(number, seed);
    const int64_t own = position(seed);
    if (found_.count(own) == 0) look_ahead(own, number);
    Found out = std::move(found_[own]);
    found_.erase(own);
    return out;
  }

  // Asks the screens for a seed, and for rows that may follow it: as weights only fall, they leave
  // now what they would leave later.
  void look_ahead(int64_t own, int64_t number) {
    for (auto at = found_.begin(); at != found_.end();) {
      at = at->second.draw <= number ? found_.erase(at) : std::next(at);
    }
    std::vector<int64_t> asked = {own}, draws = {number};
    double hits = 0.0;
    for (const auto& guess : guesses_.likely(number + 1, weights_)) {
      if (asked.size() == SeedScreens::kAtOnce) break;
      const int64_t p = position(guess.row);
      if (found_.count(p) > 0 || std::count(asked.begin(), asked.end(), p) > 0) continue;
      hits += guess.chance;
      asked.push_back(p);
      draws.push_back(guess.draw);
    }
    if (hits < kWorth || compared_ > rows_.size() / kFewer) asked.resize(1);
    std::vector<int64_t> rows;
    for (const int64_t p : asked) rows.push_back(rows_.rows[p]);
    const SeedScreens::Probe probe = screens_->probe({x_, rows_.norms, rows});
    const auto seeds = static_cast<int64_t>(asked.size());
    const int64_t blocks = (rows_.size() + kBlockRows - 1) / kBlockRows;
    std::vector<std::vector<uint16_t>> listed(static_cast<size_t>(blocks));  // by seed, in each
    std::vector<int32_t> counts(static_cast<size_t>(blocks * SeedScreens::kAtOnce));
    team_.run_range(rows_.size(), kBlockRows, [&](int64_t begin, int64_t end, int) {
      uint16_t left[SeedScreens::kAtOnce * kBlockRows];
      const int64_t block = begin / kBlockRows;
      int32_t* count = &counts[block * SeedScreens::kAtOnce];
      screens_->left(probe, begin, end, left, count);
      for (int64_t k = 0; k < seeds; ++k) {
        const uint16_t* from = left + k * kBlockRows;
        listed[block].insert(listed[block].end(), from, from + count[k]);
      }
    });
    std::vector<int64_t> done(listed.size(), 0);
    for (int64_t k = 0; k < seeds; ++k) {
      Found& found = found_[asked[k]] = {draws[k], {0}, {}};
      int64_t total = 0;
      for (int64_t b = 0; b < blocks; ++b) total += counts[b * SeedScreens::kAtOnce + k];
      found.left.reserve(static_cast<size_t>(total));
      for (int64_t b = 0; b < blocks; ++b) {
        const auto from = listed[b].begin() + done[b];
        done[b] += counts[b * SeedScreens::kAtOnce + k];
        found.left.insert(found.left.end(), from, listed[b].begin() + done[b]);
        found.begin.push_back(static_cast<int64_t>(found.left.size()));
      }
    }
  }

  // Compares a seed with some positions after `begin`; returns to how many it came nearer.
  int64_t compare(int64_t seed, int64_t begin, const uint16_t* left, int64_t count) {
    constexpr int64_t kAtOnce = 4;           // as `dots` takes them
    constexpr int64_t kFetchedBytes = 4096;  // of a row ahead: what is left lies scattered
    int64_t rows[kBlockRows], nearer = 0;
    for (int64_t k = 0; k < count; ++k) rows[k] = rows_.rows[begin + left[k]];
    double inner[kAtOnce];
    for (int64_t first = 0; first < count; first += kAtOnce) {
      const int64_t end = std::min(count, first + kAtOnce);
      for (int64_t k = end; k < std::min(count, end + kAtOnce); ++k) {
        fetch(x_.row(rows[k]), std::min(kFetchedBytes, x_.row_bytes()));
      }
      dots_(x_.row(seed), x_.data, x_.ld, &rows[first], end - first, x_.d, inner);
      for (int64_t k = first; k < end; ++k) {
        const int64_t i = rows[k];
        const double far = between(seed, i, inner[k - first]);
        if (!(far < weights_[i])) continue;
        lower(begin + left[k], far);
        ++nearer;
      }
    }
    return nearer;
  }

  double between(int64_t seed, int64_t row, double inner) const {
    return distance(metric_, inner, rows_.squares[row], rows_.squares[seed]);
  }

  // The weight of a position, and of the rows that are equal to it.
  void lower(int64_t p, double weight) {
    if (copies_.any()) {
      for (int64_t m = copies_.begin[p]; m < copies_.begin[p + 1]; ++m) {
        weights_.set(copies_.members[m], weight);
      }
    } else {
      weights_.set(p, weight);
    }
    screens_->lower(p);
  }

  const Matrix& x_;
  const Metric metric_;
  Team team_;
  const DotsFn dots_;
  ScanSide rows_;        // all, or the first of each kind
  const Copies copies_;  // have the weight of the first of them
  SeedWeights weights_;
  std::vector<bool> taken_;
  std::optional<SeedScreens> screens_;
  std::optional<ColumnRows> columns_;
  SeedGuesses guesses_;
  std::unordered_map<int64_t, Found> found_;  // by position
  int64_t compared_ = 0;                      // rows, with the last seed
  bool covered_ = false;                      // whether nothing is left to draw in proportion to
  int64_t lowest_free_ = 0;
};

}  // namespace

std::vector<int64_t> kmeans_plus_plus(const Matrix& x, bool spherical,
                                      const std::vector<double>& uniforms,
                                      const std::vector<double>& row_weights,
                                      const Context& context) {
  const int64_t k = static_cast<int64_t>(uniforms.size());
  Seeding seeding(x, spherical, uniforms, row_weights, context);
  std::vector<int64_t> seeds = {seeding.draw_first(uniforms[0])};
  seeding.add(seeds.back(), 0, k);
  for (size_t s = 1; s < uniforms.size(); ++s) {
    seeds.push_back(seeding.draw(uniforms[s]));
    seeding.add(seeds.back(), static_cast<int64_t>(s), k);
  }
  return seeds;
}

}  // namespace meddel

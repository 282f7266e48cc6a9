#include "ops/herding_guesses.h"

#include <algorithm>
#include <functional>

#include "cpu/isa.h"
#include "screen/bounds.h"

namespace meddel {
namespace {

// The share of rows, the best ones of the last look, among which the best one is looked for so many
// steps later. (Of 200,000 x 384 clustered rows, 8 steps in a row are guessed right on average.)
constexpr double kShares[Guesses::kMost] = {0.01, 0.035, 0.06, 0.09, 0.12, 0.14,
                                            0.15, 0.16,  0.17, 0.18, 0.19, 0.2};
constexpr int64_t kFew = 8;       // rows more
constexpr int64_t kBuckets = 64;  // that sums are sorted into
constexpr int64_t kPiece = 512;   // sums looked at at a time
constexpr int64_t kGrain = 4096;  // rows that a thread estimates at a time
constexpr double kOff = 0.01;     // of |w|: how far off estimates may be, nearly always

// The rows, in about the falling order of their sums.
void sort_roughly(const int32_t* sums, int32_t lowest, std::vector<int64_t>& rows) {
  int32_t highest = lowest;
  for (const int64_t i : rows) highest = std::max(highest, sums[i]);
  const double scale = static_cast<double>(kBuckets) /
                       (static_cast<double>(highest) - static_cast<double>(lowest) + 1.0);
  const auto bucket = [&](int64_t i) {
    return static_cast<size_t>(static_cast<double>(highest - sums[i]) * scale);
  };
  std::array<size_t, kBuckets + 1> begin = {};
  for (const int64_t i : rows) ++begin[bucket(i) + 1];
  for (size_t b = 0; b < kBuckets; ++b) begin[b + 1] += begin[b];
  std::vector<int64_t> sorted(rows.size());
  for (const int64_t i : rows) sorted[begin[bucket(i)]++] = i;
  rows = std::move(sorted);
}

}  // namespace

Guesses::Guesses(Team& team, const UnitRows& rows, const CodedRows& coded)
    : team_(team), rows_(rows), coded_(coded) {}

int64_t Guesses::looked_at(int64_t step) const {
  return kFew + static_cast<int64_t>(kShares[step] * static_cast<double>(rows_.size()));
}

void Guesses::forget() {
  for (auto& rows : due_) rows.clear();
  widest_ = 0.0;
}

void Guesses::start(const std::vector<char>& taken, const int32_t* sums, int64_t count,
                    int32_t best, double unit) {
  for (auto& rows : due_) rows.clear();
  const int64_t wanted = looked_at(kMost - 1);
  int32_t least = -kDropped / 2;
  if (widest_ > 0.0) {
    least = static_cast<int32_t>(std::max(static_cast<double>(least), best - widest_ / unit));
  } else if (wanted < rows_.size()) {
    std::vector<int32_t> all(sums, sums + rows_.size());
    std::nth_element(all.begin(), all.begin() + wanted, all.end(), std::greater<int32_t>());
    least = std::max(least, all[wanted]);
  }
  std::vector<int64_t> rows;
  uint16_t columns[kPiece];
  for (int64_t begin = 0; begin < count; begin += kPiece) {
    const int32_t found =
        kernels().at_least(sums + begin, std::min(kPiece, count - begin), -least, columns);
    for (int32_t k = 0; k < found; ++k) {
      if (!taken[begin + columns[k]]) rows.push_back(begin + columns[k]);
    }
  }
  if (rows.empty()) return forget();
  sort_roughly(sums, least, rows);
  const int64_t size = static_cast<int64_t>(rows.size());
  const double top = static_cast<double>(sums[rows[0]]);
  for (int64_t step = 0, at = 0; step < kMost; ++step) {
    const int64_t end = std::min(size, looked_at(step));
    depths_[step] = (top - static_cast<double>(sums[rows[end - 1]])) * unit;
    due_[step].assign(rows.begin() + at, rows.begin() + end);
    at = end;
  }
  const double width = widest_ > 0.0 ? widest_ : (best - static_cast<double>(least)) * unit;
  widest_ = width * (size > wanted + wanted / 5 ? 0.95 : size < wanted ? 1.05 : 1.0);
}

Best Guesses::best(int64_t step, const std::vector<double>& w, const Direction& direction,
                   const CodedRows::Probe& probe) {
  const std::vector<int64_t> rows = std::move(due_[step]);
  due_[step].clear();
  const int64_t count = static_cast<int64_t>(rows.size());
  estimates_.resize(rows.size());
  team_.run_range(count, kGrain, [&](int64_t begin, int64_t end, int) {
    coded_.estimates(probe, &rows[begin], end - begin, &estimates_[begin]);
  });
  const int32_t most = estimates_[kernels().highest(estimates_.data(), count)];
  const double unit = probe.units[0] / direction.norm;
  const auto depth = [&](int64_t k) {
    return (static_cast<double>(most) - static_cast<double>(estimates_[k])) * unit;
  };
  Best out;
  std::vector<float> floats(w.size());
  for (int64_t k = 0; k < count; ++k) {
    if (depth(k) <= kOff) out.take(rows[k], rows_.product(rows[k], w.data(), floats.data()));
  }
  for (int64_t k = 0; k < count; ++k) {
    const auto* first = std::lower_bound(depths_.begin(), depths_.end(), depth(k));
    const int64_t next = step + 1 + (first - depths_.begin());
    if (next < kMost && rows[k] != out.row) due_[next].push_back(rows[k]);
  }
  return out;
}

}  // namespace meddel

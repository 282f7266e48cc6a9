#include "screen/plan.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <numeric>

#include "cpu/isa.h"
#include "screen/bounds.h"

namespace meddel {
namespace {

constexpr int64_t kKept[] = {60, 124, 252};  // dimensions; with the remainder, whole cache lines
constexpr int64_t kLeastKept = 28;           // where codes are streamed: half of one

std::atomic<ScreenMode> mode{ScreenMode::kAuto};

}  // namespace

double typical_bar(const Sample& sample, int64_t most) {
  constexpr int64_t kAsked = 48;
  const int64_t count = sample.count(), asked = std::min(count, kAsked);
  const int64_t others = std::min(count, most);
  std::vector<int64_t> rows;
  for (int64_t k = 0; k < others; ++k) rows.push_back(k * count / others);
  std::vector<float> inner(rows.size());
  std::vector<double> best(static_cast<size_t>(asked), -kInfinity);
  for (int64_t k = 0; k < asked; ++k) {
    const int64_t u = k * count / asked;
    kernels().rough_dots[static_cast<int>(DType::kFloat32)](
        &sample.points[u * sample.map.d], sample.points.data(), sample.map.d, rows.data(), others,
        sample.map.d, inner.data());
    for (int64_t j = 0; j < others; ++j) {
      const int64_t v = rows[j];
      const float s = inner[j] - 0.5f * (sample.squares[u] + sample.squares[v]);
      if (v != u) best[k] = std::max(best[k], static_cast<double>(s));
    }
  }
  std::nth_element(best.begin(), best.begin() + asked / 2, best.end());
  return sample.map.score(sample.map.most() + best[asked / 2]);
}

namespace {

// The share of some pairs of x and y that a screen leaves at a bar.
double left_over(const Screen& screen, const Positions& x, const Positions& y, double bar) {
  constexpr int64_t kRows = 64, kColumns = 1024;
  const auto some = [](const Positions& side, int64_t wanted) {
    const int64_t size = static_cast<int64_t>(side.rows.size()), count = std::min(size, wanted);
    std::vector<int64_t> rows;
    for (int64_t k = 0; k < count; ++k) rows.push_back(side.rows[k * size / count]);
    return rows;
  };
  const std::vector<int64_t> asked = some(x, kRows), others = some(y, kColumns);
  const int64_t rows = static_cast<int64_t>(asked.size());
  const int64_t count = static_cast<int64_t>(others.size());
  const RowCodes codes = screen.encode_rows({x.x, x.norms, asked}, 0, rows);
  const Codes columns = screen.encode({y.x, y.norms, others}, 0, count);
  std::vector<int32_t> starts;
  for (const int32_t share : codes.share) starts.push_back(screen.start(share, bar));
  const int64_t padded = columns.blocks() * kBlockColumns;
  std::vector<uint16_t> found(starts.size() * static_cast<size_t>(padded));
  std::vector<int32_t> counts(starts.size());
  kernels().screen(codes.bytes.data(), starts.data(), codes.size(), columns.packed.data(),
                   columns.start.data(), columns.blocks(), screen.width(), found.data(), padded,
                   counts.data());
  const int64_t survivors = std::accumulate(counts.begin(), counts.end(), int64_t{0});
  return static_cast<double>(survivors) / static_cast<double>(rows * count);
}

}  // namespace

std::optional<Screen> choose_prefix(Team& team, const Sample& sample, const Screen* dense,
                                    const Positions& x, const Positions& y, double pairs,
                                    double bar, Reading reading) {
  if (screens_forced() || dense == nullptr) {
    const int64_t kept = kKept[mode.load() == ScreenMode::kWide ? 1 : 0];
    return Screen::prefix(team, sample, kept).holding(sample);
  }
  // In multiply-adds of int8, of which dense products take d: a code of m dimensions takes 8 m d,
  // learning them 4e9 for 60 (15 ms), more than twice that for twice as many, and a survivor some
  // 15 ns. A byte from memory takes as long as 7 of them (33 GB/s), and a survivor's dense code,
  // which lies alone, as long as 600 bytes more; but dense codes are streamed for some three rows
  // at a time.
  const double d = static_cast<double>(sample.map.d);
  const bool streamed = reading == Reading::kStreamed;
  const double integer = streamed ? 7.0 : 1.0;
  const double survivor = streamed ? integer * (d + 600.0) : 2.0 * d + 4000.0;
  const double rows = static_cast<double>(x.rows.size());
  const double codes = &x.rows == &y.rows ? rows : rows + static_cast<double>(y.rows.size());
  const double row_bytes = static_cast<double>(x.x.row_bytes());
  std::optional<Screen> best;
  double least = pairs * d * (streamed ? (pairs > 200.0 * rows ? 2.5 : integer) : 1.0);
  for (const int64_t kept : {kLeastKept, kKept[0], kKept[1], kKept[2]}) {
    if (kept == kLeastKept && !streamed) continue;
    const double m = static_cast<double>(kept), width = m + kRemainder;
    // Wider ones must not take much memory either.
    if (kept > kKept[0] && (width > d / 2.0 || width > row_bytes / 8.0)) break;
    const double once = 8.0 * m * d * codes + 4e9 * std::pow(m / 60.0, 1.3) * d / 384.0;
    if (once + pairs * width * integer > least) break;
    Screen prefix = Screen::prefix(team, sample, kept);
    const double left = left_over(prefix, x, y, bar);
    const double cost = once + pairs * (width * integer + std::min(left * survivor, d * integer));
    if (cost > least) continue;
    least = cost;
    best.emplace(std::move(prefix));
  }
  if (best) best.emplace(best->holding(sample));
  return best;
}

ScreenPlan plan_screens(double pairs, double columns, int64_t d) {
  // Rows no wider than the prefix lie in it whole; much wider ones have no room in 32-bit sums, or
  // in the bounds, which take (1 + 2^-24)^d for 1 + 1.01 d 2^-24.
  constexpr int64_t kWidestPrefix = 65536;
  const bool prefix = d <= kWidestPrefix, dense = d <= kWidest;
  switch (mode.load()) {
    case ScreenMode::kAlways:
      return {prefix, dense && d > kKept[0], dense && d > kKept[0]};
    case ScreenMode::kWide:
      return {prefix, dense && d > kKept[1], false};
    case ScreenMode::kGrouped:
      return {false, dense, dense};
    case ScreenMode::kDense:
      return {false, dense, false};
    case ScreenMode::kNever:
      return {false, false, false};
    case ScreenMode::kAuto:
    case ScreenMode::kBoxes:
    case ScreenMode::kProducts:
    case ScreenMode::kCodes:
    case ScreenMode::kPasses:
    case ScreenMode::kNearCentres:
      break;
  }
  // A dense code costs as much as about 60 dense products, a prefix's basis some 20 ms (10^7 dense
  // products), and a prefix code as much as about 500 dense products.
  if (pairs * static_cast<double>(d) < 1e6) return {false, false, false};
  const bool worth = pairs > 3e7 && columns > 1000.0;
  const bool narrow = d <= kKept[0];
  return {prefix && (worth || (narrow && pairs > 3e6)), dense && !narrow,
          dense && !narrow && pairs > 1e8 && columns > 4000.0};
}

namespace {

// Codes are four products in one, but are learned first; and the more is asked for, the more
// columns take a second look, as nothing but products tells how good the best ones are. Where all
// columns are asked about, products of few rows are worked out once for both of a pair.
bool suits_products(double pairs, int64_t d, Asked asked) {
  const double work = pairs * static_cast<double>(d);
  switch (asked) {
    case Asked::kAll:
      return d <= 20 || work <= 3e6;
    case Asked::kEarlier:
      return d <= 32 || work <= 1e7;
    case Asked::kBest:
      return d <= 32 || work <= 1e7 || pairs <= 1.6e5;
    case Asked::kSeveral:
      return d <= 48 || work <= 1.2e8 || pairs <= 1.1e6;
  }
  return false;
}

// What blocks take where they may.
BlockKind block_kind(double pairs, double columns, int64_t d, Asked asked) {
  if (d > kWidest || screens_forced()) return BlockKind::kNone;
  if (mode.load() == ScreenMode::kProducts) return BlockKind::kProducts;
  if (mode.load() == ScreenMode::kCodes) return BlockKind::kCodes;
  constexpr double kMostBytes = 1 << 26;                  // of a small input's codes
  const double bytes = 8.0 * static_cast<double>(d + 1);  // a row, or the columns beside it
  // Few columns are confirmed as fast.
  if (columns < 16.0 || (pairs / columns) * bytes > kMostBytes || columns * bytes > kMostBytes) {
    return BlockKind::kNone;
  }
  return suits_products(pairs, d, asked) ? BlockKind::kProducts : BlockKind::kCodes;
}

// Beyond, a prefix or groups are the better choice.
double most_pairs(int64_t d, Asked asked) {
  switch (asked) {
    case Asked::kAll:
      // A narrow prefix leaves little but what is near the bar, unless nearly all is.
      return d <= 20 && d > 4 ? 3e6 : 3e7;
    case Asked::kEarlier:
    case Asked::kBest:
      return d <= 2 ? 1e9 : 3e7;  // rows lie nearer to each other than codes tell
    case Asked::kSeveral:
      return d <= 32 ? 1e9 : 1.5e8;
  }
  return 0.0;
}

}  // namespace

BlockKind plan_block(double pairs, double columns, int64_t d, Asked asked) {
  const BlockKind kind = block_kind(pairs, columns, d, asked);
  const bool chosen = mode.load() == ScreenMode::kProducts || mode.load() == ScreenMode::kCodes;
  return chosen || pairs <= most_pairs(d, asked) ? kind : BlockKind::kNone;
}

BlockKind plan_grouped_block(double pairs, double columns, double most, int64_t d, Asked asked) {
  constexpr double kMost = 2500.0;  // columns, whose codes of a typical width lie in L2
  return most <= kMost ? block_kind(pairs, columns, d, asked)
                       : plan_block(pairs, columns, d, asked);
}

void use_screen(ScreenMode chosen) { mode = chosen; }

bool boxes_forced() { return mode == ScreenMode::kBoxes; }

bool passes_forced() { return mode == ScreenMode::kPasses; }

bool near_forced() { return mode == ScreenMode::kNearCentres; }

bool screens_forced() {
  return mode == ScreenMode::kAlways || mode == ScreenMode::kWide || mode == ScreenMode::kGrouped ||
         mode == ScreenMode::kDense || mode == ScreenMode::kNever;
}

bool products_forced() { return mode == ScreenMode::kProducts; }

bool groups_forced() { return mode == ScreenMode::kAlways || mode == ScreenMode::kGrouped; }

}  // namespace meddel

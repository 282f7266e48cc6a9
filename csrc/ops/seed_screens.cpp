#include "ops/seed_screens.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/copies.h"
#include "cpu/isa.h"
#include "ops/catch_up.h"
#include "screen/bounds.h"
#include "screen/plan.h"

namespace meddel {
namespace {

// A row's dense code costs as much as comparing it so many times.
constexpr int64_t kIdle = 4;

// Codes, and what a row that changes takes more than in a plain pass, pay from about so many seeds
// on (1,000 to 100,000 rows), in the second case where rows are no wider than a prefix.
constexpr int64_t kFewSeeds = 48, kFewNarrow = 256;
constexpr double kPairs = 5e6;                 // for a prefix to be tried
constexpr double kOwn = 2e7;                   // that own lengths take off a sum
constexpr int64_t kCached = int64_t{1} << 24;  // bytes that a cache holds, about

// The length of a code's point in steps, from bytes with the kernels' bias; not below it.
double length_of(const uint8_t* bytes, int64_t kept) {
  const int32_t bias = kernels().bias;
  int64_t square = 0;
  for (int64_t c = 0; c < kept; ++c) {
    const int32_t q = static_cast<int8_t>(bytes[c] - bias);
    square += q * q;
  }
  return std::sqrt(static_cast<double>(square)) * (1.0 + 1e-12);
}

// What own lengths take off a sum.
int32_t saving(double length, double step) {
  return static_cast<int32_t>(std::clamp(length / (step * step) * (1.0 - 1e-9) - 1e-6, 0.0, kOwn));
}

}  // namespace

SeedScreens::SeedScreens(Team& team, const Positions& sample_rows, int64_t size, Metric metric,
                         int64_t seeds, int64_t bytes, Rows rows, Weight weight)
    : metric_(metric), size_(size), bytes_(bytes), weight_(std::move(weight)) {
  const double pairs = static_cast<double>(size) * static_cast<double>(seeds);
  ScreenPlan plan = plan_screens(pairs, static_cast<double>(size), sample_rows.x.d);
  if (!plan.prefix && !plan.dense) return;
  if (seeds < (plan.dense ? kFewSeeds : kFewNarrow) && !screens_forced()) return;
  // A prefix saves more than in a scan, where codes are used from a cache.
  if (plan.dense && pairs > kPairs && !screens_forced()) plan.prefix = true;
  const Sample sample(metric, sample_rows, sample_rows, plan);
  if (plan.dense) refined_ = Stage{Screen::dense(sample), false};
  if (plan.prefix) {
    auto prefix =
        choose_prefix(team, sample, refined_ ? &refined_->screen : nullptr, sample_rows,
                      sample_rows, pairs, typical_bar(sample, seeds / 2), Reading::kStreamed);
    if (prefix) streamed_ = Stage{std::move(*prefix), true};
  }
  if (rows == Rows::kElsewhere) {
    share_out(bytes);
    return;
  }
  if (!streamed_) {
    std::swap(streamed_, refined_);
    streamed_->packed = true;
  }
  make_room(*streamed_, bytes);
  if (refined_ && screens_forced()) make_room(*refined_, bytes);
}

bool SeedScreens::slow() const {
  return static_cast<int64_t>(streamed_->codes.size()) > kCached || screens_forced();
}

int64_t SeedScreens::stride(const Stage& stage) {
  const int64_t width = stage.screen.width();
  return stage.packed ? width : chunked(width);
}

void SeedScreens::make_room(Stage& stage, int64_t bytes) {
  const int64_t most = std::max(bytes, int64_t{0}) / stride(stage);
  stage.count = most >= size_ ? size_ : most / kRows * kRows;
  const auto padded = static_cast<size_t>(round_up(stage.count, kBlockColumns));
  stage.codes.resize(padded * static_cast<size_t>(stride(stage)));
  stage.share.resize(padded);
  stage.start.resize(padded, Screen::never());
  const auto blocks = static_cast<size_t>((stage.count + kRows - 1) / kRows);
  stage.rounding.resize(blocks);
  stage.longest.resize(blocks);
}

// Codes, shares and starts, within so many bytes: the dense ones alone if they have just room, as
// they leave the fewest, or those of a prefix and of some positions.
void SeedScreens::share_out(int64_t bytes) {
  const int64_t prefix = streamed_ ? row_bytes(*streamed_) : 0;
  const int64_t dense = refined_ ? row_bytes(*refined_) : 0;
  if (refined_ && dense * size_ <= bytes && (prefix + dense) * size_ > bytes) streamed_.reset();
  for (auto* stage : {&streamed_, &refined_}) {
    if (!*stage) continue;
    make_room(**stage, bytes / row_bytes(**stage) * stride(**stage));
    bytes -= row_bytes(**stage) * (*stage)->count;
  }
}

int64_t SeedScreens::bytes() const {
  int64_t out = 0;
  for (const auto* stage : {&streamed_, &refined_}) {
    if (*stage) out += row_bytes(**stage) * (*stage)->count;
  }
  return out;
}

int64_t SeedScreens::row_bytes(const Stage& stage) {
  return stride(stage) + int64_t{2 * sizeof(int32_t)};
}

void SeedScreens::encode(Team& team, const Positions& part, int64_t begin) {
  for (auto* stage : {&streamed_, &refined_}) {
    if (*stage && (*stage)->count > 0) encode(team, **stage, part, begin);
  }
}

void SeedScreens::encode(Team& team, Stage& stage, const Positions& part, int64_t begin) {
  const int64_t width = stage.screen.width();
  const auto rows = static_cast<int64_t>(part.rows.size());
  const int64_t count = std::min(rows, stage.count - begin);
  if (count <= 0) return;
  team.run_range(count, kRows, [&](int64_t first, int64_t end, int) {
    const RowCodes made = stage.screen.encode_rows(part, first, end);
    const std::vector<int64_t> all = count_up(end - first);
    Codes codes = made.pack(all.data(), end - first, width);
    double rounding = kInfinity, longest = 0.0;
    for (int64_t k = 0; k < end - first; ++k) {
      if (!made.fits(k)) continue;
      rounding = std::min(rounding, made.tau[k]);
      longest = std::max(longest, length_of(&made.bytes[k * width], stage.screen.kept()));
    }
    const int64_t at = begin + first;
    stage.rounding[at / kRows] = std::isinf(rounding) ? 0.0 : rounding;
    stage.longest[at / kRows] = stage.screen.step() * longest;
    std::copy_n(codes.start.begin(), end - first, &stage.share[at]);
    if (!stage.packed) codes.packed = codes.unpack(width);
    std::copy(codes.packed.begin(), codes.packed.end(), &stage.codes[at * stride(stage)]);
    for (int64_t p = at; p < begin + end; ++p) stage.start[p] = start(stage, p);
  });
}

int32_t SeedScreens::start(const Stage& stage, int64_t p) const {
  const int32_t share = stage.share[p];
  const double weight = weight_(p);
  if (weight == 0.0) return Screen::never();
  return share == kSurvives ? share : share + stage.screen.start(0, bar_of(metric_, weight));
}

void SeedScreens::lower(int64_t p) {
  for (auto* stage : {&streamed_, &refined_}) {
    if (*stage && p < (*stage)->count) (*stage)->start[p] = start(**stage, p);
  }
}

SeedScreens::Probe SeedScreens::probe(const Positions& seeds) const {
  const auto count = static_cast<int64_t>(seeds.rows.size());
  if (!streamed_) return {{}, std::vector<double>(static_cast<size_t>(count), 0.0)};
  const Screen& screen = streamed_->screen;
  Probe out{screen.encode_rows(seeds, 0, count), {}};
  for (int64_t k = 0; k < count; ++k) {
    out.length.push_back(screen.step() *
                         length_of(&out.codes.bytes[k * screen.width()], screen.kept()));
  }
  return out;
}

void SeedScreens::left(const Probe& seeds, int64_t begin, int64_t end, uint16_t* positions,
                       int32_t* counts) const {
  const auto count = static_cast<int64_t>(seeds.length.size());
  if (!streamed_ || begin >= streamed_->count) {
    for (int64_t k = 0; k < count; ++k) {
      std::iota(positions + k * kRows, positions + k * kRows + (end - begin), uint16_t{0});
      counts[k] = static_cast<int32_t>(end - begin);
    }
    return;
  }
  const Screen& screen = streamed_->screen;
  const double rounding = streamed_->rounding[begin / kRows];
  const double shorter = screen.longest() - streamed_->longest[begin / kRows];
  int32_t starts[kAtOnce];
  for (int64_t k = 0; k < seeds.codes.size(); ++k) {
    starts[k] = seeds.codes.share[k];
    if (!seeds.codes.fits(k)) continue;
    starts[k] -=
        saving((screen.longest() - seeds.length[k]) * rounding + shorter * seeds.codes.tau[k],
               screen.step());
  }
  kernels().screen(seeds.codes.bytes.data(), starts, count == 1 ? 1 : seeds.codes.size(),
                   &streamed_->codes[begin * screen.width()], &streamed_->start[begin],
                   round_up(end - begin, kBlockColumns) / kBlockColumns, screen.width(), positions,
                   kRows, counts);
}

std::optional<FineCode> SeedScreens::fine(const Positions& side, int64_t p) const {
  if (!refined_ || refined_->count == 0) return std::nullopt;
  return refined_->screen.encode_fine(side, p);
}

int32_t SeedScreens::refine(const FineCode& seed, int64_t begin, uint16_t* positions,
                            int32_t count) const {
  if (begin >= refined_->count || seed.share == kSurvives) return count;
  const Screen& screen = refined_->screen;
  const double spare = (screen.factor() - seed.length) * refined_->rounding[begin / kRows];
  return kernels().refine_fine(seed.high.data(), seed.low.data(),
                               seed.share - saving(spare, screen.step()),
                               &refined_->codes[begin * chunked(screen.width())],
                               &refined_->start[begin], screen.width(), positions, count);
}

void SeedScreens::learn(Team& team, const Positions& all, int64_t compared, int64_t nearer) {
  if (!refined_ || refined_->count > 0) return;
  idle_ += compared - nearer;
  if (idle_ <= kIdle * size_) return;
  make_room(*refined_, bytes_ - static_cast<int64_t>(streamed_->codes.size()));
  encode(team, *refined_, all, 0);
}

}  // namespace meddel

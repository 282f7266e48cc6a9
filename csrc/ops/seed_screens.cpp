#include "ops/seed_screens.h"

#include <algorithm>
#include <numeric>

#include "cpu/isa.h"
#include "ops/catch_up.h"
#include "screen/bounds.h"
#include "screen/plan.h"
#include "screen/scan_screens.h"

namespace meddel {
namespace {

// A row's dense code costs as much as comparing it so many times.
constexpr int64_t kIdle = 4;

// Codes, and what a row that changes takes more than in a plain pass, pay from about so many seeds
// on (1,000 to 100,000 rows), in the second case where rows are no wider than a prefix.
constexpr int64_t kFewSeeds = 48, kFewNarrow = 256;
constexpr double kPairs = 5e6;  // for a prefix to be tried

}  // namespace

SeedScreens::SeedScreens(Team& team, const ScanSide& side, Metric metric,
                         const std::vector<double>& weights, int64_t seeds)
    : side_(side), metric_(metric), weights_(weights) {
  const double pairs = static_cast<double>(side.size()) * static_cast<double>(seeds);
  ScreenPlan plan = plan_screens(pairs, static_cast<double>(side.size()), side.x->d);
  if (!plan.prefix && !plan.dense) return;
  if (seeds < (plan.dense ? kFewSeeds : kFewNarrow) && !screens_forced()) return;
  // A prefix saves more than in a scan, where codes are used from a cache.
  if (plan.dense && pairs > kPairs && !screens_forced()) plan.prefix = true;
  const Positions positions = side.positions();
  const Sample sample(metric, positions, positions, plan);
  if (plan.dense) refined_ = Stage{Screen::dense(sample), false};
  if (plan.prefix) {
    auto prefix =
        choose_prefix(team, sample, refined_ ? &refined_->screen : nullptr, positions, positions,
                      pairs, typical_bar(sample, seeds / 2), Reading::kStreamed);
    if (prefix) streamed_ = Stage{std::move(*prefix), true};
  }
  if (!streamed_) {
    std::swap(streamed_, refined_);
    streamed_->packed = true;
  }
  encode(team, *streamed_);
  if (refined_ && screens_forced()) encode(team, *refined_);
}

void SeedScreens::encode(Team& team, Stage& stage) {
  const int64_t width = stage.screen.width(), stride = stage.packed ? width : chunked(width);
  const auto taken = static_cast<int64_t>(streamed_->codes.size());
  const int64_t most = kept_bytes(*side_.x, taken) / stride;
  stage.count = most >= side_.size() ? side_.size() : most / kRows * kRows;
  const int64_t padded = round_up(stage.count, kBlockColumns);
  stage.codes.resize(static_cast<size_t>(padded * stride));
  stage.share.resize(static_cast<size_t>(padded));
  stage.start.resize(static_cast<size_t>(padded), Screen::never());
  team.run_range(stage.count, kRows, [&](int64_t begin, int64_t end, int) {
    Codes part = stage.screen.encode(side_.positions(), begin, end);
    std::copy(part.start.begin(), part.start.end(), &stage.share[begin]);
    if (!stage.packed) part.packed = part.unpack(width);
    std::copy(part.packed.begin(), part.packed.end(), &stage.codes[begin * stride]);
    for (int64_t p = begin; p < end; ++p) stage.start[p] = start(stage, p);
  });
}

int32_t SeedScreens::start(const Stage& stage, int64_t p) const {
  const int32_t share = stage.share[p];
  const double weight = weights_[side_.rows[p]];
  if (weight == 0.0) return Screen::never();
  return share == kSurvives ? share : share + stage.screen.start(0, bar_of(metric_, weight));
}

void SeedScreens::lower(int64_t p) {
  for (auto* stage : {&streamed_, &refined_}) {
    if (*stage && p < (*stage)->count) (*stage)->start[p] = start(**stage, p);
  }
}

SeedScreens::Probe SeedScreens::probe(int64_t p) const {
  Probe out;
  out.streamed = streamed_->screen.encode_rows(side_.positions(), p, p + 1);
  if (refined_ && refined_->count > 0)
    out.refined = refined_->screen.encode_rows(side_.positions(), p, p + 1);
  return out;
}

int32_t SeedScreens::left(const Probe& seed, int64_t begin, int64_t end,
                          uint16_t* positions) const {
  if (begin >= streamed_->count) {
    std::iota(positions, positions + (end - begin), uint16_t{0});
    return static_cast<int32_t>(end - begin);
  }
  const int64_t width = streamed_->screen.width();
  int32_t count;
  kernels().screen(seed.streamed.bytes.data(), seed.streamed.share.data(), 1,
                   &streamed_->codes[begin * width], &streamed_->start[begin],
                   round_up(end - begin, kBlockColumns) / kBlockColumns, width, positions, kRows,
                   &count);
  if (!refined_ || begin >= refined_->count) return count;
  const int64_t dense = refined_->screen.width();
  return kernels().refine(seed.refined.bytes.data(), seed.refined.share[0],
                          &refined_->codes[begin * chunked(dense)], &refined_->start[begin], dense,
                          positions, count);
}

void SeedScreens::learn(Team& team, int64_t compared, int64_t nearer) {
  if (!refined_ || refined_->count > 0) return;
  idle_ += compared - nearer;
  if (idle_ > kIdle * side_.size()) encode(team, *refined_);
}

}  // namespace meddel

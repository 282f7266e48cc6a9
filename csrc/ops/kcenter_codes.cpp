#include "ops/kcenter_codes.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "screen/plan.h"
#include "screen/points.h"
#include "screen/scan_screens.h"

namespace meddel {

RowStore::RowStore(const Screen& screen, const ScanSide& all) : screen_(screen), all_(all) {
  const int64_t n = all.x->n, bytes = n * screen.width();
  if (bytes > kept_bytes(*all.x, 0)) return;
  bytes_.reset(static_cast<uint8_t*>(std::malloc(static_cast<size_t>(bytes))));
  if (bytes_) share_.assign(static_cast<size_t>(n), kMissing);
}

RowCodes RowStore::operator()(const int64_t* rows, int64_t count) const {
  if (!bytes_) {
    const std::vector<int64_t> asked(rows, rows + count);
    return screen_.encode_rows({*all_.x, all_.norms, asked}, 0, count);
  }
  make(rows, count);
  const int64_t width = screen_.width(), padded = round_up(count, 4);
  RowCodes out{std::vector<uint8_t>(static_cast<size_t>(padded * width + kChunk)),
               std::vector<int32_t>(static_cast<size_t>(padded), Screen::never()),
               {}};
  for (int64_t k = 0; k < count; ++k) {
    std::memcpy(&out.bytes[k * width], &bytes_[rows[k] * width], static_cast<size_t>(width));
    out.share[k] = share_[rows[k]];
  }
  return out;
}

void RowStore::make(const int64_t* rows, int64_t count) const {
  std::vector<int64_t> missing;
  for (int64_t k = 0; k < count; ++k) {
    if (share_[rows[k]] == kMissing) missing.push_back(rows[k]);
  }
  if (missing.empty()) return;
  const int64_t width = screen_.width(), made = static_cast<int64_t>(missing.size());
  const RowCodes codes = screen_.encode_rows({*all_.x, all_.norms, missing}, 0, made);
  for (int64_t k = 0; k < made; ++k) {
    std::memcpy(&bytes_[missing[k] * width], &codes.bytes[k * width], static_cast<size_t>(width));
    share_[missing[k]] = codes.share[k];
  }
}

CentreScreen::CentreScreen(Screen screen, const ScanSide& rows, bool listed)
    : screen_(std::move(screen)),
      rows_(screen_, rows),
      listed_(listed),
      stride_(listed ? chunked(screen_.width()) : screen_.width()) {}

void CentreScreen::extend(const ScanSide& centres) {
  const int64_t whole = count_ / kBlockColumns * kBlockColumns, width = screen_.width();
  if (std::exchange(count_, centres.size()) == centres.size()) return;
  Codes tail = screen_.encode(centres.positions(), whole, count_);
  if (listed_ && whole < kBeginning) {
    beginning_.resize(static_cast<size_t>(whole * width));
    beginning_.insert(beginning_.end(), tail.packed.begin(), tail.packed.end());
    beginning_.resize(std::min(beginning_.size(), static_cast<size_t>(kBeginning * width)));
  }
  if (listed_) tail.packed = tail.unpack(width);
  codes_.resize(static_cast<size_t>(whole * stride_));
  starts_.resize(static_cast<size_t>(whole));
  codes_.insert(codes_.end(), tail.packed.begin(), tail.packed.end());
  starts_.insert(starts_.end(), tail.start.begin(), tail.start.end());
}

CentreScreens::CentreScreens(Team& team, const ScanSide& rows, Metric metric, int64_t k) {
  const double pairs = static_cast<double>(rows.size()) * static_cast<double>(k);
  const ScreenPlan plan = plan_screens(pairs, static_cast<double>(rows.size()), rows.x->d);
  if (!plan.prefix && !plan.dense) return;
  const Positions positions = rows.positions();
  const Sample sample(metric, positions, positions, plan);
  std::optional<Screen> dense, prefix;
  if (plan.dense) dense = Screen::dense(sample);
  if (plan.prefix) {
    prefix = choose_prefix(team, sample, dense ? &*dense : nullptr, positions, positions, pairs,
                           typical_bar(sample, k / 2));
  }
  if (prefix) first = std::make_unique<CentreScreen>(std::move(*prefix), rows, false);
  if (dense) {
    auto& place = first ? second : first;
    place = std::make_unique<CentreScreen>(std::move(*dense), rows, first != nullptr);
  }
}

void CentreScreens::extend(const ScanSide& centres) {
  first->extend(centres);
  if (second) second->extend(centres);
}

}  // namespace meddel

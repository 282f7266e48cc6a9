#include "screen/scan_screens.h"

#include <algorithm>
#include <utility>

#include "screen/groups.h"
#include "screen/plan.h"

namespace meddel {
namespace {

// Of a small input's codes, and of a large one's.
constexpr int64_t kKeptBytes = int64_t{1} << 26;
constexpr double kKeptShare = 0.17;
// Of the columns where rows are told apart: they come back to a tile for few rows, which must not
// have its codes made for them. All of fp32 rows.
constexpr double kKeptByRow = 0.27;

// The share of all pairs of some rows of x and the members of groups that reach a bar.
double left_by_row(const RowReach& reach, const Screen& dense, const Positions& x,
                   const std::vector<int32_t>& group, const std::vector<int64_t>& members,
                   double bar) {
  constexpr int64_t kAsked = 256;
  const int64_t size = static_cast<int64_t>(x.rows.size()), count = std::min(size, kAsked);
  std::vector<int64_t> rows(static_cast<size_t>(count));
  std::vector<int32_t> own(rows.size());
  for (int64_t k = 0; k < count; ++k) {
    rows[k] = x.rows[k * size / count];
    own[k] = group[k * size / count];
  }
  const RowCodes codes = dense.encode_rows(Positions{x.x, x.norms, rows}, 0, count);
  std::vector<float> points(members.size() * rows.size());
  reach.measure(codes, own.data(), count, count, points.data());
  const double wanted = dense.wanted(bar);
  double left = 0.0, all = 0.0;
  for (size_t at = 0; at < points.size(); ++at) {
    const auto pairs = static_cast<double>(members[at / rows.size()]);
    all += pairs;
    if (static_cast<double>(points[at]) >= wanted) left += pairs;
  }
  return left / all;
}

int64_t kept_share(const Matrix& x, double share, int64_t taken) {
  const double input = static_cast<double>(x.n * x.row_bytes());
  return std::max(kKeptBytes, static_cast<int64_t>(share * input - static_cast<double>(taken)));
}

}  // namespace

int64_t kept_bytes(const Matrix& x, int64_t taken) { return kept_share(x, kKeptShare, taken); }

DenseRows::DenseRows(Team& team, const Screen& dense, const ScanSide& all) : dense_(dense) {
  if (all.size() * dense.width() > kKeptBytes) return;
  held_ = dense.encode_rows(team, all.positions());
}

RowCodes DenseRows::operator()(const ScanSide& side, int64_t begin, int64_t end) const {
  return held_ ? held_->gather(&side.rows[begin], end - begin, dense_.width())
               : dense_.encode_rows(side.positions(), begin, end);
}

ScanScreens::ScanScreens(Team& team, Metric metric, ScanSide& x, ScanSide& y, double pairs,
                         double regroup, std::optional<double> bar, const Several& several) {
  const ScreenPlan plan = plan_screens(pairs, pairs / static_cast<double>(x.size()), x.x->d);
  if (!plan.prefix && !plan.dense) return;
  const Sample sample(metric, x.positions(), y.positions(), plan);
  const bool asks = plan.prefix || plan.groups;
  const double typical = bar || !asks ? bar.value_or(0.0) : typical_bar(sample);
  if (plan.dense) {
    dense_ = Screen::dense(sample);
    screening_.dense = &*dense_;
    screening_.x_dense = [this, &x](int64_t begin, int64_t end) {
      return dense_->encode_rows(x.positions(), begin, end);
    };
    if (plan.groups && regroup > 0.0) {
      pairs *= group(team, x, y, regroup, typical, several.by_row);
    }
    pairs -= static_cast<double>(several.opened) * static_cast<double>(x.size());
  }
  if (plan.prefix) {
    prefix_ =
        choose_prefix(team, sample, screening_.dense, x.positions(), y.positions(), pairs, typical);
  }
  if (prefix_) {
    screening_.prefix = &*prefix_;
    y_codes_ = prefix_->encode(team, y.positions());
    screening_.y_codes = &y_codes_;
    screening_.x_codes = [this, &x](int64_t begin, int64_t end) {
      return prefix_->encode_rows(x.positions(), begin, end);
    };
  }
  if (dense_) keep_tiles(y);
}

void ScanScreens::keep_tiles(const ScanSide& y) {
  const int64_t tiles = (y.size() + scan::kTileColumns - 1) / scan::kTileColumns;
  const int64_t bytes = kept_share(*y.x, row_reach_ ? kKeptByRow : kKeptShare,
                                   static_cast<int64_t>(y_codes_.packed.size()));
  const int64_t kept = std::min(tiles, bytes / (scan::kTileColumns * dense_->width()));
  kept_.resize(static_cast<size_t>(kept));
  made_ = std::make_unique<std::once_flag[]>(static_cast<size_t>(kept));
  screening_.y_dense = [this, &y, kept](int64_t begin, Codes& own) -> const Codes& {
    const int64_t tile = begin / scan::kTileColumns;
    const int64_t end = std::min(begin + scan::kTileColumns, y.size());
    const auto encode = [&](Codes& out) { out = dense_->encode(y.positions(), begin, end); };
    if (tile >= kept) {
      encode(own);
      return own;
    }
    std::call_once(made_[tile], [&] { encode(kept_[tile]); });
    return kept_[tile];
  };
}

double ScanScreens::group(Team& team, ScanSide& x, ScanSide& y, double regroup, double bar,
                          bool by_row) {
  const Groups groups(team, *dense_, y.positions());
  const bool one_side = &x == &y;
  Groups::Side columns = groups.assign(team, y.positions());
  Groups::Side others;
  if (!one_side) others = groups.assign(team, x.positions());
  Groups::Side& rows = one_side ? columns : others;
  std::vector<double> reach = groups.reach(rows, columns);
  double left = groups.left_over(rows, columns, reach, bar);
  if (by_row) {
    row_reach_ = groups.row_reach(columns);
    left = left_by_row(*row_reach_, *dense_, x.positions(), rows.group, columns.members, bar);
    screening_.row_reach = &*row_reach_;
  }
  if (!groups_forced() && left > regroup) {
    screening_.row_reach = nullptr;
    row_reach_.reset();
    return 1.0;
  }
  screening_.groups = groups.count();
  screening_.reach = std::move(reach);
  const auto arrange = [&](ScanSide& side, std::vector<int32_t> group) {
    const std::vector<int64_t> order = by_group(group, groups.count());
    std::vector<int64_t> moved(order.size());
    std::vector<int32_t> sorted(order.size());
    for (size_t p = 0; p < order.size(); ++p) {
      moved[p] = side.rows[order[p]];
      sorted[p] = group[order[p]];
    }
    side.rows = std::move(moved);
    return sorted;
  };
  screening_.y_begin.assign(1, 0);
  for (const int64_t members : columns.members) {
    screening_.y_begin.push_back(screening_.y_begin.back() + members);
  }
  screening_.y_group = arrange(y, std::move(columns.group));
  screening_.x_group = one_side ? screening_.y_group : arrange(x, std::move(rows.group));
  return left;
}

namespace scan {

double Screening::highest(int64_t begin, int64_t end, int64_t first, int64_t last) const {
  double out = -kInfinity;
  int32_t before = -1;
  for (int64_t p = begin; p < end; ++p) {
    if (x_group[p] == before) continue;
    before = x_group[p];
    // Groups stand in order: all between the first and the last are there, or have no members.
    const double* row = &reach[before * groups];
    for (int64_t b = y_group[first]; b <= y_group[last - 1]; ++b) out = std::max(out, row[b]);
  }
  return out;
}

}  // namespace scan
}  // namespace meddel

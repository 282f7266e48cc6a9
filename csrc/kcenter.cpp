#include "kcenter.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "cpu/isa.h"
#include "pair_scan.h"
#include "truth.h"

namespace meddel {
namespace {

// A row's distance to its nearest centre only shrinks, so a stale one is an upper bound. Rows whose
// bound is above a threshold are `active` and kept exact; all others are left alone until the
// farthest active row falls to the threshold. Then it is lowered, and the rows that come above it
// catch up with the centres that they have not seen: many rows with many centres at a time, which
// screens can do, instead of all rows with one centre at a time, which is bound by memory. Each
// (row, centre) pair is looked at once at most, nearly all of them in the screens.

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kTaken = -1.0;    // below every distance: a centre is never the farthest
constexpr int64_t kActive = 1024;  // rows to make active at a time: 3 MiB of 768 fp32, within L3

struct State {
  double nearest = kInfinity;  // distance to the nearest of the centres seen
  int64_t seen = 0;            // centres, the first ones, that it takes account of
};

// The truth's distance of the rows i and j, squared for the Euclidean metric.
double pair_distance(const ScanSide& side, Metric metric, double inner, int64_t i, int64_t j) {
  return metric == Metric::kCosine ? cosine_distance(cosine(inner, side.norms[i], side.norms[j]))
                                   : squared_distance(inner, side.squares[i], side.squares[j]);
}

// Rows that catch up: the operation of a pair scan of some rows against the latest centres.
class CatchUp {
 public:
  CatchUp(const ScanSide& x, const ScanSide& centres, Metric metric, int64_t first,
          std::vector<State>& state)
      : x_(x), centres_(centres), metric_(metric), first_(first), state_(state) {
    for (const int64_t i : centres.rows) {
      least_ = std::min(least_, centres.norms[i]);
      greatest_ = std::max(greatest_, centres.norms[i]);
    }
  }

  ColumnRange range(int64_t p) const { return {state_[x_.rows[p]].seen - first_, centres_.size()}; }

  double bar(int64_t p) const {
    const double best = state_[x_.rows[p]].nearest;
    if (best == kInfinity) return -kInfinity;
    if (metric_ == Metric::kCosine) return 1.0 - best - 0x1p-50;
    return cosine_for_distance(x_, p, best, least_, greatest_);
  }

  void take(int64_t p, int64_t q, double inner) {
    const int64_t row = x_.rows[p];
    const double distance = pair_distance(x_, metric_, inner, row, centres_.rows[q]);
    double& nearest = state_[row].nearest;
    nearest = std::min(nearest, distance);
  }

  void finish_band(int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) state_[x_.rows[p]].seen = first_ + centres_.size();
  }

 private:
  const ScanSide& x_;
  const ScanSide& centres_;
  const Metric metric_;
  const int64_t first_;
  std::vector<State>& state_;
  double least_ = kInfinity;
  double greatest_ = 0.0;
};

class Greedy {
 public:
  Greedy(const Matrix& x, int64_t k, Metric metric, const Context& context)
      : x_(x),
        metric_(metric),
        team_(context),
        rows_(all_rows(team_, x)),
        centres_(rows_),
        dots_(kernels().dots[static_cast<int>(x.dtype)]),
        state_(static_cast<size_t>(x.n)) {
    centres_.rows.clear();
    const ScreenPlan plan = plan_screens(static_cast<double>(x.n) * static_cast<double>(k),
                                         static_cast<double>(x.n), x.d);
    if (plan.prefix) {
      prefix_ = Screen::prefix(team_, rows_.positions(), rows_.positions());
      codes_ = prefix_->encode_rows(team_, rows_.positions());
    }
    if (plan.dense) dense_ = Screen::dense(rows_.positions(), rows_.positions());
    rows_.rows.clear();
  }

  void add(int64_t centre) {
    chosen_.push_back(centre);
    state_[centre] = {kTaken, std::numeric_limits<int64_t>::max()};
  }

  // The row, not a centre, that is farthest from all centres. Requires a centre and a row.
  int64_t farthest() {
    update_active();
    if (farthest_ < 0 || state_[farthest_].nearest <= threshold_) refill();
    return farthest_;
  }

  double distance(int64_t row) const { return shown(state_[row].nearest); }

  std::vector<double> distances() {
    std::vector<int64_t> all;
    for (int64_t i = 0; i < x_.n; ++i) all.push_back(i);
    catch_up(std::move(all));
    std::vector<double> out;
    for (const State& state : state_) out.push_back(shown(std::max(0.0, state.nearest)));
    return out;
  }

 private:
  double shown(double distance) const {
    return metric_ == Metric::kCosine ? distance : std::sqrt(distance);
  }

  int64_t centres() const { return static_cast<int64_t>(chosen_.size()); }

  // Takes account of the last centre in the active rows, and finds the farthest of them.
  void update_active() {
    const int64_t count = static_cast<int64_t>(active_.size()), centre = chosen_.back();
    inner_.resize(active_.size());
    dots_(x_.row(centre), x_.data, x_.ld, active_.data(), count, x_.d, inner_.data());
    farthest_ = -1;
    for (int64_t k = 0; k < count; ++k) {
      State& state = state_[active_[k]];
      if (state.nearest == kTaken) continue;
      const double distance = pair_distance(rows_, metric_, inner_[k], active_[k], centre);
      state.nearest = std::min(state.nearest, distance);
      state.seen = centres();
      offer(active_[k]);
    }
  }

  void offer(int64_t row) {
    const double d = state_[row].nearest;
    const double best = farthest_ < 0 ? kTaken : state_[farthest_].nearest;
    if (d > best || (d == best && row < farthest_)) farthest_ = row;
  }

  // Lowers the threshold until some row is above it.
  void refill() {
    for (int64_t wanted = kActive;; wanted *= 2) {
      std::vector<int64_t> pending = split(all_left(), wanted);
      catch_up(pending);
      active_.clear();
      for (const int64_t row : pending) {
        if (state_[row].nearest > threshold_) active_.push_back(row);
      }
      if (!active_.empty()) break;
    }
    // The first time, and after a crowd of equal bounds, that may be far too many.
    if (static_cast<int64_t>(active_.size()) > 2 * kActive) {
      const double below = threshold_;
      std::vector<int64_t> top = split(active_, kActive);
      if (static_cast<int64_t>(top.size()) < static_cast<int64_t>(active_.size())) {
        active_ = std::move(top);
      } else {
        threshold_ = below;
      }
    }
    farthest_ = -1;
    for (const int64_t row : active_) offer(row);
  }

  std::vector<int64_t> all_left() const {
    std::vector<int64_t> left;
    for (int64_t i = 0; i < x_.n; ++i) {
      if (state_[i].nearest != kTaken) left.push_back(i);
    }
    return left;
  }

  // The rows with the `wanted` largest bounds, and all that equal the least of these; the threshold
  // becomes the largest bound of the others.
  std::vector<int64_t> split(const std::vector<int64_t>& rows, int64_t wanted) {
    std::vector<double> bounds;
    bounds.reserve(rows.size());
    for (const int64_t row : rows) bounds.push_back(state_[row].nearest);
    const auto least = bounds.begin() + std::min<int64_t>(wanted, bounds.size()) - 1;
    std::nth_element(bounds.begin(), least, bounds.end(), std::greater<double>());
    const double limit = *least;
    std::vector<int64_t> top;
    threshold_ = kTaken;
    for (const int64_t row : rows) {
      const double bound = state_[row].nearest;
      if (bound >= limit) {
        top.push_back(row);
      } else {
        threshold_ = std::max(threshold_, bound);
      }
    }
    return top;
  }

  // Makes the given rows take account of all centres.
  void catch_up(std::vector<int64_t> rows) {
    const auto current = [this](int64_t row) { return state_[row].seen >= centres(); };
    rows.erase(std::remove_if(rows.begin(), rows.end(), current), rows.end());
    if (rows.empty()) return;
    // Rows that have seen as many centres side by side: their tiles are then rectangles.
    std::stable_sort(rows.begin(), rows.end(),
                     [this](int64_t a, int64_t b) { return state_[a].seen < state_[b].seen; });
    const int64_t first = state_[rows[0]].seen;
    rows_.rows = std::move(rows);
    centres_.rows.assign(chosen_.begin() + first, chosen_.end());
    scan::Screening screening;
    const bool screened = centres_.size() >= kBlockColumns;
    if (dense_ && screened) screening.dense = &*dense_;
    if (prefix_ && screened) {
      screening.prefix = &*prefix_;
      screening.y_codes = codes_.pack(centres_.rows.data(), centres_.size(), prefix_->width());
      screening.x_codes = [this](int64_t begin, int64_t end) {
        return codes_.gather(&rows_.rows[begin], end - begin, prefix_->width());
      };
    }
    CatchUp operation(rows_, centres_, metric_, first, state_);
    scan::run(team_, rows_, centres_, screening, operation);
  }

  const Matrix& x_;
  const Metric metric_;
  Team team_;
  ScanSide rows_;     // those that catch up
  ScanSide centres_;  // those that they catch up with
  const DotsFn dots_;
  std::optional<Screen> prefix_;
  std::optional<Screen> dense_;
  RowCodes codes_;  // of all rows
  std::vector<State> state_;
  std::vector<int64_t> chosen_;
  std::vector<int64_t> active_;
  std::vector<double> inner_;
  double threshold_ = kInfinity;
  int64_t farthest_ = -1;
};

}  // namespace

KCenter kcenter_greedy(const Matrix& x, int64_t k, Metric metric, int64_t start,
                       const std::vector<int64_t>& selected, const Context& context) {
  Greedy greedy(x, k, metric, context);
  for (const int64_t centre : selected) greedy.add(centre);
  KCenter out;
  while (static_cast<int64_t>(out.indices.size()) < k) {
    const bool first = selected.empty() && out.indices.empty();
    const int64_t next = first ? start : greedy.farthest();
    out.indices.push_back(next);
    out.radii.push_back(greedy.distance(next));
    greedy.add(next);
  }
  out.distances = greedy.distances();
  return out;
}

}  // namespace meddel

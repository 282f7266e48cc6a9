// k-center greedy of many rows or many centres: what kcenter.h promises, by bounds on the distances
// of rows that are not the farthest.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "base/confirm.h"
#include "base/copies.h"
#include "base/norms.h"
#include "cpu/isa.h"
#include "ops/catch_up.h"
#include "ops/kcenter_codes.h"
#include "ops/kcenter_scan.h"
#include "ops/near_centres.h"
#include "screen/plan.h"

namespace meddel {

// A row's distance to its nearest centre only shrinks, so a stale one is an upper bound. Rows whose
// bound is above a threshold are `active` and kept exact; all others are left alone until the
// farthest active row falls to the threshold. Then it is lowered, and the rows that come above it
// catch up with the centres that they have not seen: many rows with many centres at a time, which
// screens, or products in fp32, can do, instead of all rows with one centre at a time, which is
// bound by memory. Each (row, centre) pair is looked at once at most, nearly all of them there.
//
// Of rows that are equal only the first is looked at: the others are as far as it from all centres,
// and of equal distances the lowest row is chosen. As soon as it, or one of them, is a centre,
// their distance is 0. They are looked for where there are many centres, or a crowd of rows that
// are equally far.
//
// Zero rows, by cosine, have distance 1 to all, each other included, whatever there is: they stand
// aside, and of those that are centres one tells the other rows all that there is to tell.
class GreedyByBounds {
 public:
  // For so many centres in the end.
  GreedyByBounds(const Matrix& x, int64_t k, Metric metric, const Context& context)
      : x_(x),
        metric_(metric),
        k_(k),
        team_(context),
        rows_{&x, {}, {}, {}},
        centres_(rows_),
        pending_(rows_),
        dots_(kernels().dots[static_cast<int>(x.dtype)]),
        rough_dots_(kernels().rough_dots[static_cast<int>(x.dtype)]),
        rough_score_(metric, x.d),
        near_(x, metric),
        bounds_(0),
        most_active_(std::clamp(x.n / 256, kLeastActive, kActive)) {}

  void add(int64_t centre) {
    if (!prepared_) {
      centres_.rows.push_back(centre);
    } else {
      take(centre);
    }
  }

  // Tells that so many of `total` centres are chosen; the last pass over all rows, if there is to
  // be one, counts as `span` more.
  void announce(int64_t done, int64_t total, int64_t span = 0) {
    team_.announce(done, total, span);
    team_.checkpoint(0);
  }

  // Whether every row is a centre, or equal to one. Requires a centre.
  bool covered() {
    const int64_t row = farthest();
    return row < 0 || distance(row) == 0.0;
  }

  // The row, not a centre, that is farthest from all centres, or -1 if those that are left are
  // equal to one. Requires a centre.
  int64_t farthest() {
    prepare();
    const int64_t zero = this->zero();
    if (left_ > 0) {
      update_active();
      if (farthest_ < 0 || active_nearest_[farthest_] <= threshold_) refill();
    }
    if (left_ == 0) return zero;
    const int64_t row = active_[farthest_];
    const double nearest = active_nearest_[farthest_];
    return zero >= 0 && (nearest < 1.0 || (nearest == 1.0 && zero < row)) ? zero : row;
  }

  // The distance of a row that farthest() returned, or of one that has seen no centre.
  double distance(int64_t row) const {
    if (centres() == 0) return kInfinity;
    if (is_zero(row)) return 1.0;
    return shown(active_[farthest_] == row ? active_nearest_[farthest_] : 0.0);
  }

  std::vector<double> distances() {
    prepare();
    update_active();
    write_back();
    catch_up(rows_.rows);
    std::vector<double>& out = bounds_.nearest;
    if (copies_) {  // a first one comes before its copies
      for (int64_t i = 0; i < x_.n; ++i) out[i] = out[copies_->first(i)];
    }
    if (metric_ == Metric::kEuclidean) {
      kernels().roots(out.data(), x_.n);
    } else {
      for (double& value : out) value = std::max(0.0, value);
    }
    for (const int64_t row : zeros_) out[row] = is_taken(row) ? 0.0 : 1.0;
    return std::move(out);
  }

 private:
  static constexpr int64_t kActive = 256;  // rows to have active: 0.4 MiB of 384 fp32, within L2,
  static constexpr int64_t kLeastActive = 64;  // or fewer, where they would be much of all
  // Up to here codes cost more than they save, and up to kFewCentres looking for equal rows.
  static constexpr int64_t kFewCentres = 64;
  static constexpr int64_t kFewElements = 32768;  // of centres
  static constexpr int64_t kFewUnseen = 16;       // centres that take less by products in fp32
  static constexpr int32_t kSeenAll = std::numeric_limits<int32_t>::max();  // of a centre
  static constexpr int64_t kUpdatedRows = 1024;  // by one thread at a time
  static constexpr int64_t kAskedRows = 4096;    // whose bounds tell where the next threshold is
  static constexpr int64_t kFirstRows = 512;     // by one thread at a time

  // The first pass over all rows: their squares, and their distances to the first centre.
  void prepare() {
    if (prepared_) return;
    prepared_ = true;
    const int64_t n = x_.n;
    rows_.rows = count_up(n);
    if (x_.known) rows_.squares = squared_norms(team_, x_);  // else they are made on the way
    rows_.squares.resize(static_cast<size_t>(n));
    bounds_.nearest.resize(static_cast<size_t>(n));
    bounds_.seen.assign(static_cast<size_t>(n), 1);
    team_.run_range(n, kFirstRows, [&](int64_t begin, int64_t end, int) { see_first(begin, end); });
    if (!finite_) require_finite(rows_.squares);
    set_zeros_aside();
    if (k_ > kFewCentres || screens_forced()) keep_first();
    const bool many = k_ > kFewCentres && k_ * x_.d > kFewElements && !near_forced();
    if (many || screens_forced()) {  // by tests, to see them at work
      rows_.norms = roots(rows_.squares);
      if (rows_.size() > 0) screens_.emplace(team_, rows_, metric_, k_);
    }
    centres_.squares = rows_.squares;
    pending_.squares = rows_.squares;
    centres_.norms = rows_.norms;
    pending_.norms = rows_.norms;
    left_ = rows_.size();
    const std::vector<int64_t> before = std::move(centres_.rows);
    centres_.rows.clear();
    for (const int64_t centre : before) take(centre);
  }

  void see_first(int64_t begin, int64_t end) {
    const int64_t first = centres_.rows.front(), type = static_cast<int64_t>(x_.dtype);
    double inner[kFirstRows], own;
    kernels().squares[type](x_.row(first), x_.ld, 1, x_.d, &own);
    if (x_.known) {
      dots_(x_.row(first), x_.row(begin), x_.ld, nullptr, end - begin, x_.d, inner);
    } else {
      kernels().measure[type](x_.row(first), x_.row(begin), x_.ld, end - begin, x_.d, inner,
                              &rows_.squares[begin]);
      if (!all_finite(&rows_.squares[begin], end - begin)) finite_ = false;
    }
    for (int64_t i = begin; i < end; ++i) {
      bounds_.nearest[i] = meddel::distance(metric_, inner[i - begin], rows_.squares[i], own);
    }
  }

  void take(int64_t centre) {
    const bool zero = is_zero(centre);
    if (!zero && (!copies_ || copies_->is_first(centre))) --left_;
    if (!zero || !zero_seen_) centres_.rows.push_back(centre);
    zero_seen_ = zero_seen_ || zero;
    bounds_.nearest[centre] = kTaken;
    bounds_.seen[centre] = kSeenAll;
  }

  bool is_taken(int64_t row) const { return bounds_.seen[row] == kSeenAll; }

  // Leaves the other rows in rows_.
  void set_zeros_aside() {
    if (metric_ == Metric::kEuclidean) return;
    for (const int64_t row : rows_.rows) {
      if (is_zero(row)) zeros_.push_back(row);
    }
    for (const int64_t row : zeros_) bounds_.nearest[row] = kTaken;
    if (!zeros_.empty()) drop_zeros();
  }

  void drop_zeros() {
    const auto zero = [this](int64_t row) { return is_zero(row); };
    rows_.rows.erase(std::remove_if(rows_.rows.begin(), rows_.rows.end(), zero), rows_.rows.end());
  }

  bool is_zero(int64_t row) const {
    return metric_ == Metric::kCosine && rows_.squares[row] == 0.0;
  }

  // The first zero row that is no centre, or -1.
  int64_t zero() {
    while (next_zero_ < zeros_.size() && is_taken(zeros_[next_zero_])) ++next_zero_;
    return next_zero_ < zeros_.size() ? zeros_[next_zero_] : -1;
  }

  // Leaves the first of each kind in rows_.
  void keep_first() {
    looked_for_copies_ = true;
    if (!any_equal(rows_.squares)) return;
    Copies copies(team_, x_, metric_ == Metric::kCosine ? &rows_.squares : nullptr);
    if (!copies.any()) return;
    rows_.rows = copies.distinct;
    if (!zeros_.empty()) drop_zeros();
    std::vector<double> nearest(bounds_.nearest.size(), kTaken);
    for (const int64_t row : rows_.rows) nearest[row] = bounds_.nearest[row];
    bounds_.nearest = std::move(nearest);
    copies_ = std::move(copies);
    left_ = rows_.size() - std::count_if(rows_.rows.begin(), rows_.rows.end(),
                                         [this](int64_t row) { return is_taken(row); });
  }

  double shown(double distance) const {
    return metric_ == Metric::kCosine ? distance : std::sqrt(distance);
  }

  int64_t centres() const { return centres_.size(); }

  // Takes account of the last centres in the active rows, and finds the farthest of them (they
  // stand in rising order).
  void update_active() {
    const int64_t count = static_cast<int64_t>(active_.size());
    for (; up_to_date_ < centres(); ++up_to_date_) {
      const int64_t centre = centres_.rows[up_to_date_];
      if (count <= kUpdatedRows) {
        farthest_ = update(centre, 0, count);
        continue;
      }
      std::vector<int64_t> farthest(static_cast<size_t>((count - 1) / kUpdatedRows + 1));
      team_.run_range(count, kUpdatedRows, [&](int64_t begin, int64_t end, int) {
        farthest[begin / kUpdatedRows] = update(centre, begin, end);
      });
      farthest_ = farthest[0];
      for (const int64_t k : farthest) {
        if (active_nearest_[k] > active_nearest_[farthest_]) farthest_ = k;
      }
    }
  }

  // The same for one centre and some of them: returns the farthest, or -1 of none. Products in fp32
  // take a third of the time of the truth's, which most rows then do without.
  int64_t update(int64_t centre, int64_t begin, int64_t end) {
    float rough[kUpdatedRows];
    double inner[kUpdatedRows];
    int64_t places[kUpdatedRows], rows[kUpdatedRows];
    int64_t count = 0;
    const double square = rows_.squares[centre], norm = std::sqrt(square);
    rough_dots_(x_.row(centre), x_.data, x_.ld, active_.data() + begin, end - begin, x_.d, rough);
    for (int64_t k = begin; k < end; ++k) {
      const int64_t row = active_[k];
      if (row == centre) active_nearest_[k] = kTaken;
      if (active_nearest_[k] == kTaken) continue;
      const double most =
          rough_score_(rough[k - begin], square, rows_.squares[row], norm, active_norm_[k]);
      if (most < bar_of(metric_, active_nearest_[k])) continue;
      places[count] = k;
      rows[count++] = row;
    }
    dots_(x_.row(centre), x_.data, x_.ld, rows, count, x_.d, inner);
    for (int64_t c = 0; c < count; ++c) {
      double& nearest = active_nearest_[places[c]];
      const double far = meddel::distance(metric_, inner[c], rows_.squares[rows[c]], square);
      nearest = std::min(nearest, far);
    }
    int64_t farthest = begin < end ? begin : -1;
    for (int64_t k = begin; k < end; ++k) {
      if (active_nearest_[k] > active_nearest_[farthest]) farthest = k;
    }
    return farthest;
  }

  void activate(const std::vector<int64_t>& rows) {
    active_.clear();
    active_nearest_.clear();
    active_norm_.clear();
    farthest_ = -1;
    for (const int64_t row : rows) {
      const double nearest = bounds_.nearest[row];
      if (nearest <= threshold_) continue;
      if (farthest_ < 0 || nearest > active_nearest_[farthest_]) {
        farthest_ = static_cast<int64_t>(active_.size());
      }
      active_.push_back(row);
      active_nearest_.push_back(nearest);
      active_norm_.push_back(std::sqrt(rows_.squares[row]));
    }
    up_to_date_ = centres();
  }

  void write_back() {
    for (size_t k = 0; k < active_.size(); ++k) {
      if (bounds_.nearest[active_[k]] == kTaken) continue;
      bounds_.nearest[active_[k]] = active_nearest_[k];
      bounds_.seen[active_[k]] = static_cast<int32_t>(up_to_date_);
    }
    active_.clear();
    active_nearest_.clear();
  }

  // Lowers the threshold until some row is above it. Of the rows that catch up then, most turn out
  // to be below it: how many have to, for enough to stay above it, is learned on the way.
  void refill() {
    write_back();
    while (active_.empty() && left_ > 0) {
      std::vector<int64_t> pending = split(wanted_);
      catch_up(pending);
      // The first time, and after a crowd of equal bounds, there may be far too many.
      std::vector<double> above = bounds_above(pending);
      if (static_cast<int64_t>(above.size()) > 2 * most_active_ && !looked_for_copies_) {
        keep_first();
        above = bounds_above(pending);
      }
      if (static_cast<int64_t>(above.size()) > 2 * most_active_) {
        const auto least = above.begin() + most_active_;
        std::nth_element(above.begin(), least, above.end(), std::greater<double>());
        threshold_ = std::max(threshold_, std::nextafter(*least, kTaken));
      }
      activate(pending);
      const int64_t count = static_cast<int64_t>(active_.size());
      if (count < most_active_ / 2) wanted_ = std::min(x_.n, 2 * wanted_);
      if (count > most_active_) wanted_ = std::max(most_active_, wanted_ / 2);
    }
  }

  std::vector<double> bounds_above(const std::vector<int64_t>& rows) const {
    std::vector<double> above;
    for (const int64_t row : rows) {
      if (bounds_.nearest[row] > threshold_) above.push_back(bounds_.nearest[row]);
    }
    return above;
  }

  // About `wanted` rows with the largest bounds, by those of some, and all that equal the least of
  // them; all others have a bound of at most the new threshold.
  std::vector<int64_t> split(int64_t wanted) {
    std::vector<double> asked;
    const int64_t step = std::max(int64_t{1}, x_.n / kAskedRows);
    for (int64_t i = 0; i < x_.n; i += step) {
      if (bounds_.nearest[i] != kTaken) asked.push_back(bounds_.nearest[i]);
    }
    double limit = 0.0;  // all of them
    const int64_t above = wanted / step;
    if (above < static_cast<int64_t>(asked.size())) {
      const auto at = asked.begin() + above;
      std::nth_element(asked.begin(), at, asked.end(), std::greater<double>());
      limit = *at;
    }
    std::vector<int64_t> top;
    for (int64_t i = 0; i < x_.n; ++i) {
      if (bounds_.nearest[i] >= limit) top.push_back(i);
    }
    threshold_ = std::nextafter(limit, kTaken);
    return top;
  }

  // Makes the given rows take account of all centres.
  void catch_up(std::vector<int64_t> rows) {
    const auto current = [this](int64_t row) { return bounds_.seen[row] >= centres(); };
    rows.erase(std::remove_if(rows.begin(), rows.end(), current), rows.end());
    if (rows.empty()) return;
    int32_t least = std::numeric_limits<int32_t>::max();
    for (const int64_t row : rows) least = std::min(least, bounds_.seen[row]);
    const bool few = centres() - least <= kFewUnseen && !screens_forced();
    if (few || !screens_ || !screens_->first) {
      near_.assign(&centres_.rows[least], centres() - least, rows_.squares);
      const int64_t count = static_cast<int64_t>(rows.size());
      team_.run_range(count, kUpdatedRows, [&](int64_t begin, int64_t end, int) {
        near_.lower(&rows[begin], end - begin, bounds_.nearest);
      });
      for (const int64_t row : rows) bounds_.seen[row] = static_cast<int32_t>(centres());
      return;
    }
    pending_.rows = by_seen(rows, least);
    catch_up_by_screens(team_, pending_, centres_, metric_, *screens_, bounds_);
  }

  // Rows that have seen as many centres side by side.
  std::vector<int64_t> by_seen(const std::vector<int64_t>& rows, int32_t least) const {
    std::vector<int64_t> begin(static_cast<size_t>(centres() - least + 1), 0);
    for (const int64_t row : rows) ++begin[bounds_.seen[row] - least + 1];
    for (size_t k = 1; k < begin.size(); ++k) begin[k] += begin[k - 1];
    std::vector<int64_t> out(rows.size());
    for (const int64_t row : rows) out[begin[bounds_.seen[row] - least]++] = row;
    return out;
  }

  const Matrix& x_;
  const Metric metric_;
  const int64_t k_;
  Team team_;
  bool prepared_ = false;
  ScanSide rows_;  // all, or the first of each kind
  std::optional<Copies> copies_;
  std::optional<CentreScreens> screens_;
  ScanSide centres_;  // all so far
  ScanSide pending_;  // those that catch up
  const DotsFn dots_;
  const RoughDotsFn rough_dots_;
  const RoughScore rough_score_;
  NearCentres near_;
  Bounds bounds_;                       // of active rows as they were when they became active
  std::vector<int64_t> active_;         // rows above the threshold
  std::vector<double> active_nearest_;  // their distances
  std::vector<double> active_norm_;     // and norms
  int64_t up_to_date_ = 0;              // centres that active rows have seen
  const int64_t most_active_;
  int64_t left_ = 0;            // of rows_ that are no centres
  std::vector<int64_t> zeros_;  // by cosine, rising
  size_t next_zero_ = 0;        // of those, none before which is left
  bool zero_seen_ = false;      // one is among the centres
  bool looked_for_copies_ = false;
  int64_t wanted_ = most_active_;  // rows to catch up at a time
  double threshold_ = kInfinity;
  int64_t farthest_ = -1;  // of the active rows
  std::atomic<bool> finite_{true};
};

}  // namespace meddel

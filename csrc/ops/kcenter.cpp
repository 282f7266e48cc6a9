#include "ops/kcenter.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "base/copies.h"
#include "cpu/isa.h"
#include "ops/catch_up.h"
#include "ops/kcenter_boxes.h"
#include "screen/pair_scan.h"
#include "screen/plan.h"
#include "screen/scan_screens.h"

namespace meddel {
namespace {

// A row's distance to its nearest centre only shrinks, so a stale one is an upper bound. Rows whose
// bound is above a threshold are `active` and kept exact; all others are left alone until the
// farthest active row falls to the threshold. Then it is lowered, and the rows that come above it
// catch up with the centres that they have not seen: many rows with many centres at a time, which
// screens can do, instead of all rows with one centre at a time, which is bound by memory. Each
// (row, centre) pair is looked at once at most, nearly all of them in the screens.
//
// Of rows that are equal only the first is looked at: the others are as far as it from all centres,
// and of equal distances the lowest row is chosen. As soon as it, or one of them, is a centre,
// their distance is 0 (zero rows, which have cosine 0 to each other, do not count as equal for
// cosines).

constexpr int64_t kActive = 256;      // rows to have active: 0.4 MiB of 384 fp32, within L2,
constexpr int64_t kLeastActive = 64;  // or fewer, where they would be much of all
// Codes and stale bounds cost about as much as so many passes over all rows (1,612 x 1,280 and
// 50,000 x 384): up to here all rows are active from start to end.
constexpr int64_t kFewCentres = 24;
constexpr int64_t kUpdatedRows = 1024;  // by one thread at a time
constexpr int64_t kAskedRows = 4096;    // whose bounds tell where the next threshold is

// What rows are screened by when they catch up, and the codes of the centres.
class Codebook {
 public:
  Codebook(Team& team, const ScanSide& rows, Metric metric, int64_t k) {
    const ScreenPlan plan = plan_screens(static_cast<double>(rows.size()) * static_cast<double>(k),
                                         static_cast<double>(rows.size()), rows.x->d);
    if (!plan.prefix && !plan.dense) return;
    const Sample sample(metric, rows.positions(), rows.positions(), plan);
    if (plan.dense) {
      dense_ = Screen::dense(sample);
      dense_rows_.emplace(team, *dense_, rows);
    }
    if (plan.prefix) {
      const double pairs = static_cast<double>(rows.size()) * static_cast<double>(k);
      prefix_ = choose_prefix(team, sample, dense_ ? &*dense_ : nullptr, rows.positions(),
                              rows.positions(), pairs, typical_bar(sample));
    }
    if (prefix_) codes_ = prefix_->encode_rows(team, rows.positions());
  }

  // Screens for some rows against all centres, which may only have become more since the last time.
  scan::Screening screening(const ScanSide& x, const ScanSide& centres) {
    scan::Screening out;
    if (dense_) {
      out.dense = &*dense_;
      out.x_dense = [this, &x](int64_t begin, int64_t end) {
        return (*dense_rows_)(x, begin, end);
      };
      encode_tiles(centres);
      out.y_dense = [this](int64_t tile, Codes&) -> const Codes& {
        return tiles_[tile / scan::kTileColumns];
      };
    }
    if (prefix_) {
      out.prefix = &*prefix_;
      pack_centres(centres);
      out.y_codes = &packed_;
      out.x_codes = [this, &x](int64_t begin, int64_t end) {
        return codes_.gather(&x.rows[begin], end - begin, prefix_->width());
      };
    }
    return out;
  }

 private:
  // Codes of whole tiles stay; those of the last one, and what follows, are made anew.
  void encode_tiles(const ScanSide& centres) {
    const int64_t whole = encoded_ / scan::kTileColumns;
    tiles_.resize(static_cast<size_t>(whole));
    for (int64_t tile = whole * scan::kTileColumns; tile < centres.size();
         tile += scan::kTileColumns) {
      const int64_t end = std::min(centres.size(), tile + scan::kTileColumns);
      tiles_.push_back(dense_->encode(centres.positions(), tile, end));
    }
    encoded_ = centres.size();
  }

  void pack_centres(const ScanSide& centres) {
    const int64_t whole = packed_count_ / kBlockColumns * kBlockColumns, width = prefix_->width();
    packed_.packed.resize(static_cast<size_t>(whole * width));
    packed_.start.resize(static_cast<size_t>(whole));
    const Codes tail = codes_.pack(&centres.rows[whole], centres.size() - whole, width);
    packed_.packed.insert(packed_.packed.end(), tail.packed.begin(), tail.packed.end());
    packed_.start.insert(packed_.start.end(), tail.start.begin(), tail.start.end());
    packed_count_ = centres.size();
  }

  std::optional<Screen> prefix_;
  std::optional<Screen> dense_;
  std::optional<DenseRows> dense_rows_;
  RowCodes codes_;  // of prefix, of all rows
  Codes packed_;    // of prefix, of the centres
  std::vector<Codes> tiles_;
  int64_t packed_count_ = 0;
  int64_t encoded_ = 0;
};

class Greedy {
 public:
  // For so many centres in the end.
  Greedy(const Matrix& x, int64_t k, Metric metric, const Context& context)
      : x_(x),
        metric_(metric),
        few_(k <= kFewCentres && !screens_forced()),  // tests force screens to see them at work
        team_(context),
        rows_(all_rows(team_, x)),
        codebook_(team_, rows_, metric, few_ ? 0 : k),
        centres_(rows_),
        pending_(rows_),
        dots_(kernels().dots[static_cast<int>(x.dtype)]),
        rough_dots_(kernels().rough_dots[static_cast<int>(x.dtype)]),
        rough_score_(metric, x.d),
        bounds_(x.n),
        most_active_(std::clamp(x.n / 256, kLeastActive, kActive)) {
    centres_.rows.clear();
    if (!few_) keep_first();
    left_ = rows_.size();
    if (!few_) return;
    threshold_ = kTaken;
    activate(rows_.rows);
  }

  void add(int64_t centre) {
    centres_.rows.push_back(centre);
    if (!copies_ || copies_->is_first(centre)) --left_;
    bounds_.nearest[centre] = kTaken;
    bounds_.seen[centre] = std::numeric_limits<int32_t>::max();
  }

  // Tells that so many of `total` centres are chosen; the last pass over all rows, if there is to
  // be one, counts as `span` more.
  void announce(int64_t done, int64_t total, int64_t span = 0) {
    team_.announce(done, total, span);
    team_.checkpoint(0);
  }

  // Whether every row is a centre, or equal to one. Requires a centre.
  bool covered() { return left_ == 0 || distance(farthest()) == 0.0; }

  // The row, not a centre, that is farthest from all centres. Requires a centre and a row.
  int64_t farthest() {
    update_active();
    if (farthest_ < 0 || active_nearest_[farthest_] <= threshold_) refill();
    return active_[farthest_];
  }

  // The distance of a row that farthest() returned, or of one that has seen no centre.
  double distance(int64_t row) const {
    if (centres() == 0) return kInfinity;
    return shown(active_[farthest_] == row ? active_nearest_[farthest_] : 0.0);
  }

  std::vector<double> distances() {
    update_active();
    write_back();
    catch_up(rows_.rows);
    std::vector<double> out;
    out.reserve(bounds_.nearest.size());
    for (int64_t i = 0; i < x_.n; ++i) {
      const int64_t row = copies_ ? copies_->first(i) : i;
      out.push_back(shown(std::max(0.0, bounds_.nearest[row])));
    }
    return out;
  }

 private:
  // Leaves the first of each kind in rows_.
  void keep_first() {
    Copies copies(team_, x_, metric_ == Metric::kCosine ? &rows_.squares : nullptr);
    if (!copies.any()) return;
    rows_.rows = copies.distinct;
    bounds_.nearest.assign(bounds_.nearest.size(), kTaken);
    for (const int64_t row : rows_.rows) bounds_.nearest[row] = kInfinity;
    copies_ = std::move(copies);
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

  // The same for one centre and some of them: returns the farthest, or -1 of none.
  int64_t update(int64_t centre, int64_t begin, int64_t end) {
    double inner[kUpdatedRows];
    if (!few_) {
      dots_(x_.row(centre), x_.data, x_.ld, active_.data() + begin, end - begin, x_.d, inner);
    }
    int64_t farthest = -1;
    for (int64_t k = begin; k < end; ++k) {
      const int64_t row = active_[k];
      double& nearest = active_nearest_[k];
      if (row == centre) {
        nearest = kTaken;
      } else if (!few_) {
        nearest = std::min(nearest, between(centre, row, inner[k - begin]));
      } else if (may_be_nearer(centre, row, nearest)) {
        double product;
        dots_(x_.row(centre), x_.data, x_.ld, &row, 1, x_.d, &product);
        nearest = std::min(nearest, between(centre, row, product));
      }
      if (farthest < 0 || nearest > active_nearest_[farthest]) farthest = k;
    }
    return farthest;
  }

  // Two rows' distance (squared for the Euclidean metric), by their product.
  double between(int64_t x, int64_t y, double product) const {
    return meddel::distance(metric_, product, rows_.squares[x], rows_.squares[y]);
  }

  // Where memory is the limit, fp32 products in a row at a time take half as long as the truth's
  // in four rows.
  bool may_be_nearer(int64_t centre, int64_t row, double nearest) const {
    if (nearest == kInfinity || nearest == kTaken) return nearest == kInfinity;
    float product;
    rough_dots_(x_.row(centre), x_.data, x_.ld, &row, 1, x_.d, &product);
    const double most = rough_score_(product, rows_.squares[centre], rows_.squares[row],
                                     rows_.norms[centre], rows_.norms[row]);
    return most >= bar_of(metric_, nearest);
  }

  void activate(const std::vector<int64_t>& rows) {
    active_.clear();
    active_nearest_.clear();
    farthest_ = -1;
    for (const int64_t row : rows) {
      const double nearest = bounds_.nearest[row];
      if (nearest <= threshold_) continue;
      if (farthest_ < 0 || nearest > active_nearest_[farthest_]) {
        farthest_ = static_cast<int64_t>(active_.size());
      }
      active_.push_back(row);
      active_nearest_.push_back(nearest);
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
    while (active_.empty()) {
      std::vector<int64_t> pending = split(wanted_);
      catch_up(pending);
      // The first time, and after a crowd of equal bounds, there may be far too many.
      std::vector<double> above;
      for (const int64_t row : pending) {
        if (bounds_.nearest[row] > threshold_) above.push_back(bounds_.nearest[row]);
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
    pending_.rows = std::move(rows);
    CatchUp operation(pending_, centres_, metric_, bounds_);
    // Rows that have seen as many centres side by side: their tiles are then rectangles.
    std::stable_sort(pending_.rows.begin(), pending_.rows.end(),
                     [this](int64_t a, int64_t b) { return bounds_.seen[a] < bounds_.seen[b]; });
    const scan::Screening screening =
        centres() >= kBlockColumns ? codebook_.screening(pending_, centres_) : scan::Screening();
    scan_pairs(team_, pending_, centres_, screening, operation);
  }

  const Matrix& x_;
  const Metric metric_;
  const bool few_;
  Team team_;
  ScanSide rows_;  // all, or the first of each kind
  std::optional<Copies> copies_;
  Codebook codebook_;
  ScanSide centres_;  // all so far
  ScanSide pending_;  // those that catch up
  const DotsFn dots_;
  const RoughDotsFn rough_dots_;
  const RoughScore rough_score_;
  Bounds bounds_;                       // of active rows as they were when they became active
  std::vector<int64_t> active_;         // rows above the threshold
  std::vector<double> active_nearest_;  // their distances
  int64_t up_to_date_ = 0;              // centres that active rows have seen
  const int64_t most_active_;
  int64_t left_ = 0;               // of rows_ that are no centres
  int64_t wanted_ = most_active_;  // rows to catch up at a time
  double threshold_ = kInfinity;
  int64_t farthest_ = -1;  // of the active rows
};

// All rows have distance 0: the lowest that are no centres yet follow.
void take_the_rest(int64_t n, int64_t k, const std::vector<int64_t>& selected, KCenter& out) {
  std::vector<bool> taken(static_cast<size_t>(n), false);
  for (const int64_t row : selected) taken[row] = true;
  for (const int64_t row : out.indices) taken[row] = true;
  for (int64_t row = 0; static_cast<int64_t>(out.indices.size()) < k; ++row) {
    if (taken[row]) continue;
    out.indices.push_back(row);
    out.radii.push_back(0.0);
  }
}

// The choice itself, by Greedy or GreedyInBoxes.
template <class Rows>
KCenter choose(Rows& rows, int64_t n, int64_t k, double radius, int64_t start,
               const std::vector<int64_t>& selected, bool distances) {
  for (const int64_t centre : selected) rows.add(centre);
  KCenter out;
  const int64_t total = distances ? 2 * k : k;
  bool covered = false;
  while (static_cast<int64_t>(out.indices.size()) < k) {
    rows.announce(static_cast<int64_t>(out.indices.size()), total);
    const bool first = selected.empty() && out.indices.empty();
    covered = !first && rows.covered();
    if (covered) {
      if (radius < 0.0) take_the_rest(n, k, selected, out);
      break;
    }
    const int64_t next = first ? start : rows.farthest();
    const double distance = rows.distance(next);
    if (distance <= radius) break;
    out.indices.push_back(next);
    out.radii.push_back(distance);
    rows.add(next);
  }
  if (distances && covered) {
    out.distances.assign(static_cast<size_t>(n), 0.0);
  } else if (distances) {
    rows.announce(k, total, k);
    out.distances = rows.distances();
  }
  return out;
}

}  // namespace

KCenter kcenter_greedy(const Matrix& x, int64_t k, double radius, Metric metric, int64_t start,
                       const std::vector<int64_t>& selected, bool distances,
                       const Context& context) {
  const int64_t centres = k + static_cast<int64_t>(selected.size());
  if (metric == Metric::kEuclidean && boxes_pay(x, centres)) {
    const std::vector<int64_t> first = selected.empty() ? std::vector<int64_t>{start} : selected;
    GreedyInBoxes greedy(x, first, context);
    return choose(greedy, x.n, k, radius, start, selected, distances);
  }
  Greedy greedy(x, centres, metric, context);
  return choose(greedy, x.n, k, radius, start, selected, distances);
}

}  // namespace meddel

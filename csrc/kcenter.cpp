#include "kcenter.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>

#include "cpu/isa.h"
#include "pair_scan.h"

namespace meddel {
namespace {

// A row's distance to its nearest centre only shrinks, so a stale one is an upper bound. Rows whose
// bound is above a threshold are `active` and kept exact; all others are left alone until the
// farthest active row falls to the threshold. Then it is lowered, and the rows that come above it
// catch up with the centres that they have not seen: many rows with many centres at a time, which
// screens can do, instead of all rows with one centre at a time, which is bound by memory. Each
// (row, centre) pair is looked at once at most, nearly all of them in the screens, or not even
// there where their groups are far apart.

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kTaken = -1.0;       // below every distance: a centre is never the farthest
constexpr int64_t kActive = 1024;     // rows to make active at a time: 3 MiB of 768 fp32, within L3
constexpr int64_t kAskedRows = 4096;  // whose bounds tell where the next threshold is
// Groups cost as much as comparing each row with about K + 60 centres (K groups): they are made for
// more centres than this, and kept where they leave out half of the pairs.
constexpr int64_t kCentresForGroups = 3000;
constexpr double kGroupsLeave = 0.5;

// The distances of rows to the nearest centre that they have seen (squared for the Euclidean
// metric), and how many centres, the first ones, that takes account of.
struct Bounds {
  explicit Bounds(int64_t n)
      : nearest(static_cast<size_t>(n), kInfinity), seen(static_cast<size_t>(n), 0) {}

  std::vector<double> nearest;
  std::vector<int32_t> seen;
};

// Rows that catch up: the operation of a pair scan of some rows against the latest centres.
class CatchUp {
 public:
  static constexpr bool kRising = true;

  // `first` is the number of centres before those of the scan; in_order tells whether these stand
  // in the order in which they were chosen.
  CatchUp(const ScanSide& x, const ScanSide& centres, Metric metric, int64_t first, bool in_order,
          Bounds& bounds)
      : x_(x),
        centres_(centres),
        metric_(metric),
        first_(first),
        in_order_(in_order),
        bounds_(bounds) {}

  Metric metric() const { return metric_; }
  ColumnRange range(int64_t p) const {
    return {in_order_ ? bounds_.seen[x_.rows[p]] - first_ : 0, centres_.size()};
  }
  bool counts(int64_t, int64_t) const { return true; }

  double bar(int64_t p) const {
    const double best = bounds_.nearest[x_.rows[p]];
    return metric_ == Metric::kCosine ? 1.0 - best - 0x1p-50 : -best;
  }

  void take(int64_t p, int64_t q, double inner) {
    const double s =
        score(metric_, inner, x_.square(p), centres_.square(q), x_.norm(p), centres_.norm(q));
    const double distance = metric_ == Metric::kCosine ? cosine_distance(s) : -s;
    double& nearest = bounds_.nearest[x_.rows[p]];
    nearest = std::min(nearest, distance);
  }

  void finish_band(int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      bounds_.seen[x_.rows[p]] = static_cast<int32_t>(first_ + centres_.size());
    }
  }

 private:
  const ScanSide& x_;
  const ScanSide& centres_;
  const Metric metric_;
  const int64_t first_;
  const bool in_order_;
  Bounds& bounds_;
};

// Screens for the catching up, and the codes that all of it shares.
class Codebook {
 public:
  Codebook(Team& team, const ScanSide& rows, Metric metric, int64_t k) : rows_(rows) {
    const ScreenPlan plan = plan_screens(static_cast<double>(rows.size()) * static_cast<double>(k),
                                         static_cast<double>(rows.size()), rows.x->d);
    if (!plan.prefix && !plan.dense) return;
    const Sample sample(metric, rows.positions(), rows.positions());
    if (plan.dense) dense_ = Screen::dense(sample);
    if (plan.groups && (k >= kCentresForGroups || groups_forced())) group(team, sample);
    if (!plan.prefix) return;
    prefix_ = Screen::prefix(team, sample);
    if (dense_ && !groups_forced() && !prefix_pays(*prefix_, sample, rows.positions())) {
      prefix_.reset();
    } else {
      codes_ = prefix_->encode_rows(team, rows.positions());
    }
  }

  bool grouped() const { return groups_ > 0; }
  int32_t group_of(int64_t row) const { return group_[row]; }

  // For some rows (by position of x) against chosen ones (by position of y).
  scan::Screening screening(const ScanSide& x, const ScanSide& y) {
    scan::Screening out;
    if (grouped()) {
      out.groups = groups_;
      out.reach = reach_;
      for (const int64_t row : x.rows) out.x_group.push_back(group_[row]);
      for (const int64_t row : y.rows) out.y_group.push_back(group_[row]);
    }
    if (y.size() < kBlockColumns) return out;
    if (dense_) {
      out.dense = &*dense_;
      tiles_.clear();
      for (int64_t tile = 0; tile < y.size(); tile += scan::kTileColumns) {
        const int64_t end = std::min(y.size(), tile + scan::kTileColumns);
        tiles_.push_back(dense_->encode(y.positions(), tile, end));
      }
      out.y_dense = [this](int64_t tile, Codes&) -> const Codes& {
        return tiles_[tile / scan::kTileColumns];
      };
    }
    if (prefix_) {
      out.prefix = &*prefix_;
      out.y_codes = codes_.pack(y.rows.data(), y.size(), prefix_->width());
      out.x_codes = [this, &x](int64_t begin, int64_t end) {
        return codes_.gather(&x.rows[begin], end - begin, prefix_->width());
      };
    }
    return out;
  }

 private:
  void group(Team& team, const Sample& sample) {
    const Groups groups(team, *dense_, rows_.positions());
    Groups::Side side = groups.assign(team, rows_.positions());
    reach_ = groups.reach(side, side);
    if (!groups_forced() &&
        groups.left_over(side, side, reach_, typical_bar(sample)) > kGroupsLeave) {
      return;
    }
    groups_ = groups.count();
    group_ = std::move(side.group);
  }

  const ScanSide& rows_;
  std::optional<Screen> prefix_;
  std::optional<Screen> dense_;
  RowCodes codes_;  // of prefix, of all rows
  std::vector<Codes> tiles_;
  int64_t groups_ = 0;
  std::vector<double> reach_;
  std::vector<int32_t> group_;  // by row
};

class Greedy {
 public:
  Greedy(const Matrix& x, int64_t k, Metric metric, const Context& context)
      : x_(x),
        metric_(metric),
        team_(context),
        rows_(all_rows(team_, x)),
        codebook_(team_, rows_, metric, k),
        centres_(rows_),
        pending_(rows_),
        dots_(kernels().dots[static_cast<int>(x.dtype)]),
        bounds_(x.n) {}

  void add(int64_t centre) {
    chosen_.push_back(centre);
    bounds_.nearest[centre] = kTaken;
    bounds_.seen[centre] = std::numeric_limits<int32_t>::max();
  }

  // The row, not a centre, that is farthest from all centres. Requires a centre and a row.
  int64_t farthest() {
    update_active();
    if (farthest_ < 0 || active_nearest_[farthest_] <= threshold_) refill();
    return active_[farthest_];
  }

  // The distance of a row that farthest() returned, or of one that has seen no centre.
  double distance(int64_t row) const {
    if (chosen_.empty()) return kInfinity;
    return shown(active_[farthest_] == row ? active_nearest_[farthest_] : 0.0);
  }

  std::vector<double> distances() {
    write_back();
    std::vector<int64_t> all(static_cast<size_t>(x_.n));
    std::iota(all.begin(), all.end(), int64_t{0});
    catch_up(std::move(all));
    std::vector<double> out;
    out.reserve(bounds_.nearest.size());
    for (const double nearest : bounds_.nearest) out.push_back(shown(std::max(0.0, nearest)));
    return out;
  }

 private:
  double shown(double distance) const {
    return metric_ == Metric::kCosine ? distance : std::sqrt(distance);
  }

  int64_t centres() const { return static_cast<int64_t>(chosen_.size()); }

  // Takes account of the last centre in the active rows, and finds the farthest of them (they stand
  // in rising order).
  void update_active() {
    const int64_t count = static_cast<int64_t>(active_.size()), centre = chosen_.back();
    inner_.resize(active_.size());
    dots_(x_.row(centre), x_.data, x_.ld, active_.data(), count, x_.d, inner_.data());
    const double square = rows_.squares[centre], norm = rows_.norms[centre];
    farthest_ = -1;
    double most = kTaken;
    for (int64_t k = 0; k < count; ++k) {
      double nearest = active_nearest_[k];
      if (active_[k] == centre) nearest = kTaken;
      const double distance = metric_ == Metric::kCosine
                                  ? cosine_distance(cosine(inner_[k], active_size_[k], norm))
                                  : squared_distance(inner_[k], active_size_[k], square);
      nearest = std::min(nearest, distance);
      active_nearest_[k] = nearest;
      if (nearest > most) {
        most = nearest;
        farthest_ = k;
      }
    }
    up_to_date_ = centres();
  }

  void activate(const std::vector<int64_t>& rows) {
    active_.clear();
    active_nearest_.clear();
    active_size_.clear();
    farthest_ = -1;
    for (const int64_t row : rows) {
      const double nearest = bounds_.nearest[row];
      if (nearest <= threshold_) continue;
      if (farthest_ < 0 || nearest > active_nearest_[farthest_]) {
        farthest_ = static_cast<int64_t>(active_.size());
      }
      active_.push_back(row);
      active_nearest_.push_back(nearest);
      active_size_.push_back(metric_ == Metric::kCosine ? rows_.norms[row] : rows_.squares[row]);
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

  // Lowers the threshold until some row is above it.
  void refill() {
    write_back();
    for (int64_t wanted = kActive; active_.empty(); wanted *= 2) {
      std::vector<int64_t> pending = split(wanted);
      catch_up(pending);
      // The first time, and after a crowd of equal bounds, there may be far too many.
      std::vector<double> above;
      for (const int64_t row : pending) {
        if (bounds_.nearest[row] > threshold_) above.push_back(bounds_.nearest[row]);
      }
      if (static_cast<int64_t>(above.size()) > 2 * kActive) {
        const auto least = above.begin() + kActive;
        std::nth_element(above.begin(), least, above.end(), std::greater<double>());
        threshold_ = std::max(threshold_, std::nextafter(*least, kTaken));
      }
      activate(pending);
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

  // Makes the given rows take account of all centres: those that have seen about as many together.
  void catch_up(std::vector<int64_t> rows) {
    const auto behind = [this](int64_t row) { return centres() - bounds_.seen[row]; };
    rows.erase(
        std::remove_if(rows.begin(), rows.end(), [&](int64_t row) { return behind(row) <= 0; }),
        rows.end());
    std::stable_sort(rows.begin(), rows.end(),
                     [&](int64_t a, int64_t b) { return bounds_.seen[a] < bounds_.seen[b]; });
    for (auto begin = rows.begin(); begin < rows.end();) {
      auto end = rows.end();
      if (codebook_.grouped()) {
        const int64_t least = behind(*begin) / 2;
        end = std::partition_point(begin, rows.end(),
                                   [&](int64_t row) { return behind(row) > least; });
      }
      compare(std::vector<int64_t>(begin, end), bounds_.seen[*begin]);
      begin = end;
    }
  }

  // Compares rows with the centres after the first `seen` ones.
  void compare(std::vector<int64_t> rows, int64_t seen) {
    pending_.rows = std::move(rows);
    centres_.rows.assign(chosen_.begin() + seen, chosen_.end());
    const bool grouped = codebook_.grouped();
    if (grouped) {
      for (std::vector<int64_t>* side : {&pending_.rows, &centres_.rows}) {
        std::stable_sort(side->begin(), side->end(), [this](int64_t a, int64_t b) {
          return codebook_.group_of(a) < codebook_.group_of(b);
        });
      }
    }
    const scan::Screening screening = codebook_.screening(pending_, centres_);
    CatchUp operation(pending_, centres_, metric_, seen, !grouped, bounds_);
    scan_pairs(team_, pending_, centres_, screening, operation);
  }

  const Matrix& x_;
  const Metric metric_;
  Team team_;
  ScanSide rows_;  // all
  Codebook codebook_;
  ScanSide centres_;  // those that rows catch up with
  ScanSide pending_;  // those that catch up
  const DotsFn dots_;
  Bounds bounds_;  // of active rows as they were when they became active
  std::vector<int64_t> chosen_;
  std::vector<int64_t> active_;         // rows above the threshold
  std::vector<double> active_nearest_;  // their distances
  std::vector<double> active_size_;     // their norms, squared for the Euclidean metric
  std::vector<double> inner_;
  int64_t up_to_date_ = 0;  // centres that active rows have seen
  double threshold_ = kInfinity;
  int64_t farthest_ = -1;  // of the active rows
};

}  // namespace

KCenter kcenter_greedy(const Matrix& x, int64_t k, double radius, Metric metric, int64_t start,
                       const std::vector<int64_t>& selected, const Context& context) {
  Greedy greedy(x, k, metric, context);
  for (const int64_t centre : selected) greedy.add(centre);
  KCenter out;
  while (static_cast<int64_t>(out.indices.size()) < k) {
    const bool first = selected.empty() && out.indices.empty();
    const int64_t next = first ? start : greedy.farthest();
    const double distance = greedy.distance(next);
    if (distance <= radius) break;
    out.indices.push_back(next);
    out.radii.push_back(distance);
    greedy.add(next);
  }
  out.distances = greedy.distances();
  return out;
}

}  // namespace meddel

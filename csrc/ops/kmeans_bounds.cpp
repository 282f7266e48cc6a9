#include "ops/kmeans_bounds.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "cpu/isa.h"
#include "screen/codes.h"

namespace meddel {
namespace {

constexpr int64_t kBandRows = 1024;  // of which those to be compared are sorted by their columns

// Near centroids: a block of columns, as they are compared at little cost. Fewer centroids
// are compared with at once.
constexpr int64_t kNear = 16, kMany = 256;

// A row that has to be compared is so with far ones that moved by this share of its gap, too: if
// only with those that may be nearer, its next gap might be as small as nothing.
constexpr double kSpare = 0.25;
constexpr double kPays = 0.8;  // share of comparisons up to which bounds are worth their making
constexpr double kOutward = 0x1p-50;
constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

double distance_at_least(Metric metric, double score) {
  const double square = metric == Metric::kCosine ? 2.0 - 2.0 * score : -score;
  return std::sqrt(std::max(0.0, square)) * (1.0 - kOutward);
}

double distance_at_most(Metric metric, double score) {
  return std::sqrt(metric == Metric::kCosine ? 2.0 - 2.0 * score : -score) * (1.0 + kOutward);
}

// About the score at a distance; infinite where that tells nothing.
double score_at(Metric metric, double distance) {
  if (distance <= 0.0) return kInfinity;
  const double square = distance * distance;
  return metric == Metric::kCosine ? 1.0 - 0.5 * square : -square;
}

double less(double bound, double drift) { return (bound - drift) * (1.0 - kOutward); }

}  // namespace

Assignment::Assignment(int64_t n)
    : labels(static_cast<size_t>(n), -1), best(static_cast<size_t>(n), -kInfinity) {}

BoundedAssignment::Round::Round(const Scaled& screen, const Centroids& given, Metric metric)
    : centroids(given), columns(screen, given.side.positions()), size(given.side.size()) {
  const auto d = static_cast<double>(given.side.x->d);
  room = 2.0 * std::sqrt((d + 16.0) * 0x1p-50);
  longest = metric == Metric::kCosine ? 1.0 : 0.0;
  position.assign(given.drift.size(), -1);
  for (int64_t q = 0; q < size; ++q) {
    const int64_t c = given.side.rows[q];
    position[c] = q;
    drifts.push_back(given.drift[c]);
    if (metric == Metric::kEuclidean) longest = std::max(longest, given.side.norms[c]);
  }
  moved = columns_from(0.0, false);
}

int64_t BoundedAssignment::Round::columns_from(double gap, bool equal) const {
  const auto reaches = [&](double drift) { return equal ? !(drift < gap) : drift > gap; };
  return std::partition_point(drifts.begin(), drifts.end(), reaches) - drifts.begin();
}

double BoundedAssignment::Round::lowered(double bound, int64_t from) const {
  return from < size ? less(bound, drifts[from]) : kInfinity;
}

BoundedAssignment::BoundedAssignment(const ScanSide& rows, Metric metric, const PointMap& map,
                                     int64_t kept)
    : rows_(rows),
      metric_(metric),
      screen_(map),
      codes_(screen_, rows, kept),
      upper_(rows.rows.size(), kInfinity),
      near_(rows.rows.size(), -kInfinity),
      far_(rows.rows.size(), -kInfinity) {}

double BoundedAssignment::room(const Round& round, int64_t p) const {
  return round.room * ((metric_ == Metric::kCosine ? 1.0 : rows_.norm(p)) + round.longest);
}

void BoundedAssignment::start(Team& team, Round& round) {
  round.seeks = !first_ && (seeks_ || 2 * round.moved < renewed_);
  if (round.seeks && !sought_) renewed_ = round.moved;
  if (!round.seeks) lists_.clear();
  if (round.seeks && lists_.empty()) make_lists(team, round);
  if (round.seeks) place_lists(team, round);
}

// The list of a centroid is of those with the highest bounds. Any list would do.
void BoundedAssignment::make_lists(Team& team, const Round& round) {
  const ScanSide& side = round.centroids.side;
  lists_.assign(round.centroids.drift.size(), {});
  if (round.size < kMany) return;
  ScaledCodes codes(screen_, side, side.size() * screen_.width());
  team.run_range(round.size, Comparer::kRows, [&](int64_t begin, int64_t end, int) {
    Comparer comparer(codes, side, metric_);
    std::vector<float> bounds;
    std::vector<int64_t> order(static_cast<size_t>(round.size));
    for (int64_t q = begin; q < end; ++q) {
      comparer.bounds(q, round.columns, round.size, bounds);
      std::iota(order.begin(), order.end(), int64_t{0});
      bounds[q] = -std::numeric_limits<float>::infinity();
      std::nth_element(order.begin(), order.begin() + kNear, order.end(),
                       [&](int64_t a, int64_t b) { return bounds[a] > bounds[b]; });
      auto& list = lists_[side.rows[q]];
      for (int64_t k = 0; k < kNear; ++k) list.push_back(side.rows[order[k]]);
    }
  });
}

// Where the centroids of the lists stand now, and how far they and the others have come.
void BoundedAssignment::place_lists(Team& team, Round& round) const {
  const auto k = static_cast<int64_t>(lists_.size());
  round.lists.resize(lists_.size());
  round.near_columns.resize(lists_.size());
  round.near_drift.assign(lists_.size(), 0.0);
  round.far_drift.assign(lists_.size(), 0.0);
  team.run_range(k, Comparer::kRows, [&](int64_t begin, int64_t end, int) {
    for (int64_t c = begin; c < end; ++c) {
      auto& list = round.lists[c];
      for (const int64_t other : lists_[c]) {
        if (round.position[other] >= 0) list.push_back(round.position[other]);
        round.near_drift[c] = std::max(round.near_drift[c], round.centroids.drift[other]);
      }
      std::sort(list.begin(), list.end());
      round.near_columns[c] = round.columns.gather(list, screen_.width());
      int64_t q = 0;  // the first that is not near
      for (auto next = list.begin(); q < round.size; ++q) {
        if (next != list.end() && *next == q) {
          ++next;
        } else if (q != round.position[c]) {
          break;
        }
      }
      if (q < round.size) round.far_drift[c] = round.drifts[q];
    }
  });
}

// Keeps what is known of a row's centroid, or lists the row among those to be compared.
void BoundedAssignment::choose(const Round& round, Comparer& comparer, int64_t p, Assignment& out,
                               std::vector<Compared>& chosen) {
  const int64_t row = rows_.rows[p], label = out.labels[row];
  Compared compared{p,          label,      label,      -1,        -kInfinity, -kInfinity,
                    -kInfinity, -kInfinity, -kInfinity, kInfinity, round.size};
  if (first_) return chosen.push_back(compared);
  double &upper = upper_[p], &near = near_[p], &far = far_[p], &best = out.best[row];
  const double room = this->room(round, p), last_far = far;
  upper = (upper + round.centroids.drift[label]) * (1.0 + kOutward);
  const auto holds = [&](double bound) { return bound > upper + room; };
  if (round.seeks) {
    near = less(near, round.near_drift[label]);
    far = less(far, round.far_drift[label]);
    if (holds(near) && holds(far)) {
      best = kUnknown;
      return;
    }
  }
  compared.best = comparer.truth(p, label);
  compared.own = round.position[label];
  upper = distance_at_most(metric_, compared.best) + room;
  const bool nearer = compared.best >= best;
  best = compared.best;
  if (!round.seeks) {
    if (nearer) compared.columns = round.moved;
    if (compared.columns > 0) chosen.push_back(compared);
    return;
  }
  if (holds(near) && holds(far)) return;
  if (holds(far)) {
    compared.columns = 0;
    compared.floor = far;
  } else {
    compared.columns = round.columns_from(kSpare * (last_far - upper - room));
    compared.floor = round.lowered(last_far, compared.columns);
  }
  // What is known of the other columns makes it idle to know more of these.
  if (compared.columns < round.size) {
    compared.bar = std::min(compared.best, score_at(metric_, compared.floor));
  }
  const auto& list = round.lists[label];
  if (!list.empty()) {
    comparer.load({&compared});
    comparer.compare_near(
        1, {round.near_columns[label], 0, static_cast<int64_t>(list.size()), list.data()});
  }
  chosen.push_back(compared);
}

void BoundedAssignment::run(Team& team, Round& round, Assignment& out) {
  const int64_t share = rows_.size() / (16 * team.most()) / Comparer::kRows * Comparer::kRows;
  const int64_t grain = std::clamp(share, Comparer::kRows, kBandRows);
  team.run_range(rows_.size(), grain, [&](int64_t begin, int64_t end, int worker) {
    Comparer comparer(codes_, round.centroids.side, metric_);
    std::vector<Compared> rows;
    for (int64_t p = begin; p < end; ++p) choose(round, comparer, p, out, rows);
    compare_far(team, worker, round, comparer, rows);
    int64_t columns = 0;
    for (const Compared& row : rows) {
      settle(round, row, out);
      columns +=
          row.columns + static_cast<int64_t>(round.seeks ? round.lists[row.before].size() : 0);
    }
    round.compared += columns;
  });
}

void BoundedAssignment::compare_far(Team& team, int worker, const Round& round, Comparer& comparer,
                                    std::vector<Compared>& chosen) const {
  std::vector<Compared*> rows;
  for (Compared& row : chosen) {
    if (row.columns > 0) rows.push_back(&row);
  }
  std::stable_sort(rows.begin(), rows.end(),
                   [](const Compared* a, const Compared* b) { return a->columns > b->columns; });
  const auto count = static_cast<int64_t>(rows.size());
  for (int64_t from = 0; from < count; from += Comparer::kRows) {
    team.checkpoint(worker);
    const auto first = rows.begin() + from;
    const auto last = first + std::min(Comparer::kRows, count - from);
    comparer.load({first, last});
    std::vector<const std::vector<int64_t>*> lists;
    for (auto row = first; round.seeks && row < last; ++row) {
      lists.push_back(&round.lists[(*row)->before]);
    }
    int64_t left = last - first;
    for (int64_t tile = 0; tile < (*first)->columns; tile += Comparer::kColumns) {
      while (first[left - 1]->columns <= tile) --left;
      const int64_t columns = std::min(Comparer::kColumns, (*first)->columns - tile);
      comparer.compare_far(left, {round.columns, tile, columns, nullptr}, lists);
    }
  }
}

void BoundedAssignment::settle(const Round& round, const Compared& row, Assignment& out) {
  const int64_t p = row.position, i = rows_.rows[p];
  const double room = this->room(round, p);
  out.labels[i] = row.label;
  out.best[i] = row.best;
  upper_[p] = distance_at_most(metric_, row.best) + room;
  near_[p] = far_[p] = -kInfinity;
  if (!round.seeks || (metric_ == Metric::kCosine && rows_.norm(p) == 0.0)) return;
  const auto bound = [&](double score) { return distance_at_least(metric_, score) - room; };
  near_[p] = bound(row.near);
  far_[p] = std::min(row.floor, bound(row.far));
  if (row.label == row.before) return;
  near_[p] = far_[p] = std::min({near_[p], far_[p], bound(row.left)});
}

void BoundedAssignment::finish(const Round& round) {
  const double all = static_cast<double>(round.moved) * static_cast<double>(rows_.size());
  const bool pays = static_cast<double>(round.compared) < kPays * all;
  if (!first_) seeks_ = round.seeks && (pays || !sought_);
  sought_ = round.seeks;
  first_ = false;
}

}  // namespace meddel

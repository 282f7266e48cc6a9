#include "ops/kmeans_bounds.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/copies.h"
#include "cpu/isa.h"
#include "screen/codes.h"

namespace meddel {
namespace {

constexpr int64_t kBandRows = 1024;  // of which those to be compared are sorted by their columns

// Fewer centroids have no lists: a row is compared with all at little cost.
constexpr int64_t kMany = 256;

// A row that has to be compared is so with far ones that moved by this share of its gap, too: if
// only with those that may be nearer, its next gap might be as small as nothing.
constexpr double kSpare = 0.25;
constexpr double kPays = 0.8;  // share of comparisons up to which bounds are worth their making
constexpr double kOpen = 0.6;  // likewise of rows, for the second nearest to be worth looking for
constexpr int64_t kFew = 3;    // so many times fewer move, likewise

constexpr double kOutward = 0x1p-50;
constexpr double kUp = 0x1p-22;  // the same in fp32
constexpr float kMostFloat = 3e38f;
constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

double distance_at_most(Metric metric, double score) {
  return std::sqrt(metric == Metric::kCosine ? 2.0 - 2.0 * score : -score) * (1.0 + kOutward);
}

// About the score at a distance; infinite where that tells nothing.
double score_at(Metric metric, double distance) {
  if (distance <= 0.0) return kInfinity;
  const double square = distance * distance;
  return metric == Metric::kCosine ? 1.0 - 0.5 * square : -square;
}

int64_t near_bytes(const ScanSide& rows) {
  return rows.size() * kNear * static_cast<int64_t>(sizeof(float));
}

double less(double bound, double drift) { return (bound - drift) * (1.0 - kOutward); }

}  // namespace

Assignment::Assignment(int64_t n)
    : labels(static_cast<size_t>(n), -1), best(static_cast<size_t>(n), -kInfinity) {}

BoundedAssignment::Round::Round(const Centroids& given, Metric metric)
    : centroids(given), size(given.side.size()) {
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
                                     int64_t kept, std::optional<CellsOfRows> cells)
    : rows_(rows),
      metric_(metric),
      screen_(map),
      lists_fit_(4 * near_bytes(rows) <= kept),
      cells_(std::move(cells)),
      codes_(screen_, rows, kept - (lists_fit_ ? near_bytes(rows) : 0)),
      upper_(rows.rows.size(), kInfinity),
      far_(rows.rows.size(), -kInfinity) {}

double BoundedAssignment::room(const Round& round, int64_t p) const {
  return round.room * ((metric_ == Metric::kCosine ? 1.0 : rows_.norm(p)) + round.longest);
}

// Puts the columns of a cell together, by falling drift and filled up to whole blocks.
void BoundedAssignment::place(Team& team, Round& round) const {
  const ScanSide& side = round.centroids.side;
  ScaledColumns all(screen_, side.positions());
  round.places.resize(static_cast<size_t>(round.size));
  if (!cells_) {
    round.columns = std::move(all);
    round.positions = count_up(round.size);
    round.places = round.positions;
    return;
  }
  round.placed = cells_->cells.place(team, side);
  const std::vector<int32_t>& cell = round.placed.cell;
  round.members.assign(static_cast<size_t>(cells_->cells.count()), 0);
  round.moved_members = round.members;
  for (int64_t q = 0; q < round.size; ++q) {
    ++round.members[cell[q]];
    if (q < round.moved) ++round.moved_members[cell[q]];
  }
  round.begin.push_back(0);
  for (const int64_t members : round.members) {
    round.begin.push_back(round.begin.back() + round_up(members, kBlockColumns));
  }
  round.positions.assign(static_cast<size_t>(round.begin.back()), -1);
  std::vector<int64_t> next = round.begin;
  for (int64_t q = 0; q < round.size; ++q) {
    const int64_t column = next[cell[q]]++;
    round.places[q] = column;
    round.positions[column] = q;
  }
  round.columns = all.gather(round.positions, screen_.width());
}

void BoundedAssignment::start(Team& team, Round& round) {
  round.seeks = !first_ && !cells_ && (seeks_ || 5 * round.moved < 2 * renewed_);
  if (round.seeks && !sought_) renewed_ = round.moved;
  if (!round.seeks) {
    lists_.clear();
    near_.clear();
  }
  if (round.seeks && lists_.empty()) {
    seconds_ = true;
    make_lists(team, round);
  }
  round.seconds = round.seeks && seconds_;
  if (round.seeks) place_lists(team, round);
}

// The list of a centroid is of those with the highest bounds. Any list would do.
void BoundedAssignment::make_lists(Team& team, const Round& round) {
  const ScanSide& side = round.centroids.side;
  lists_.assign(round.centroids.drift.size(), {});
  near_.clear();
  if (round.size < kMany || !lists_fit_) return;
  near_.assign(static_cast<size_t>(rows_.size() * kNear), -kMostFloat);
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
  round.near_positions.resize(lists_.size());
  round.near_columns.resize(lists_.size());
  round.near_drift.resize(lists_.size());
  round.near_moved.resize(lists_.size());
  round.far_drift.assign(lists_.size(), 0.0);
  team.run_range(k, Comparer::kRows, [&](int64_t begin, int64_t end, int) {
    for (int64_t c = begin; c < end; ++c) {
      auto& list = round.lists[c];
      for (const int64_t other : lists_[c]) {
        const int64_t q = round.position[other];
        round.near_positions[c].push_back(q);
        if (q >= 0) list.push_back(q);
        if (round.centroids.drift[other] > 0.0) round.near_moved[c] = 1;
        round.near_drift[c].push_back(rounded_up(round.centroids.drift[other]));
      }
      if (!lists_[c].empty()) {
        round.near_columns[c] = round.columns.gather(round.near_positions[c], screen_.width());
      }
      std::sort(list.begin(), list.end());
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

// What is known of those near a row's centroid, now that they have moved; returns the least. (The
// product of a subnormal number, which the difference is exactly, is not above it.)
double BoundedAssignment::age_near(const Round& round, int64_t p, int64_t label) {
  if (near_.empty() || lists_[label].empty()) return kInfinity;
  float* near = near_of(p);
  const float* drift = round.near_drift[label].data();
  const auto inward = static_cast<float>(1.0 - kUp);
  float least[4] = {kMostFloat, kMostFloat, kMostFloat, kMostFloat};
  for (int64_t j = 0; j < kNear; ++j) {
    near[j] = (near[j] - drift[j]) * inward;
    least[j % 4] = std::min(least[j % 4], near[j]);
  }
  return static_cast<double>(std::min({least[0], least[1], least[2], least[3]}));
}

// Keeps what is known of a row's centroid, or lists the row among those to be compared.
void BoundedAssignment::choose(const Round& round, Comparer& comparer, int64_t p, Assignment& out,
                               std::vector<Compared>& chosen) {
  const int64_t row = rows_.rows[p], label = out.labels[row];
  Compared compared;
  compared.position = p;
  compared.label = compared.before = label;
  compared.columns = round.size;
  if (first_) return chosen.push_back(compared);
  double &upper = upper_[p], &far = far_[p], &best = out.best[row];
  const double room = this->room(round, p), last_far = far, drift = round.centroids.drift[label];
  upper = (upper + drift) * (1.0 + kOutward);
  const auto holds = [&](double bound) { return bound > upper + room; };
  double near = -kInfinity;
  if (round.seeks) {
    if (round.lists[label].empty()) near = kInfinity;
    if (round.seconds) near = age_near(round, p, label);
    far = less(far, round.far_drift[label]);
    if (holds(near) && holds(far)) {
      if (drift > 0.0) best = kUnknown;
      return;
    }
  }
  const bool known = drift == 0.0 && !std::isnan(best);
  compared.best = known ? best : comparer.truth(p, label);
  compared.own = round.position[label];
  upper = distance_at_most(metric_, compared.best) + room;
  const bool nearer = compared.best >= best;
  best = compared.best;
  if (!round.seeks) {
    if (nearer) compared.columns = round.moved;
    if (compared.columns > 0) chosen.push_back(compared);
    return;
  }
  compared.open = !holds(near) && !(nearer && round.near_moved[label] == 0);
  if (holds(far) || (nearer && round.far_drift[label] == 0.0)) {
    compared.columns = 0;
    compared.floor = far;
  } else {
    compared.columns = round.columns_from(kSpare * (last_far - upper - room));
    compared.floor = round.lowered(last_far, compared.columns);
  }
  if (compared.open) {
    // What is known of the other columns makes it idle to know more of these.
    if (compared.columns < round.size) {
      compared.bar = std::min(compared.best, score_at(metric_, compared.floor));
    }
    comparer.load({&compared});
    const auto& columns = round.near_columns[label];
    comparer.compare_near({columns, 0, kNear, round.near_positions[label].data(), nullptr}, room,
                          round.seconds ? near_of(p) : nullptr);
  } else {
    compared.least = near;
  }
  if (compared.open || compared.columns > 0) chosen.push_back(compared);
}

void BoundedAssignment::run(Team& team, Round& round, Assignment& out) {
  const int64_t share = rows_.size() / (8 * team.most()) / Comparer::kRows * Comparer::kRows;
  const int64_t grain =
      team.most() == 1 ? kBandRows : std::clamp(share, Comparer::kRows, kBandRows);
  team.run_range(rows_.size(), grain, [&](int64_t begin, int64_t end, int worker) {
    Comparer comparer(codes_, round.centroids.side, metric_);
    std::vector<Compared> rows;
    for (int64_t p = begin; p < end; ++p) choose(round, comparer, p, out, rows);
    compare_far(team, worker, round, comparer, rows);
    int64_t columns = 0, open = 0;
    for (const Compared& row : rows) {
      settle(round, row, out);
      open += row.open;
      columns += row.seen + static_cast<int64_t>(round.seeks ? round.lists[row.before].size() : 0);
    }
    round.compared += columns;
    round.open += open;
  });
}

void BoundedAssignment::compare_far(Team& team, int worker, const Round& round, Comparer& comparer,
                                    std::vector<Compared>& chosen) const {
  std::vector<Compared*> rows;
  for (Compared& row : chosen) {
    if (row.columns > 0) rows.push_back(&row);
  }
  if (!cells_) {
    std::stable_sort(rows.begin(), rows.end(),
                     [](const Compared* a, const Compared* b) { return a->columns > b->columns; });
  }
  const auto count = static_cast<int64_t>(rows.size());
  for (int64_t from = 0; from < count; from += Comparer::kRows) {
    team.checkpoint(worker);
    const auto first = rows.begin() + from;
    const std::vector<Compared*> some(first, first + std::min(Comparer::kRows, count - from));
    comparer.load(some);
    Lists lists;
    for (auto row = some.begin(); round.seeks && row < some.end(); ++row) {
      lists.push_back(&round.lists[(*row)->before]);
    }
    if (cells_) {
      compare_cells(round, comparer, some);
    } else {
      compare_columns(round, comparer, some, lists);
    }
  }
}

void BoundedAssignment::compare_columns(const Round& round, Comparer& comparer,
                                        const std::vector<Compared*>& rows,
                                        const Lists& lists) const {
  std::vector<uint8_t> left(rows.size());
  std::iota(left.begin(), left.end(), uint8_t{0});
  const int64_t most = rows.front()->columns;
  for (int64_t tile = 0; tile < most; tile += Comparer::kColumns) {
    while (rows[left.back()]->columns <= tile) left.pop_back();
    const int64_t columns = std::min(Comparer::kColumns, most - tile);
    comparer.compare_far(
        left, {round.columns, tile, columns, &round.positions[tile], round.places.data()}, lists);
  }
}

// A row's own cell comes first where nothing is known of it: the others are measured by what it
// finds there.
void BoundedAssignment::compare_cells(const Round& round, Comparer& comparer,
                                      const std::vector<Compared*>& rows) const {
  std::vector<uint64_t> own, wanted(static_cast<size_t>(cells_->cells.columns()), 0);
  std::vector<uint8_t> some;
  const auto compare = [&] {
    for (size_t cell = 0; cell < round.members.size(); ++cell) {
      bool all = false;  // whether some row is compared with those, too, that did not move
      some.clear();
      for (size_t r = 0; wanted[cell] != 0 && r < rows.size(); ++r) {
        if ((wanted[cell] >> r & 1) == 0) continue;
        some.push_back(static_cast<uint8_t>(r));
        all = all || rows[r]->columns > round.moved;
      }
      const int64_t count = all ? round.members[cell] : round.moved_members[cell];
      if (some.empty() || count == 0) continue;
      const int64_t first = round.begin[cell];
      for (int64_t at = first; at < first + count; at += Comparer::kColumns) {
        const int64_t columns = std::min(Comparer::kColumns, first + count - at);
        comparer.compare_far(
            some, {round.columns, at, columns, &round.positions[at], round.places.data()}, {});
      }
    }
  };
  if (first_) {
    for (size_t r = 0; r < rows.size(); ++r) {
      const int32_t cell = cells_->own[rows[r]->position];
      if (cell >= 0) wanted[cell] |= uint64_t{1} << r;
    }
    compare();
    own.swap(wanted);
    wanted.assign(own.size(), 0);
  }
  comparer.reach_cells(*cells_, round.placed, wanted);
  for (size_t cell = 0; cell < own.size(); ++cell) wanted[cell] &= ~own[cell];
  compare();
}

void BoundedAssignment::settle(const Round& round, const Compared& row, Assignment& out) {
  const int64_t p = row.position, i = rows_.rows[p];
  const double room = this->room(round, p);
  out.labels[i] = row.label;
  out.best[i] = row.best;
  upper_[p] = distance_at_most(metric_, row.best) + room;
  far_[p] = -kInfinity;
  if (!round.seeks || (metric_ == Metric::kCosine && rows_.norm(p) == 0.0)) {
    return fill_near(p, -kInfinity);
  }
  const auto bound = [&](double score) { return distance_at_least(metric_, score) - room; };
  far_[p] = std::min(row.floor, bound(row.far));
  if (row.label == row.before) return;
  far_[p] = std::min({far_[p], row.least, bound(row.near), bound(row.left)});
  fill_near(p, far_[p]);
}

// Gives all near bounds of a row the same value.
void BoundedAssignment::fill_near(int64_t p, double bound) {
  if (near_.empty()) return;
  std::fill_n(near_of(p), kNear, rounded_down(bound));
}

void BoundedAssignment::finish(const Round& round) {
  const auto n = static_cast<double>(rows_.size()), k = static_cast<double>(round.size);
  if (first_) {
    all_ = static_cast<double>(round.compared) / n;
  }
  const double all = all_ * n * static_cast<double>(round.moved) / k;
  const bool pays = static_cast<double>(round.compared) < kPays * all;
  if (!first_) seeks_ = round.seeks && (pays || !sought_);
  const bool known = static_cast<double>(round.open) < kOpen * static_cast<double>(rows_.size());
  if (round.seeks) seconds_ = round.seconds && (known || !sought_);
  if (!seconds_ && kFew * round.moved < round.size) {
    seeks_ = false;  // for good: to compare with those that moved costs less than bounds by list
    renewed_ = 0;
  }
  sought_ = round.seeks;
  first_ = false;
}

}  // namespace meddel

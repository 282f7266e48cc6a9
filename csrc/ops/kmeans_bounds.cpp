#include "ops/kmeans_bounds.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "base/confirm.h"
#include "cpu/isa.h"
#include "screen/codes.h"

namespace meddel {
namespace {

constexpr int64_t kBandRows =
    1024;                          // of which those that are looked at are sorted by their columns
constexpr int64_t kRows = 64;      // screened together: codes and sums in L2
constexpr int64_t kColumns = 256;  // a tile
constexpr int32_t kOut = -1'000'000'000;
// A row that has to be looked at is compared with those that moved by this share of its gap, too:
// if only with those that may be nearer, its next gap might be as small as nothing.
constexpr double kSpare = 0.25;
constexpr double kPays = 0.8;  // share of comparisons up to which bounds are worth their making
constexpr double kOutward = 0x1p-50;
constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

// A row that has to be looked at, and what is known of it.
struct Looked {
  int64_t position;
  int64_t label;
  double best;      // its score with it
  double second;    // what no other score with the columns looked at exceeds, but those to come
  int64_t columns;  // so many, the first ones, have to be looked at
  int64_t own;      // the label's column, or -1
};

double distance_at_least(Metric metric, double score) {
  const double square = metric == Metric::kCosine ? 2.0 - 2.0 * score : -score;
  return std::sqrt(std::max(0.0, square)) * (1.0 - kOutward);
}

double distance_at_most(Metric metric, double score) {
  return std::sqrt(metric == Metric::kCosine ? 2.0 - 2.0 * score : -score) * (1.0 + kOutward);
}

double score_at(Metric metric, double distance) {
  if (distance <= 0.0) return kInfinity;
  const double square = distance * distance;
  return metric == Metric::kCosine ? 1.0 - 0.5 * square : -square;
}

// What the confirmer hands the truth of one row's candidates to.
class Nearest {
 public:
  Nearest(const ScanSide& x, const ScanSide& centroids, Metric metric)
      : x_(x), centroids_(centroids), metric_(metric) {}

  void begin(Looked& row) { row_ = &row; }
  Metric metric() const { return metric_; }
  double bar(int64_t) const { return row_->second; }

  void take(int64_t p, int64_t q, double inner) {
    const double found = score(metric_, inner, x_.square(p), centroids_.square(q));
    const int64_t centroid = centroids_.rows[q];
    if (centroid == row_->label) return;
    if (found < row_->best || (found == row_->best && centroid > row_->label)) {
      row_->second = std::max(row_->second, found);
      return;
    }
    row_->second = std::max(row_->second, row_->best);
    row_->best = found;
    row_->label = centroid;
    row_->own = q;
  }

 private:
  const ScanSide& x_;
  const ScanSide& centroids_;
  const Metric metric_;
  Looked* row_ = nullptr;
};

}  // namespace

Assignment::Assignment(int64_t n)
    : labels(static_cast<size_t>(n), -1), best(static_cast<size_t>(n), -kInfinity) {}

// What is the same for all rows.
struct BoundedAssignment::Round {
  Round(const Scaled& screen, const Centroids& given, Metric metric)
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

  // The columns whose drift is at least (or above) a gap; all if it is no number.
  int64_t columns_from(double gap, bool equal = true) const {
    const auto reaches = [&](double drift) { return equal ? !(drift < gap) : drift > gap; };
    return std::partition_point(drifts.begin(), drifts.end(), reaches) - drifts.begin();
  }

  // What `lower` is once it counts no longer for the first columns.
  double lowered(double lower, int64_t from) const {
    return from < size ? (lower - drifts[from]) * (1.0 - kOutward) : kInfinity;
  }

  const Centroids& centroids;
  const ScaledColumns columns;
  const int64_t size;
  std::vector<int64_t> position;     // of each centroid, or -1
  std::vector<double> drifts;        // by position, falling
  int64_t moved;                     // columns with a drift
  bool renews = false;               // whether rows without a gap are compared with all columns
  bool seeks = false;                // whether the second nearest is wanted
  std::atomic<int64_t> compared{0};  // columns, of all rows
  double room;                       // a length
  double longest;
};

// One thread's work on some rows.
class BoundedAssignment::Band {
 public:
  Band(BoundedAssignment& all, Round& round, Assignment& out)
      : all_(all),
        round_(round),
        rows_(all.rows_),
        centroids_(round.centroids.side),
        out_(out),
        width_(all.screen_.width()),
        widen_(rows_.x->dtype == DType::kFloat32
                   ? nullptr
                   : kernels().widen[static_cast<int>(rows_.x->dtype)]),
        nearest_(rows_, centroids_, all.metric_),
        confirmer_(rows_, centroids_, nearest_),
        wide_(static_cast<size_t>(rows_.x->d)),
        code_(static_cast<size_t>(width_)),
        bytes_(static_cast<size_t>(kRows * width_)),
        traits_(static_cast<size_t>(kRows)),
        none_(static_cast<size_t>(kRows), 0),
        sums_(static_cast<size_t>(kRows * kColumns)),
        bits_(static_cast<size_t>(kColumns)),
        found_(static_cast<size_t>(kColumns)) {}

  void run(Team& team, int64_t begin, int64_t end, int worker) {
    looked_.clear();
    for (int64_t p = begin; p < end; ++p) choose(p);
    std::sort(looked_.begin(), looked_.end(), [](const Looked& a, const Looked& b) {
      return a.columns > b.columns || (a.columns == b.columns && a.position < b.position);
    });
    for (const Looked& looked : looked_) round_.compared += looked.columns;
    const auto count = static_cast<int64_t>(looked_.size());
    for (int64_t first = 0; first < count; first += kRows) {
      team.checkpoint(worker);
      screen(&looked_[first], std::min(kRows, count - first));
    }
  }

 private:
  double room(int64_t p) const {
    return round_.room * ((all_.metric_ == Metric::kCosine ? 1.0 : rows_.norm(p)) + round_.longest);
  }

  // Keeps what is known of a row's centroid, or lists the row among those to be looked at.
  void choose(int64_t p) {
    const int64_t row = rows_.rows[p], label = out_.labels[row];
    Looked looked{p, label, -kInfinity, -kInfinity, round_.size, -1};
    if (all_.first_) return looked_.push_back(looked);
    double &upper = all_.upper_[p], &lower = all_.lower_[p], &best = out_.best[row];
    upper = (upper + round_.centroids.drift[label]) * (1.0 + kOutward);
    double gap = lower - upper - room(p);
    looked.columns = round_.columns_from(gap);
    if (looked.columns == 0) {
      best = kUnknown;
    } else {
      looked.best = truth(p, label);
      looked.own = round_.position[label];
      upper = distance_at_most(all_.metric_, looked.best) + room(p);
      gap = lower - upper - room(p);
      looked.columns = round_.columns_from(gap);
      if (looked.columns > 0) looked.columns = round_.columns_from(kSpare * gap);
      if (looked.best >= best && !round_.renews) {
        looked.columns = std::min(looked.columns, round_.moved);
      }
      best = looked.best;
    }
    if (looked.columns == 0) {
      lower = round_.lowered(lower, 0);
      return;
    }
    if (!round_.seeks) {
      looked.second = looked.best;
    } else if (looked.columns < round_.size) {
      // What is known of the other columns makes it idle to know more of these.
      const double other = score_at(all_.metric_, round_.lowered(lower, looked.columns));
      looked.second = std::min(looked.best, other);
    }
    looked_.push_back(looked);
  }

  double truth(int64_t p, int64_t label) {
    const float* row = static_cast<const float*>(rows_.data(p));
    if (widen_ != nullptr) {
      widen_(rows_.data(p), rows_.x->d, wide_.data());
      row = wide_.data();
    }
    const double inner = kernels().dot[0](row, centroids_.x->row(label), rows_.x->d);
    return score(all_.metric_, inner, rows_.square(p), centroids_.squares[label]);
  }

  // Compares some rows, those with the most columns first, with these.
  void screen(Looked* looked, int64_t count) {
    for (int64_t r = 0; r < count; ++r) encode(looked[r].position, r);
    for (int64_t tile = 0, left = count; tile < looked[0].columns; tile += kColumns) {
      while (looked[left - 1].columns <= tile) --left;
      const int64_t columns = round_up(std::min(kColumns, looked[0].columns - tile), kBlockColumns);
      kernels().scores(bytes_.data(), none_.data(), round_up(left, 4),
                       &round_.columns.packed[tile * width_], &round_.columns.start[tile],
                       columns / kBlockColumns, width_, sums_.data(), kColumns);
      for (int64_t r = 0; r < left; ++r) {
        compare(looked[r], traits_[r], tile, columns, &sums_[r * kColumns]);
      }
    }
    for (int64_t r = 0; r < count; ++r) settle(looked[r]);
  }

  // Puts a row's code where it is compared; it is made the first time, or if there is no room.
  void encode(int64_t p, int64_t r) {
    const bool held = p < all_.held_;
    uint8_t* to = held ? &all_.codes_[p * width_] : &bytes_[r * width_];
    ScaledRow& traits = held ? all_.traits_[p] : traits_[r];
    if (all_.first_ || !held) {
      traits = all_.screen_.encode(rows_.positions(), rows_.rows[p], wide_.data(), code_.data());
      const int32_t bias = kernels().bias;
      for (int64_t e = 0; e < width_; ++e) to[e] = static_cast<uint8_t>(code_[e] + bias);
    }
    if (!held) return;
    std::copy_n(to, width_, &bytes_[r * width_]);
    traits_[r] = traits;
  }

  // The row's bounds with a tile's columns, less the level; returns the greatest.
  float reach(const ScaledRow& traits, double level, int64_t tile, int64_t columns,
              const int32_t* sums) {
    return kernels().reach(sums, columns, Scaled::below(traits, level),
                           &round_.columns.traits[4 * tile], bits_.data());
  }

  // Leaves the row's own column out.
  static void leave_out(const Looked& row, int64_t tile, int32_t* sums) {
    if (row.own >= tile && row.own < tile + kColumns) sums[row.own - tile] = kOut;
  }

  void compare(Looked& row, const ScaledRow& traits, int64_t tile, int64_t columns, int32_t* sums) {
    const int64_t p = row.position;
    nearest_.begin(row);
    leave_out(row, tile, sums);
    float most = reach(traits, all_.screen_.level(row.second), tile, columns, sums);
    if (most < 0.0f) return;
    if (row.best == -kInfinity || (tile == 0 && row.second < row.best)) {
      // The most promising one first: it leaves few of the others.
      const int64_t q = tile + kernels().highest(bits_.data(), columns);
      if (q < round_.size) confirmer_.add(q);
      confirmer_.settle(p);
      leave_out(row, tile, sums);
      if (!round_.seeks) row.second = row.best;
      most = reach(traits, all_.screen_.level(row.second), tile, columns, sums);
      if (most < 0.0f) return;
    }
    const int32_t count = kernels().at_least(bits_.data(), columns, 0, found_.data());
    for (int32_t k = 0; k < count; ++k) {
      const int64_t q = tile + found_[k];
      if (q < round_.size && q != row.own) confirmer_.add(q);
    }
    confirmer_.settle(p);
  }

  void settle(const Looked& row) {
    const int64_t p = row.position, i = rows_.rows[p];
    const Metric metric = all_.metric_;
    out_.labels[i] = row.label;
    out_.best[i] = row.best;
    all_.upper_[p] = distance_at_most(metric, row.best) + room(p);
    all_.lower_[p] = std::min(distance_at_least(metric, row.second) - room(p),
                              round_.lowered(all_.lower_[p], row.columns));
    if (metric == Metric::kCosine && rows_.norm(p) == 0.0) all_.lower_[p] = -kInfinity;
  }

  BoundedAssignment& all_;
  Round& round_;
  const ScanSide& rows_;
  const ScanSide& centroids_;
  Assignment& out_;
  const int64_t width_;
  const WidenFn widen_;
  Nearest nearest_;
  scan::Confirmer<Nearest> confirmer_;
  std::vector<Looked> looked_;
  std::vector<float> wide_;
  std::vector<int8_t> code_;
  std::vector<uint8_t> bytes_;  // of the rows that are screened together
  std::vector<ScaledRow> traits_;
  const std::vector<int32_t> none_;
  std::vector<int32_t> sums_;
  std::vector<int32_t> bits_;
  std::vector<uint16_t> found_;
};

BoundedAssignment::BoundedAssignment(const ScanSide& rows, Metric metric, const PointMap& map,
                                     int64_t kept)
    : rows_(rows),
      metric_(metric),
      screen_(map),
      held_(std::min(rows.size(), kept / screen_.width())),
      codes_(static_cast<size_t>(held_ * screen_.width())),
      traits_(static_cast<size_t>(held_)),
      upper_(rows.rows.size(), kInfinity),
      lower_(rows.rows.size(), -kInfinity) {}

void BoundedAssignment::assign(Team& team, const Centroids& centroids, Assignment& out) {
  Round round(screen_, centroids, metric_);
  round.renews = !first_ && 2 * round.moved < renewed_;
  round.seeks = !first_ && (seeks_ || round.renews);
  if (first_ || round.renews) renewed_ = round.moved;
  const int64_t share = rows_.size() / (16 * team.most()) / kRows * kRows;
  team.run_range(rows_.size(), std::clamp(share, kRows, kBandRows),
                 [&](int64_t begin, int64_t end, int worker) {
                   Band(*this, round, out).run(team, begin, end, worker);
                 });
  const double all = static_cast<double>(round.moved) * static_cast<double>(rows_.size());
  const bool pays = static_cast<double>(round.compared) < kPays * all;
  if (!first_) seeks_ = round.seeks && (pays || !sought_);
  sought_ = round.seeks;
  first_ = false;
}

}  // namespace meddel

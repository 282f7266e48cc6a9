#include "ops/kmeans_assign.h"

#include <algorithm>
#include <cmath>

#include "cpu/isa.h"
#include "ops/kmeans.h"
#include "screen/groups.h"
#include "screen/pair_scan.h"
#include "screen/plan.h"

namespace meddel {
namespace {

// In multiply-adds an iteration: smaller ones are done before bounds that last pay.
constexpr double kBounded = 2.5e8;

constexpr int64_t kTried = 512;  // rows that cells are tried on
constexpr double kWorth = 0.6;   // of the work without them, up to which they are used

// The scores of the rows of the first positions with their centroids, or of those of unknown score.
enum class Which { kAll, kUnknown };
void work_out(Team& team, const ScanSide& x, const ScanSide& centroids, Metric metric,
              int64_t positions, Which which, Assignment& out) {
  const WidenFn widen = kernels().widen[static_cast<int>(x.x->dtype)];
  const DotFn dot = kernels().dot[static_cast<int>(DType::kFloat32)];
  team.run_range(positions, kBlockRows, [&](int64_t begin, int64_t end, int) {
    std::vector<float> wide(static_cast<size_t>(x.x->d));
    for (int64_t p = begin; p < end; ++p) {
      const int64_t row = x.rows[p], label = out.labels[row];
      if (which == Which::kUnknown && !std::isnan(out.best[row])) continue;
      widen(x.data(p), x.x->d, wide.data());
      const double inner = dot(wide.data(), centroids.x->row(label), x.x->d);
      out.best[row] = score(metric, inner, x.squares[row], centroids.squares[label]);
    }
  });
}

// Nearest centroid per row: the operation of a pair scan.
class NearestScan {
 public:
  static constexpr bool kRising = true;

  NearestScan(const ScanSide& x, const ScanSide& centroids, Metric metric, Assignment& out)
      : x_(x),
        centroids_(centroids),
        metric_(metric),
        out_(out),
        settled_(x.size()),
        moved_(centroids.size()) {}

  // Goes on from an assignment since which the centroids of the first `moved` positions have moved.
  // The rows from position `settled` on belong to others: theirs is still the nearest of these, so
  // that only those that moved can be nearer. The rest begin with their last one, for a bar.
  void go_on(Team& team, int64_t settled, int64_t moved) {
    settled_ = settled;
    moved_ = moved;
    work_out(team, x_, centroids_, metric_, settled, Which::kAll, out_);
  }

  Metric metric() const { return metric_; }
  ColumnRange range(int64_t p) const { return {0, p < settled_ ? centroids_.size() : moved_}; }
  bool counts(int64_t p, int64_t q) const { return out_.labels[x_.rows[p]] != centroids_.rows[q]; }
  double bar(int64_t p) const { return out_.best[x_.rows[p]]; }

  void take(int64_t p, int64_t q, double inner) {
    const double found = score(metric_, inner, x_.square(p), centroids_.square(q));
    const int64_t row = x_.rows[p], centroid = centroids_.rows[q];
    double& best = out_.best[row];
    if (found > best || (found == best && centroid < out_.labels[row])) {
      best = found;
      out_.labels[row] = centroid;
    }
  }

  void finish_band(int64_t, int64_t) {}

 private:
  const ScanSide& x_;
  const ScanSide& centroids_;
  const Metric metric_;
  Assignment& out_;
  int64_t settled_;
  int64_t moved_;
};

// How far a centroid has come, at least: as points, or as unit vectors.
double drift(Metric metric, const ScanSide& from, const ScanSide& to, int64_t c) {
  const int64_t d = to.x->d;
  const auto* a = static_cast<const float*>(from.x->row(c));
  const auto* b = static_cast<const float*>(to.x->row(c));
  if (std::equal(a, a + d, b)) return 0.0;
  const bool unit = metric == Metric::kCosine;
  const double left = unit ? from.norms[c] : 1.0, right = unit ? to.norms[c] : 1.0;
  if (left == 0.0 || right == 0.0) return kInfinity;
  double sum = 0.0;
  for (int64_t e = 0; e < d; ++e) {
    const double gap = static_cast<double>(a[e]) / left - static_cast<double>(b[e]) / right;
    sum += gap * gap;
  }
  // An element of a unit vector is off by (d + 8) 2^-52 of itself, a root of d + 2 roundings.
  const double off = static_cast<double>(d + 16) * 0x1p-51;
  return std::sqrt(sum) * (1.0 + off) + (unit ? 2.0 * off : 0.0);
}

}  // namespace

Assigner::Assigner(Team& team, ScanSide& rows, int64_t k, Metric metric)
    : team_(team), rows_(rows), k_(k), metric_(metric), copies_(team, *rows.x), out_(rows.x->n) {}

void Assigner::learn(const ScanSide& centroids) {
  const int64_t n = rows_.x->n;
  const double pairs = static_cast<double>(n) * static_cast<double>(k_);
  const ScreenPlan plan = plan_screens(pairs, static_cast<double>(k_), rows_.x->d);
  if (!plan.prefix && !plan.dense) return;
  // The rows alone tell enough where that is known, from the seeding say.
  const ScanSide& others = Sample::is_known(metric_, *rows_.x, plan) ? rows_ : centroids;
  const Sample sample(metric_, rows_.positions(), others.positions(), plan);
  if (plan.dense) dense_ = Screen::dense(sample);
  if (plan.prefix) {
    prefix_ = choose_prefix(team_, sample, dense_ ? &*dense_ : nullptr, rows_.positions(),
                            centroids.positions(), pairs, typical_bar(sample));
  }
  const bool large = screens_forced() || pairs * static_cast<double>(rows_.x->d) > kBounded;
  std::optional<CellsOfRows> cells =
      large ? sort_by_cell(sample.map, centroids) : std::optional<CellsOfRows>();
  if (cells || (!prefix_ && large)) {
    prefix_.reset();
    if (copies_.any() && !cells) rows_.rows = copies_.distinct;
    bounded_.emplace(rows_, metric_, sample.map, kept_bytes(*rows_.x, 0), std::move(cells));
    return;
  }
  if (prefix_) {
    screening_.prefix = &*prefix_;
    prefix_codes_ = prefix_->encode_rows(team_, rows_.positions());
    screening_.x_codes = [this](int64_t begin, int64_t end) {
      return prefix_codes_.gather(&rows_.rows[begin], end - begin, prefix_->width());
    };
  }
  if (!dense_) return;
  screening_.dense = &*dense_;
  dense_rows_.emplace(team_, *dense_, rows_);
  screening_.x_dense = [this](int64_t begin, int64_t end) {
    return (*dense_rows_)(rows_, begin, end);
  };
}

// Finds cells, and puts the rows of each together; none where they leave too much of some rows.
std::optional<CellsOfRows> Assigner::sort_by_cell(const PointMap& map, const ScanSide& centroids) {
  std::vector<int64_t> rows = copies_.any() ? copies_.distinct : rows_.rows;
  const auto n = static_cast<int64_t>(rows.size());
  if (!Cells::may_pay(n, centroids.size())) return {};
  const Cells cells(team_, Scaled(map), metric_, centroids);
  if (!groups_forced()) {
    ScanSide some{rows_.x, {}, rows_.squares, rows_.norms};
    for (int64_t s = 0; s < kTried; ++s) some.rows.push_back(rows[s * n / kTried]);
    BoundedAssignment trial(some, metric_, map, 0,
                            CellsOfRows{cells, cells.of(team_, some.positions())});
    Assignment out(rows_.x->n);
    const std::vector<double> unknown(static_cast<size_t>(k_), kInfinity);
    trial.assign(team_, {centroids, unknown}, out, [] {});
    const auto d = static_cast<double>(rows_.x->d), k = static_cast<double>(centroids.size());
    const double width = prefix_ ? static_cast<double>(prefix_->width()) : d;
    if (trial.columns() * d > kWorth * k * width) return {};
  }
  const std::vector<int32_t> cell = cells.of(team_, {*rows_.x, rows_.norms, rows});
  std::vector<int32_t> group = cell;
  for (int32_t& c : group) c = c < 0 ? static_cast<int32_t>(cells.count()) : c;
  CellsOfRows out{cells, {}};
  rows_.rows.clear();
  for (const int64_t p : by_group(group, cells.count() + 1)) {
    rows_.rows.push_back(rows[p]);
    out.own.push_back(cell[p]);
  }
  return out;
}

std::vector<double> Assigner::drifts(const ScanSide& centroids) const {
  std::vector<double> out(static_cast<size_t>(k_), kInfinity);
  if (!last_) return out;
  for (const int64_t c : last_->rows) out[c] = drift(metric_, *last_, centroids, c);
  return out;
}

void Assigner::assign(const Matrix& centroids, int64_t made, int64_t total) {
  const int64_t n = rows_.x->n;
  team_.announce(made * n, total * n);
  ScanSide side = all_rows(team_, centroids);
  if (!last_) {
    learn(side);
    if (copies_.any()) rows_.rows = copies_.distinct;  // codes are of all rows
  }
  std::vector<double> drift = drifts(side);
  const Copies equal(team_, centroids);
  if (equal.any()) side.rows = equal.distinct;
  std::stable_sort(side.rows.begin(), side.rows.end(),
                   [&](int64_t a, int64_t b) { return drift[a] > drift[b]; });
  if (bounded_) {
    bounded_->assign(team_, {side, drift}, out_, [&] { team_.announce(made * n, total * n, n); });
  } else {
    scan(side, drift, [&] { team_.announce(made * n, total * n, n); });
  }
  tell_copies();
  keep(std::move(side));
}

void Assigner::scan(const ScanSide& centroids, const std::vector<double>& drift,
                    const std::function<void()>& begins) {
  std::vector<Codes> dense_tiles;
  if (screening_.dense != nullptr) {
    for (int64_t tile = 0; tile < centroids.size(); tile += scan::kTileColumns) {
      const int64_t end = std::min(centroids.size(), tile + scan::kTileColumns);
      dense_tiles.push_back(dense_->encode(centroids.positions(), tile, end));
    }
    screening_.y_dense = [&](int64_t tile, Codes&) -> const Codes& {
      return dense_tiles[tile / scan::kTileColumns];
    };
  }
  if (screening_.prefix != nullptr) {
    centroid_codes_ = prefix_->encode(team_, centroids.positions());
    screening_.y_codes = &centroid_codes_;
  }
  NearestScan nearest(rows_, centroids, metric_, out_);
  if (last_) {
    const auto moved = [&](int64_t c) { return drift[c] > 0.0; };
    const auto begin = rows_.rows.begin();
    const auto settled = std::stable_partition(begin, rows_.rows.end(),
                                               [&](int64_t i) { return moved(out_.labels[i]); });
    nearest.go_on(team_, settled - begin,
                  std::count_if(centroids.rows.begin(), centroids.rows.end(), moved));
  }
  begins();
  scan_pairs(team_, rows_, centroids, screening_, nearest);
}

void Assigner::tell_copies() {
  for (int64_t i = 0; copies_.any() && i < rows_.x->n; ++i) {
    out_.labels[i] = out_.labels[copies_.first(i)];
    out_.best[i] = out_.best[copies_.first(i)];
  }
}

void Assigner::keep(ScanSide centroids) {
  const int64_t d = centroids.x->d;
  const auto* data = static_cast<const float*>(centroids.x->data);
  last_data_.assign(data, data + k_ * d);
  last_matrix_ = {last_data_.data(), k_, d, d, DType::kFloat32};
  last_ = std::move(centroids);
  last_->x = &last_matrix_;
}

std::vector<double> Assigner::distances() {
  work_out(team_, rows_, *last_, metric_, rows_.size(), Which::kUnknown, out_);
  tell_copies();
  std::vector<double> out;
  out.reserve(out_.best.size());
  for (const double s : out_.best) out.push_back(distance_of(metric_, s));
  return out;
}

}  // namespace meddel

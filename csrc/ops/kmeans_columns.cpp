#include "ops/kmeans_columns.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/copies.h"
#include "cpu/isa.h"
#include "ops/kmeans.h"
#include "screen/bounds.h"
#include "screen/plan.h"

namespace meddel {
namespace {

constexpr float kNone = -std::numeric_limits<float>::infinity();

float rounded_down(double value) { return std::nextafter(static_cast<float>(value), kNone); }

}  // namespace

bool ColumnAssigner::pays(const Matrix& x) { return ColumnRows::fits(x) && !screens_forced(); }

ColumnAssigner::ColumnAssigner(Team& team, const Matrix& x, const std::vector<double>& squares,
                               Metric metric, bool once)
    : team_(team),
      x_(x),
      squares_(squares),
      metric_(metric),
      rows_(team, x, once),
      labels_(static_cast<size_t>(x.n)) {}

void ColumnAssigner::set_centroids(const std::vector<float>& centroids, int64_t k) {
  const int64_t d = x_.d;
  given_ = {centroids.data(), k, d, d, DType::kFloat32};
  const Copies copies(team_, given_);
  distinct_ = copies.any() ? copies.distinct : std::vector<int64_t>();
  const int64_t count = copies.any() ? static_cast<int64_t>(distinct_.size()) : k;
  columns_ = count + count % 2;
  squares_of_.resize(static_cast<size_t>(k));
  kernels().squares[0](given_.data, d, k, d, squares_of_.data());
  scaled_.assign(static_cast<size_t>(columns_ * d), 0.0f);
  offset_.assign(static_cast<size_t>(columns_), kNone);
  double longest = 0.0, shortest = kInfinity;
  for (int64_t column = 0; column < count; ++column) {
    const int64_t c = centroid(column);
    const double norm = std::sqrt(squares_of_[c]);
    longest = std::max(longest, norm);
    if (norm > 0.0) shortest = std::min(shortest, norm);
    float scale = 1.0f;
    if (metric_ == Metric::kCosine) scale = norm > 0.0 ? static_cast<float>(1.0 / norm) : 0.0f;
    offset_[column] = metric_ == Metric::kCosine ? 0.0f : static_cast<float>(-0.5 * squares_of_[c]);
    const float* from = &centroids[static_cast<size_t>(c * d)];
    for (int64_t e = 0; e < d; ++e) scaled_[column * d + e] = from[e] * scale;
  }
  const double roundings = static_cast<double>(d + 4) * 0x1p-24;
  const double gamma = roundings / (1.0 - roundings);
  const double off = static_cast<double>(d + 16);
  if (metric_ == Metric::kCosine) {
    usable_ = !(shortest <= kLeastNorm) && longest < kGreatestNorm;
    slope_ = 2.02 * gamma + 2.0 * off * 0x1p-52;
    least_ = 0.0;
  } else {
    usable_ = longest < 1e18;
    const double error = 1.01 * gamma;
    slope_ = error + off * 0x1p-51;
    least_ = (2.0 * error + off * 0x1p-51) * longest * longest + 0x1p-119;
  }
}

// How far below the best s of a row the next one has to be; infinite where fp32 tells nothing.
double ColumnAssigner::gap(double square) const {
  if (!usable_) return kInfinity;
  if (metric_ == Metric::kCosine) {
    return square > 1e-50 && square < 1e70 ? slope_ * std::sqrt(square) : kInfinity;
  }
  return square < 1e36 ? slope_ * square + least_ : kInfinity;
}

void ColumnAssigner::assign(const std::vector<float>& centroids, int64_t k, int64_t made,
                            int64_t total) {
  set_centroids(centroids, k);
  measured_ = made + 1 == total;
  if (measured_) distances_.resize(static_cast<size_t>(x_.n));
  team_.announce(made * x_.n, total * x_.n, x_.n);
  team_.run_range(x_.n, kBlockRows, [&](int64_t begin, int64_t end, int) {
    for (int64_t at = begin; at < end; at += ColumnRows::kPanel) {
      assign_panel(at, std::min(end, at + ColumnRows::kPanel), measured_);
    }
  });
}

void ColumnAssigner::assign_panel(int64_t begin, int64_t end, bool last) {
  constexpr int64_t kPanel = ColumnRows::kPanel;
  ColumnRows::Room room;
  double made[kPanel];
  const float* panel = rows_.panel(begin, room);
  const double* squares = made;
  if (squares_.empty()) {
    kernels().column_dots(panel, panel, kPanel, x_.d, made);
  } else {
    squares = &squares_[begin];
  }
  if (columns_ > 1) {
    float best[kPanel], second[kPanel];
    int32_t label[kPanel];
    kernels().top_two(panel, kPanel, x_.d, scaled_.data(), offset_.data(), columns_, best, second,
                      label);
    int64_t open = 0;
    int32_t rows[kPanel];
    for (int32_t r = 0; r < static_cast<int32_t>(end - begin); ++r) {
      labels_[begin + r] = centroid(label[r]);
      const double above = static_cast<double>(best[r]) - static_cast<double>(second[r]);
      rows[open] = r;
      open += !(above > gap(squares[r]));
    }
    if (open > 0) settle(begin, rows, open, best, squares);
  }
  if (last) measure(begin, end, panel, squares);
}

// The nearest centroids of some rows of a panel by the truth, of those whose s leaves them open.
void ColumnAssigner::settle(int64_t begin, const int32_t* rows, int64_t open, const float* best,
                            const double* squares) {
  constexpr int64_t kPanel = ColumnRows::kPanel, kSome = 64;  // columns
  const int64_t d = x_.d;
  float wide[kPanel * ColumnRows::kWidest], floor[kPanel];
  ColumnRows::Room panel = {};
  double highest[kPanel];
  std::fill_n(floor, kPanel, -kNone);
  const auto truth = [&](int64_t o, int64_t c) {
    const double inner = kernels().dot[0](&wide[o * d], given_.row(c), d);
    return score(metric_, inner, squares[rows[o]], squares_of_[c]);
  };
  for (int64_t o = 0; o < open; ++o) {
    const int64_t row = begin + rows[o];
    if (metric_ == Metric::kCosine && squares[rows[o]] == 0.0) {
      labels_[row] = 0;  // as all cosines are 0
      continue;
    }
    kernels().widen[static_cast<int>(x_.dtype)](x_.row(row), d, &wide[o * d]);
    for (int64_t e = 0; e < d; ++e) panel[e * kPanel + o] = wide[o * d + e];
    const double far = gap(squares[rows[o]]);
    floor[o] = far == kInfinity ? kNone : rounded_down(static_cast<double>(best[rows[o]]) - far);
    highest[o] = truth(o, labels_[row]);
  }
  const int64_t count = distinct_.empty() ? given_.n : static_cast<int64_t>(distinct_.size());
  int32_t found[kPanel * kSome];
  for (int64_t first = 0; first < count; first += kSome) {
    const int32_t some = kernels().top_near(panel, kPanel, d, &scaled_[first * d], &offset_[first],
                                            std::min(kSome, count - first), floor, found);
    for (int32_t f = 0; f < some; ++f) {
      const int64_t o = found[f] % kPanel, c = centroid(first + found[f] / kPanel);
      int64_t& label = labels_[begin + rows[o]];
      if (o >= open || c == label) continue;
      const double value = truth(o, c);
      if (value < highest[o] || (value == highest[o] && c > label)) continue;
      highest[o] = value;
      label = c;
    }
  }
}

// The distances of some rows to their centroids.
void ColumnAssigner::measure(int64_t begin, int64_t end, const float* panel,
                             const double* squares) {
  constexpr int64_t kPanel = ColumnRows::kPanel;
  ColumnRows::Room own;
  double inner[kPanel];
  const int64_t d = x_.d;
  for (int64_t r = 0; r < kPanel; ++r) {
    const int64_t label = begin + r < end ? labels_[begin + r] : 0;
    const auto* from = static_cast<const float*>(given_.row(label));
    for (int64_t e = 0; e < d; ++e) own[e * kPanel + r] = from[e];
  }
  kernels().column_dots(panel, own, kPanel, d, inner);
  for (int64_t r = 0; r < end - begin; ++r) {
    distances_[begin + r] =
        distance(metric_, inner[r], squares[r], squares_of_[labels_[begin + r]]);
  }
}

std::vector<double> ColumnAssigner::distances() {
  if (!measured_) {
    distances_.resize(static_cast<size_t>(x_.n));
    team_.run_range(x_.n, kBlockRows, [&](int64_t begin, int64_t end, int) {
      ColumnRows::Room room;
      for (int64_t at = begin; at < end; at += ColumnRows::kPanel) {
        measure(at, std::min(end, at + ColumnRows::kPanel), rows_.panel(at, room), &squares_[at]);
      }
    });
  }
  return std::move(distances_);
}

}  // namespace meddel

#include "ops/kmeans_columns.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/confirm.h"
#include "base/copies.h"
#include "cpu/isa.h"
#include "ops/kmeans.h"
#include "screen/bounds.h"
#include "screen/plan.h"
#include "screen/scan_screens.h"

namespace meddel {
namespace {

constexpr float kNone = -std::numeric_limits<float>::infinity();

}  // namespace

ColumnRows::ColumnRows(Team& team, const Matrix& x, bool kept) : x_(x) {
  if (!kept) return;
  kept_.resize(static_cast<size_t>((x.n + kPanel - 1) / kPanel * kPanel * x.d));
  team.run_range(x.n, kPanel * 16, [&](int64_t begin, int64_t end, int) {
    for (int64_t at = begin; at < end; at += kPanel) fill(at, &kept_[at * x_.d]);
  });
}

const float* ColumnRows::panel(int64_t begin, Room& room) const {
  if (!kept_.empty()) return &kept_[begin * x_.d];
  fill(begin, room);
  return room;
}

void ColumnRows::fill(int64_t begin, float* panel) const {
  const int64_t rows = std::min(kPanel, x_.n - begin), d = x_.d;
  if (rows < kPanel) std::fill_n(panel, kPanel * d, 0.0f);
  const WidenFn widen = kernels().widen[static_cast<int>(x_.dtype)];
  float wide[kWidest];
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = static_cast<const float*>(x_.row(begin + r));
    if (x_.dtype != DType::kFloat32) {
      widen(x_.row(begin + r), d, wide);
      row = wide;
    }
    for (int64_t e = 0; e < d; ++e) panel[e * kPanel + r] = row[e];
  }
}

bool ColumnAssigner::pays(int64_t n, int64_t d, int64_t k) {
  (void)n;
  (void)k;
  return d <= ColumnRows::kWidest && !screens_forced();
}

ColumnAssigner::ColumnAssigner(Team& team, const Matrix& x, const std::vector<double>& squares,
                               Metric metric, bool once)
    : team_(team),
      x_(x),
      squares_(squares),
      metric_(metric),
      rows_(team, x, !once && x.n * x.d * 4 <= kept_bytes(x, 0)),
      labels_(static_cast<size_t>(x.n)) {}

void ColumnAssigner::set_centroids(const std::vector<float>& centroids, int64_t k) {
  const int64_t d = x_.d;
  given_ = {centroids.data(), k, d, d, DType::kFloat32};
  const Copies copies(team_, given_);
  distinct_ = copies.any() ? copies.distinct : std::vector<int64_t>();
  const int64_t count = copies.any() ? static_cast<int64_t>(distinct_.size()) : k;
  columns_ = count + count % 2;
  squares_of_.resize(static_cast<size_t>(k));
  norms_of_.resize(static_cast<size_t>(k));
  kernels().squares[0](given_.data, d, k, d, squares_of_.data());
  scaled_.assign(static_cast<size_t>(columns_ * d), 0.0f);
  offset_.assign(static_cast<size_t>(columns_), kNone);
  double longest = 0.0, shortest = kInfinity;
  for (int64_t c = 0; c < k; ++c) norms_of_[c] = std::sqrt(squares_of_[c]);
  for (int64_t column = 0; column < count; ++column) {
    const int64_t c = centroid(column);
    const double norm = norms_of_[c];
    longest = std::max(longest, norm);
    if (norm > 0.0) shortest = std::min(shortest, norm);
    float scale = 1.0f;
    if (metric_ == Metric::kCosine) scale = norm > 0.0 ? static_cast<float>(1.0 / norm) : 0.0f;
    offset_[column] = metric_ == Metric::kCosine ? 0.0f : static_cast<float>(-0.5 * squares_of_[c]);
    const float* from = &centroids[static_cast<size_t>(c * d)];
    for (int64_t e = 0; e < d; ++e) scaled_[column * d + e] = from[e] * scale;
  }
  const double roundings = static_cast<double>(d + 8) * 0x1p-24;
  const double gamma = roundings / (1.0 - roundings);
  const double off = static_cast<double>(d + 16);
  if (metric_ == Metric::kCosine) {
    usable_ = !(shortest <= kLeastNorm) && longest < kGreatestNorm;
    const double gap = 2.02 * (gamma + 0x1p-22) + 2.0 * off * 0x1p-52;
    slope_ = gap * gap * (1.0 + 1e-9);
    least_ = 0.0;
  } else {
    usable_ = longest < 1e18;
    const double error = 1.01 * (gamma + 0x1p-23);
    slope_ = error + off * 0x1p-51;
    least_ = (2.0 * error + off * 0x1p-51) * longest * longest + 0x1p-119;
  }
}

bool ColumnAssigner::decided(float best, float second, double square) const {
  const double above = static_cast<double>(best) - static_cast<double>(second);
  if (metric_ == Metric::kCosine) {
    return square > 1e-50 && square < 1e70 && above > 0.0 && above * above > slope_ * square;
  }
  return square < 1e36 && above > slope_ * square + least_;
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
    for (int64_t r = 0; r < end - begin; ++r) {
      const bool done = usable_ && decided(best[r], second[r], squares[r]);
      const int64_t c = centroid(label[r]);
      labels_[begin + r] = done ? c : settle(begin + r, c, squares[r]);
    }
  }
  if (last) measure(begin, end, panel, squares);
}

// The nearest centroid by the truth, where that of the highest s is known.
int64_t ColumnAssigner::settle(int64_t row, int64_t label, double square) const {
  constexpr int64_t kSome = 256;
  if (metric_ == Metric::kCosine && square == 0.0) return 0;
  float wide[ColumnRows::kWidest], rough[kSome];
  kernels().widen[static_cast<int>(x_.dtype)](x_.row(row), x_.d, wide);
  const RoughScore rough_score(metric_, x_.d);
  const double norm = std::sqrt(square);
  double inner[kSome];
  const auto truth = [&](double product, int64_t c) {
    return score(metric_, product, square, squares_of_[c]);
  };
  double best = truth(kernels().dot[0](wide, given_.row(label), x_.d), label);
  int64_t columns[kSome], left[kSome];
  const int64_t all = distinct_.empty() ? given_.n : static_cast<int64_t>(distinct_.size());
  for (int64_t begin = 0; begin < all; begin += kSome) {
    const int64_t count = std::min(kSome, all - begin);
    for (int64_t c = 0; c < count; ++c) columns[c] = centroid(begin + c);
    kernels().rough_dots[0](wide, given_.data, x_.d, columns, count, x_.d, rough);
    int64_t found = 0;
    for (int64_t k = 0; k < count; ++k) {
      const int64_t c = columns[k];
      const double bound = rough_score(rough[k], square, squares_of_[c], norm, norms_of_[c]);
      if (!(bound < best)) left[found++] = c;
    }
    kernels().dots[0](wide, given_.data, x_.d, left, found, x_.d, inner);
    for (int64_t f = 0; f < found; ++f) {
      const double value = truth(inner[f], left[f]);
      if (value > best || (value == best && left[f] < label)) {
        best = value;
        label = left[f];
      }
    }
  }
  return label;
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

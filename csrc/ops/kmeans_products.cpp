#include "ops/kmeans_products.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/copies.h"
#include "cpu/isa.h"
#include "ops/kmeans.h"
#include "screen/bounds.h"
#include "screen/codes.h"
#include "screen/plan.h"

namespace meddel {
namespace {

constexpr float kNone = -std::numeric_limits<float>::infinity();
constexpr int64_t kRows = ColumnRows::kPanel;  // of a block, at most
constexpr int64_t kBlockFloats = 65536;        // of rows, within L2
constexpr int64_t kVector = 16;                // of Kernels::multiply

// Turning rows into columns for one assignment pays for so few elements.
constexpr int64_t kTurnedOnce = 32;

// Fewer centroids are multiplied one by one: vectors of them would stand empty.
constexpr int64_t kFewColumns = 8;

float rounded_down(double value) { return std::nextafter(static_cast<float>(value), kNone); }

}  // namespace

ProductCentroids::ProductCentroids(Team& team, const std::vector<float>& centroids, int64_t k,
                                   int64_t d, Metric metric, bool narrow)
    : metric_(metric),
      d_(d),
      given_{centroids.data(), k, d, d, DType::kFloat32},
      columns_(k),
      squares_(static_cast<size_t>(k)) {
  kernels().squares[0](given_.data, d, k, d, squares_.data());
  const Copies copies(team, given_);
  if (copies.any()) {
    distinct_ = copies.distinct;
    columns_ = static_cast<int64_t>(distinct_.size());
  }
  if (!narrow) layout_ = columns_ < kFewColumns ? Layout::kFew : Layout::kPanels;
  const int64_t padded = round_up(columns_, layout_ == Layout::kRows ? 2 : kVector);
  scaled_.resize(static_cast<size_t>((layout_ == Layout::kFew ? columns_ : padded) * d));
  offset_.assign(static_cast<size_t>(padded), kNone);
  double shortest = kInfinity, longest = 0.0;
  for (int64_t column = 0; column < columns_; ++column) {
    const int64_t c = centroid(column);
    const double norm = std::sqrt(squares_[c]);
    longest = std::max(longest, norm);
    if (norm > 0.0) shortest = std::min(shortest, norm);
    float scale = 1.0f;
    if (metric == Metric::kCosine) scale = norm > 0.0 ? static_cast<float>(1.0 / norm) : 0.0f;
    offset_[column] = metric == Metric::kCosine ? 0.0f : static_cast<float>(-0.5 * squares_[c]);
    place(column, row(c), scale);
  }
  bound(shortest, longest);
}

void ProductCentroids::place(int64_t column, const float* from, float scale) {
  if (layout_ != Layout::kPanels) {
    for (int64_t e = 0; e < d_; ++e) scaled_[column * d_ + e] = from[e] * scale;
    return;
  }
  const int64_t begin = column / kPanel * kPanel, width = std::min(kPanel, padded() - begin);
  float* to = &scaled_[begin * d_ + column - begin];
  for (int64_t e = 0; e < d_; ++e) to[e * width] = from[e] * scale;
}

void ProductCentroids::bound(double shortest, double longest) {
  const double roundings = static_cast<double>(d_ + 4) * kUnit;
  const double gamma = roundings / (1.0 - roundings), off = static_cast<double>(d_ + 16);
  if (metric_ == Metric::kCosine) {
    usable_ = shortest > kLeastNorm && longest < kGreatestNorm;
    slope_ = 2.02 * gamma + 2.0 * off * 0x1p-52;
  } else {
    usable_ = longest < 1e18;
    slope_ = 1.01 * gamma + off * 0x1p-51;
    least_ = (2.02 * gamma + off * 0x1p-51) * longest * longest + 0x1p-119;
  }
}

double ProductCentroids::gap(double square) const {
  if (!usable_) return kInfinity;
  if (metric_ == Metric::kCosine) {
    return square > 1e-50 && square < 1e70 ? slope_ * std::sqrt(square) : kInfinity;
  }
  return square < 1e36 ? slope_ * square + least_ : kInfinity;
}

double ProductCentroids::score_of(const float* from, double square, int64_t centroid) const {
  return score(metric_, kernels().dot[0](from, row(centroid), d_), square, squares_[centroid]);
}

void ProductCentroids::to_distances(const double* squares, const int64_t* labels, int64_t count,
                                    double* inner) const {
  if (metric_ == Metric::kEuclidean) {
    for (int64_t r = 0; r < count; ++r) {
      inner[r] = squared_distance(inner[r], squares[r], squares_[labels[r]]);
    }
    return;
  }
  double others[kRows];
  for (int64_t r = 0; r < count; ++r) others[r] = squares_[labels[r]];
  kernels().cosines(squares, others, count, inner);
  for (int64_t r = 0; r < count; ++r) inner[r] = distance_of(metric_, inner[r]);
}

struct ProductAssigner::Block {
  int64_t begin = 0;
  int64_t count = 0;
  alignas(kLine) ColumnRows::Room room;
  std::vector<float> widened;    // other rows
  const float* panel = nullptr;  // of narrow rows
  const float* data = nullptr;   // of others, ld apart
  int64_t ld = 0;
  const double* squares = nullptr;
  double own_squares[kRows];
  float best[kRows];
  float second[kRows];
  int32_t label[kRows];
  // Of the rows that the products leave open:
  int64_t open = 0;
  int64_t rows[kRows];
  float floor[kRows];
  double highest[kRows];  // score by the truth so far
  const float* wide[kRows];
};

bool ProductAssigner::pays(const Matrix& x, int64_t k, bool once) {
  if (x.d > kWidest || screens_forced()) return false;
  if (products_forced()) return true;
  // Codes, and bounds from one assignment to the next, save more than making them takes where there
  // are many products of a row, and in all. (Measured at 100 to 100,000 rows of 8 to 1,280
  // elements.)
  constexpr int64_t kFewElements = 16, kFewCentroids = 16, kManyCentroids = 256;
  const double all = static_cast<double>(x.n) * static_cast<double>(k * x.d);
  if (once) {
    return all < 2e7 || (k * x.d <= 40'000 && (x.d <= kTurnedOnce || k <= kManyCentroids));
  }
  return all < 4e6 || k <= kFewCentroids || k * x.d <= (x.d <= kFewElements ? 32'768 : 8'192);
}

ProductAssigner::ProductAssigner(Team& team, const Matrix& x, const std::vector<double>& squares,
                                 Metric metric, bool once)
    : team_(team),
      x_(x),
      squares_(squares),
      metric_(metric),
      narrow_(ColumnRows::fits(x) && (!once || x.d <= kTurnedOnce)),
      most_(narrow_ ? kRows : std::clamp(kBlockFloats / x.d / 4 * 4, int64_t{4}, kRows)),
      labels_(static_cast<size_t>(x.n)) {
  if (narrow_) rows_.emplace(team, x, once);
}

template <class Work>
void ProductAssigner::each_block(const Work& work) {
  team_.run_range(x_.n, kBlockRows, [&](int64_t begin, int64_t end, int worker) {
    Block block;
    for (int64_t at = begin; at < end; at += most_) {
      team_.checkpoint(worker);
      load(block, at, std::min(end, at + most_));
      work(block);
    }
  });
}

void ProductAssigner::assign(const std::vector<float>& centroids, int64_t k, int64_t made,
                             int64_t total) {
  centroids_.emplace(team_, centroids, k, x_.d, metric_, narrow_);
  measured_ = made + 1 == total;
  if (measured_) distances_.resize(static_cast<size_t>(x_.n));
  team_.announce(made * x_.n, total * x_.n, x_.n);
  each_block([&](Block& block) {
    compare(block);
    if (measured_) measure(block);
  });
}

std::vector<double> ProductAssigner::distances() {
  if (!measured_) {
    distances_.resize(static_cast<size_t>(x_.n));
    each_block([&](Block& block) { measure(block); });
  }
  return std::move(distances_);
}

void ProductAssigner::load(Block& block, int64_t begin, int64_t end) const {
  block.begin = begin;
  block.count = end - begin;
  const auto type = static_cast<int>(x_.dtype);
  if (narrow_) {
    block.panel = rows_->panel(begin, block.room);
  } else if (x_.dtype == DType::kFloat32) {
    block.data = static_cast<const float*>(x_.row(begin));
    block.ld = x_.ld;
  } else {
    block.widened.resize(static_cast<size_t>(most_ * x_.d));
    float* to = block.widened.data();
    for (int64_t r = 0; r < block.count; ++r) {
      kernels().widen[type](x_.row(begin + r), x_.d, &to[r * x_.d]);
    }
    block.data = to;
    block.ld = x_.d;
  }
  if (!squares_.empty()) {
    block.squares = &squares_[begin];
    return;
  }
  block.squares = block.own_squares;
  if (narrow_) {
    kernels().column_dots(block.panel, block.panel, kRows, x_.d, block.own_squares);
  } else {
    kernels().squares[type](x_.row(begin), x_.ld, block.count, x_.d, block.own_squares);
  }
}

void ProductAssigner::compare(Block& block) {
  const ProductCentroids& centroids = *centroids_;
  if (centroids.columns() == 1) {
    std::fill_n(&labels_[block.begin], block.count, 0);
    return;
  }
  if (narrow_) {
    kernels().top_two(block.panel, kRows, x_.d, centroids.column(0), centroids.offset(0),
                      centroids.padded(), block.best, block.second, block.label);
  } else if (centroids.layout() == ProductCentroids::Layout::kFew) {
    compare_few(block);
  } else {
    compare_wide(block);
  }
  block.open = 0;
  for (int64_t r = 0; r < block.count; ++r) {
    labels_[block.begin + r] = centroids.centroid(block.label[r]);
    const double above = static_cast<double>(block.best[r]) - static_cast<double>(block.second[r]);
    block.rows[block.open] = r;
    block.open += !(above > centroids.gap(block.squares[r]));
  }
  if (block.open > 0) settle(block);
}

void ProductAssigner::compare_few(Block& block) const {
  const ProductCentroids& centroids = *centroids_;
  float products[kRows * kFewColumns] = {};
  int64_t rows[kRows];
  std::iota(rows, rows + kRows, int64_t{0});
  for (int64_t c = 0; c < centroids.columns(); ++c) {
    kernels().rough_dots[0](centroids.column(c), block.data, block.ld, rows, block.count, x_.d,
                            &products[c * kRows]);
  }
  kernels().top_two_products(products, kRows, centroids.offset(0), round_up(centroids.columns(), 2),
                             block.best, block.second, block.label);
}

void ProductAssigner::compare_wide(Block& block) const {
  constexpr int64_t kPanel = ProductCentroids::kPanel;
  const ProductCentroids& centroids = *centroids_;
  float sums[kRows * kPanel];
  std::fill_n(block.best, block.count, kNone);
  std::fill_n(block.second, block.count, kNone);
  std::fill_n(block.label, block.count, 0);
  for (int64_t first = 0; first < centroids.padded(); first += kPanel) {
    const int64_t columns = std::min(kPanel, centroids.padded() - first);
    kernels().multiply(block.data, block.ld, block.count, centroids.column(first), x_.d, columns,
                       sums);
    for (int64_t r = 0; r < block.count; ++r) {
      float best, second;
      int32_t label;
      kernels().top_two_sums(&sums[r * columns], centroids.offset(first), columns, &best, &second,
                             &label);
      if (best > block.best[r]) {
        block.second[r] = std::max(block.best[r], second);
        block.best[r] = best;
        block.label[r] = static_cast<int32_t>(first) + label;
      } else {
        block.second[r] = std::max(block.second[r], best);
      }
    }
  }
}

// The nearest centroids of the open rows by the truth, of those that s leaves.
void ProductAssigner::settle(Block& block) {
  float* to = nullptr;
  if (narrow_) {
    block.widened.resize(static_cast<size_t>(kRows * x_.d));
    to = block.widened.data();
  }
  int64_t left = 0;
  for (int64_t o = 0; o < block.open; ++o) {
    const int64_t r = block.rows[o], row = block.begin + r;
    const double square = block.squares[r];
    if (metric_ == Metric::kCosine && square == 0.0) {
      labels_[row] = 0;  // as all cosines are 0
      continue;
    }
    if (narrow_) {
      kernels().widen[static_cast<int>(x_.dtype)](x_.row(row), x_.d, &to[left * x_.d]);
      block.wide[left] = &to[left * x_.d];
    } else {
      block.wide[left] = block.data + r * block.ld;
    }
    const double gap = centroids_->gap(square);
    block.rows[left] = r;
    block.floor[left] =
        gap == kInfinity ? kNone : rounded_down(static_cast<double>(block.best[r]) - gap);
    block.highest[left] = centroids_->score_of(block.wide[left], square, labels_[row]);
    ++left;
  }
  block.open = left;
  if (left == 0) return;
  if (narrow_) {
    settle_narrow(block);
  } else {
    settle_wide(block);
  }
}

void ProductAssigner::settle_narrow(Block& block) {
  constexpr int64_t kSome = 64;  // columns
  const ProductCentroids& centroids = *centroids_;
  alignas(kLine) ColumnRows::Room panel;
  std::fill_n(panel, kRows * x_.d, 0.0f);
  for (int64_t o = 0; o < block.open; ++o) {
    for (int64_t e = 0; e < x_.d; ++e) panel[e * kRows + o] = block.wide[o][e];
  }
  std::fill(block.floor + block.open, block.floor + kRows, -kNone);
  int32_t found[kRows * kSome];
  for (int64_t first = 0; first < centroids.columns(); first += kSome) {
    const int64_t some = std::min(kSome, centroids.columns() - first);
    const int32_t count = kernels().top_near(panel, kRows, x_.d, centroids.column(first),
                                             centroids.offset(first), some, block.floor, found);
    for (int32_t f = 0; f < count; ++f) {
      if (found[f] % kRows < block.open) offer(block, found[f] % kRows, first + found[f] / kRows);
    }
  }
}

void ProductAssigner::settle_wide(Block& block) {
  constexpr int64_t kPanel = ProductCentroids::kPanel;
  const ProductCentroids& centroids = *centroids_;
  const bool few = centroids.layout() == ProductCentroids::Layout::kFew;
  float sums[kPanel];
  for (int64_t o = 0; o < block.open; ++o) {
    for (int64_t first = 0; first < centroids.columns(); first += kPanel) {
      const int64_t some = std::min(kPanel, centroids.columns() - first);
      if (!few) {
        kernels().multiply(block.wide[o], x_.d, 1, centroids.column(first), x_.d,
                           std::min(kPanel, centroids.padded() - first), sums);
      }
      for (int64_t c = 0; c < some; ++c) {
        if (few || !(sums[c] + centroids.offset(first)[c] < block.floor[o])) {
          offer(block, o, first + c);
        }
      }
    }
  }
}

void ProductAssigner::offer(Block& block, int64_t open, int64_t column) {
  const int64_t c = centroids_->centroid(column), r = block.rows[open];
  int64_t& label = labels_[block.begin + r];
  if (c == label) return;
  const double value = centroids_->score_of(block.wide[open], block.squares[r], c);
  if (value < block.highest[open] || (value == block.highest[open] && c > label)) return;
  block.highest[open] = value;
  label = c;
}

// The distances of some rows to their centroids.
void ProductAssigner::measure(const Block& block) {
  double inner[kRows];
  const int64_t* labels = &labels_[block.begin];
  if (narrow_) {
    alignas(kLine) ColumnRows::Room own;
    for (int64_t r = 0; r < kRows; ++r) {
      const float* from = centroids_->row(r < block.count ? labels[r] : 0);
      for (int64_t e = 0; e < x_.d; ++e) own[e * kRows + r] = from[e];
    }
    kernels().column_dots(block.panel, own, kRows, x_.d, inner);
  } else {
    for (int64_t r = 0; r < block.count; ++r) {
      inner[r] = kernels().dot[0](block.data + r * block.ld, centroids_->row(labels[r]), x_.d);
    }
  }
  centroids_->to_distances(block.squares, labels, block.count, inner);
  std::copy_n(inner, block.count, &distances_[block.begin]);
}

}  // namespace meddel

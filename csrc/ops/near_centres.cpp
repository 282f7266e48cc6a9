#include "ops/near_centres.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/catch_up.h"
#include "screen/bounds.h"
#include "screen/codes.h"

namespace meddel {
namespace {

constexpr int64_t kVector = 16;         // of Kernels::multiply
constexpr int64_t kBlockFloats = 8192;  // of rows, within L1 or L2
constexpr int64_t kMostRows = 64;       // a block

constexpr float kNone = -std::numeric_limits<float>::infinity();

// Whether products of single rows take less than those of all at once, which fill up vectors of
// centres.
bool rows_pay(int64_t d, int64_t centres) {
  const int64_t vectors = (centres + kVector - 1) / kVector;
  return centres * (d + 128) < vectors * (d < 64 ? 8 : 11) * d;
}

}  // namespace

struct NearCentres::Block {
  const int64_t* rows;
  int64_t count;
  const float* data;  // fp32, ld apart
  int64_t ld;
  std::vector<float> widened;
  std::vector<float> sums;  // of a panel: [row][centre]
};

NearCentres::NearCentres(const Matrix& x, Metric metric)
    : x_(x),
      metric_(metric),
      type_(static_cast<int>(x.dtype)),
      roundings_(static_cast<double>(x.d + 8) * 0x1p-24),
      off_(static_cast<double>(x.d + 16) * (metric == Metric::kCosine ? 0x1p-52 : 0x1p-51)) {}

void NearCentres::assign(const int64_t* centres, int64_t count,
                         const std::vector<double>& squares) {
  const int64_t padded = round_up(count, kVector);
  centres_ = centres;
  count_ = count;
  squares_ = &squares;
  panels_.assign(static_cast<size_t>(padded * x_.d), 0.0f);
  factor_.assign(static_cast<size_t>(padded), 0.0f);
  offset_.assign(static_cast<size_t>(padded), kNone);
  longest_ = 0.0;
  shortest_ = kInfinity;
  std::vector<float> row(static_cast<size_t>(x_.d));
  for (int64_t c = 0; c < count; ++c) {
    const int64_t begin = c / kPanel * kPanel, columns = std::min(kPanel, padded - begin);
    kernels().widen[type_](x_.row(centres[c]), x_.d, row.data());
    float* to = &panels_[begin * x_.d + (c - begin)];
    for (int64_t e = 0; e < x_.d; ++e) to[e * columns] = row[e];
    const double square = squares[centres[c]], norm = std::sqrt(square);
    longest_ = std::max(longest_, norm);
    if (norm > 0.0) shortest_ = std::min(shortest_, norm);
    if (metric_ == Metric::kCosine) {
      factor_[c] = norm > 0.0 ? static_cast<float>(1.0 / norm) : 0.0f;
      offset_[c] = 0.0f;
    } else {
      factor_[c] = 1.0f;
      offset_[c] = static_cast<float>(-0.5 * square);
    }
  }
}

void NearCentres::lower(const int64_t* rows, int64_t count, std::vector<double>& nearest) const {
  if (exact_pays()) return lower_exactly(rows, count, nearest);
  const int64_t most = std::clamp(kBlockFloats / x_.d / 4 * 4, int64_t{4}, kMostRows);
  Block block{nullptr, 0, nullptr, 0, {}, {}};
  block.sums.resize(static_cast<size_t>(most * std::min(kPanel, round_up(count_, kVector))));
  for (int64_t first = 0; first < count; first += most) {
    block.rows = rows + first;
    block.count = std::min(most, count - first);
    block.data = nullptr;
    for (int64_t begin = 0; begin < count_; begin += kPanel) {
      const int64_t columns = std::min(kPanel, round_up(count_ - begin, kVector));
      multiply(block, begin, columns);
      for (int64_t r = 0; r < block.count; ++r) {
        double& value = nearest[block.rows[r]];
        if (value == kTaken) continue;
        value = settle(block.rows[r], &block.sums[r * columns], begin, columns, value);
      }
    }
  }
}

// What fp32 has left of a row takes a product of the truth, and finding out as much as another 100
// elements.
bool NearCentres::exact_pays() const {
  return count_ <= 2 || count_ * (x_.d + 64) < 2 * x_.d + 400;
}

void NearCentres::lower_exactly(const int64_t* rows, int64_t count,
                                std::vector<double>& nearest) const {
  const int64_t most = std::clamp(kBlockFloats / x_.d / 4 * 4, int64_t{4}, kMostRows);
  double inner[kMostRows];
  for (int64_t first = 0; first < count; first += most) {
    const int64_t some = std::min(most, count - first);
    for (int64_t c = 0; c < count_; ++c) {
      const int64_t centre = centres_[c];
      const double own = (*squares_)[centre];
      kernels().dots[type_](x_.row(centre), x_.data, x_.ld, rows + first, some, x_.d, inner);
      for (int64_t r = 0; r < some; ++r) {
        const int64_t row = rows[first + r];
        const double far = distance(metric_, inner[r], (*squares_)[row], own);
        nearest[row] = std::min(nearest[row], far);
      }
    }
  }
}

void NearCentres::multiply(Block& block, int64_t begin, int64_t columns) const {
  const int64_t centres = std::min(columns, count_ - begin);
  if (rows_pay(x_.d, centres)) {
    float products[kMostRows];
    for (int64_t c = 0; c < centres; ++c) {
      kernels().rough_dots[type_](x_.row(centres_[begin + c]), x_.data, x_.ld, block.rows,
                                  block.count, x_.d, products);
      for (int64_t r = 0; r < block.count; ++r) block.sums[r * columns + c] = products[r];
    }
    for (int64_t r = 0; r < block.count; ++r) {
      std::fill(&block.sums[r * columns + centres], &block.sums[r * columns] + columns, 0.0f);
    }
    return;
  }
  if (block.data == nullptr) {
    const bool adjacent = block.rows[block.count - 1] - block.rows[0] == block.count - 1;
    if (adjacent && x_.dtype == DType::kFloat32) {
      block.data = static_cast<const float*>(x_.row(block.rows[0]));
      block.ld = x_.ld;
    } else {
      block.widened.resize(static_cast<size_t>(kMostRows * x_.d));
      for (int64_t r = 0; r < block.count; ++r) {
        kernels().widen[type_](x_.row(block.rows[r]), x_.d, &block.widened[r * x_.d]);
      }
      block.data = block.widened.data();
      block.ld = x_.d;
    }
  }
  kernels().multiply(block.data, block.ld, block.count, panel(begin), x_.d, columns,
                     block.sums.data());
}

NearCentres::Limits NearCentres::limits(double square, double nearest) const {
  const Limits all{-kInfinity, kInfinity};
  if (roundings_ > 0.5) return all;
  const double norm = std::sqrt(square), bar = bar_of(metric_, nearest);
  const double gamma = roundings_ / (1.0 - roundings_);
  if (metric_ == Metric::kCosine) {
    if (!(shortest_ > kLeastNorm && longest_ < kGreatestNorm)) return all;
    if (!(norm * shortest_ > 1e-25 && norm * longest_ < 1e37)) return all;
    const double error = 1.01 * (gamma + 0x1p-23) * norm;
    return {norm * (bar - off_) - error, 2.0 * error + 2.0 * off_ * norm};
  }
  if (!(norm < 1e18 && longest_ < 1e18)) return all;
  const double error =
      1.01 * ((gamma + 0x1p-23) * norm * longest_ + 0x1p-23 * longest_ * longest_) + 0x1p-120;
  const double off = off_ * (square + longest_ * longest_);
  return {0.5 * (bar + square - off) - error, 2.0 * error + off};
}

// Returns the row's distance with some centres looked at.
double NearCentres::settle(int64_t row, float* sums, int64_t begin, int64_t columns,
                           double nearest) const {
  const double square = (*squares_)[row];
  const Limits limit = limits(square, nearest);
  const double best =
      static_cast<double>(kernels().best(sums, &factor_[begin], &offset_[begin], columns));
  const int64_t centres = std::min(columns, count_ - begin);
  int64_t left[kPanel];
  int64_t found = 0;
  if (limit.gap == kInfinity) {
    for (int64_t c = 0; c < centres; ++c) left[found++] = centres_[begin + c];
  } else {
    if (best < limit.floor) return nearest;
    const double wanted = std::max(limit.floor, best - limit.gap);
    for (int64_t c = 0; c < centres; ++c) {
      if (static_cast<double>(sums[c]) >= wanted) left[found++] = centres_[begin + c];
    }
  }
  double inner[kPanel];
  kernels().dots[type_](x_.row(row), x_.data, x_.ld, left, found, x_.d, inner);
  for (int64_t k = 0; k < found; ++k) {
    nearest = std::min(nearest, distance(metric_, inner[k], square, (*squares_)[left[k]]));
  }
  return nearest;
}

}  // namespace meddel

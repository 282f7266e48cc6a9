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

// Whether the truth's products of all centres take less than those in fp32, which fill up vectors
// of centres, and what these leave: about two and a half times as long each, and none of the work
// on a row that finds out what is left, as much as 3,000 of them.
bool exact_pays(int64_t d, int64_t centres) {
  return centres * (d + 50) < round_up(centres, kVector) * (2 * d / 5 + 15) + 3 * d + 3000;
}

// Centres of a group for Kernels::cross: as many in each as can be.
int64_t group_size(int64_t centres) {
  const int64_t groups = (centres + kCrossed - 1) / kCrossed;
  return (centres + groups - 1) / groups;
}

}  // namespace

struct NearCentres::Block {
  const int64_t* rows;
  int64_t count;
  const float* data;  // fp32, ld apart
  int64_t ld;
  std::vector<float> widened;
  std::vector<float> sums;            // of a panel: [row][centre]
  std::vector<int64_t> left;          // rows that have to be compared exactly,
  std::vector<int64_t> left_centres;  // each with one of these,
  std::vector<double> inner;          // and their products
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
  exact_ = exact_pays(x_.d, count);
  if (exact_) return widen_exactly();
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
  if (exact_) return lower_exactly(rows, count, nearest);
  const int64_t most = std::clamp(kBlockFloats / x_.d / 8 * 8, int64_t{8}, kMostRows);
  Block block{nullptr, 0, nullptr, 0, {}, {}, {}, {}, {}};
  block.sums.resize(static_cast<size_t>(most * std::min(kPanel, round_up(count_, kVector))));
  for (int64_t first = 0; first < count; first += most) {
    block.rows = rows + first;
    block.count = std::min(most, count - first);
    block.data = nullptr;
    for (int64_t begin = 0; begin < count_; begin += kPanel) {
      const int64_t columns = std::min(kPanel, round_up(count_ - begin, kVector));
      multiply(block, begin, columns);
      for (int64_t r = 0; r < block.count; ++r) {
        const double value = nearest[block.rows[r]];
        if (value != kTaken)
          settle(block, block.rows[r], &block.sums[r * columns], begin, columns, value);
      }
      confirm(block, nearest);
    }
  }
}

void NearCentres::widen_exactly() {
  const int64_t size = group_size(count_), padded = round_up(x_.d, 8);
  wide_.assign(static_cast<size_t>(count_ * padded), 0.0);
  std::vector<float> row(static_cast<size_t>(x_.d));
  for (int64_t c = 0; c < count_; ++c) {
    const int64_t group = c / size * size, columns = std::min(size, count_ - group);
    double* const to = &wide_[group * padded + 8 * (c - group)];
    kernels().widen[type_](x_.row(centres_[c]), x_.d, row.data());
    for (int64_t e = 0; e < x_.d; ++e) {
      to[e / 8 * 8 * columns + e % 8] = static_cast<double>(row[e]);
    }
  }
}

void NearCentres::lower_exactly(const int64_t* rows, int64_t count,
                                std::vector<double>& nearest) const {
  const int64_t size = group_size(count_), padded = round_up(x_.d, 8);
  // What is used once need not stay in cache.
  const int64_t in_cache = std::clamp(kBlockFloats / x_.d / 8 * 8, int64_t{8}, kMostRows);
  const int64_t most = count_ <= size ? kMostRows : in_cache;
  double inner[kMostRows * kCrossed];
  for (int64_t first = 0; first < count; first += most) {
    const int64_t some = std::min(most, count - first);
    for (int64_t group = 0; group < count_; group += size) {
      const int64_t columns = std::min(size, count_ - group);
      kernels().cross[type_](x_.data, x_.ld, rows + first, some, x_.d, &wide_[group * padded],
                             columns, inner);
      for (int64_t r = 0; r < some; ++r) {
        const int64_t row = rows[first + r];
        const double square = (*squares_)[row];
        double& value = nearest[row];
        for (int64_t c = 0; c < columns; ++c) {
          const double own = (*squares_)[centres_[group + c]];
          value = std::min(value, distance(metric_, inner[r * columns + c], square, own));
        }
      }
    }
  }
}

void NearCentres::multiply(Block& block, int64_t begin, int64_t columns) const {
  if (block.data == nullptr) {
    const bool adjacent = block.rows[block.count - 1] - block.rows[0] == block.count - 1;
    if (adjacent && x_.dtype == DType::kFloat32) {
      block.data = static_cast<const float*>(x_.row(block.rows[0]));
      block.ld = x_.ld;
    } else {
      block.widened.resize(static_cast<size_t>(block.count * x_.d));
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

// Lists what is left of some centres for a row.
void NearCentres::settle(Block& block, int64_t row, float* sums, int64_t begin, int64_t columns,
                         double nearest) const {
  const Limits limit = limits((*squares_)[row], nearest);
  const double best =
      static_cast<double>(kernels().best(sums, &factor_[begin], &offset_[begin], columns));
  const int64_t centres = std::min(columns, count_ - begin);
  const bool all = limit.gap == kInfinity;
  if (!all && best < limit.floor) return;
  const double wanted = std::max(limit.floor, best - limit.gap);
  int64_t left[kPanel];
  int64_t count = 0;
  for (int64_t c = 0; c < centres; ++c) {  // no branches: it is hard to foretell
    left[count] = centres_[begin + c];
    count += all || static_cast<double>(sums[c]) >= wanted;
  }
  block.left.insert(block.left.end(), static_cast<size_t>(count), row);
  block.left_centres.insert(block.left_centres.end(), left, left + count);
}

void NearCentres::confirm(Block& block, std::vector<double>& nearest) const {
  const size_t count = block.left.size();
  block.inner.resize(std::max(block.inner.size(), count));
  kernels().pair_dots[type_](x_.data, x_.ld, block.left.data(), block.left_centres.data(),
                             static_cast<int64_t>(count), x_.d, block.inner.data());
  for (size_t k = 0; k < count; ++k) {
    const double square = (*squares_)[block.left[k]], own = (*squares_)[block.left_centres[k]];
    double& value = nearest[block.left[k]];
    value = std::min(value, distance(metric_, block.inner[k], square, own));
  }
  block.left.clear();
  block.left_centres.clear();
}

}  // namespace meddel

#include "screen/unit_panel.h"

#include <algorithm>
#include <cmath>

#include "cpu/isa.h"
#include "screen/bounds.h"

namespace meddel {
namespace {

constexpr int64_t kSome = 16;  // columns turned at a time, within L1

// The bound above in units of 2^-28, with the rounding of c 2^28 (2^-24 of it), and the fraction.
int32_t error_of(int64_t d) {
  const double roundings = static_cast<double>(d + 8) * kUnit;
  const double off = roundings / (1.0 - roundings) + static_cast<double>(d + 16) * 0x1p-52;
  return static_cast<int32_t>(std::ceil(off / UnitPanel::kScale)) + 20;
}

}  // namespace

UnitPanel::UnitPanel(int64_t d)
    : d_(d), error_(error_of(d)), zeros_(static_cast<size_t>(d), 0.0f) {}

bool UnitPanel::fits(const ScanSide& side, int64_t p) {
  const double norm = side.norm(p);
  return norm == 0.0 || (norm > kLeastNorm && norm < kGreatestNorm);
}

void UnitPanel::scale(const ScanSide& x, int64_t p, float* out) const {
  const double norm = x.norm(p);
  const float factor = norm > 0.0 ? static_cast<float>(1.0 / norm) : 0.0f;
  kernels().point[static_cast<int>(x.x->dtype)](x.data(p), d_, factor, zeros_.data(), out);
}

void UnitPanel::set_columns(const ScanSide& y, int64_t begin, int64_t end) {
  rows_.resize(static_cast<size_t>(kSome * d_));
  columns_.resize(static_cast<size_t>(kPanelColumns * d_));
  unknown_.clear();
  for (int64_t first = 0; first < kPanelColumns; first += kSome) {
    for (int64_t k = 0; k < kSome; ++k) {
      const int64_t q = begin + first + k;
      const bool known = q < end && fits(y, q);
      if (q < end && !known) unknown_.push_back(first + k);
      if (known) {
        scale(y, q, &rows_[k * d_]);
      } else {
        std::fill_n(&rows_[k * d_], d_, 0.0f);
      }
    }
    for (int64_t i = 0; i < d_; ++i) {
      float* out = &columns_[i * kPanelColumns + first];
      for (int64_t k = 0; k < kSome; ++k) out[k] = rows_[k * d_ + i];
    }
  }
}

void UnitPanel::multiply(const float* rows, int64_t count, int32_t* out) {
  products_.resize(static_cast<size_t>(count * kPanelColumns));
  kernels().multiply(rows, d_, count, columns_.data(), d_, kPanelColumns, products_.data());
  constexpr float kFactor = 1 << 28;
  for (int64_t k = 0; k < count * kPanelColumns; ++k) {
    out[k] = static_cast<int32_t>(products_[k] * kFactor);
  }
  for (const int64_t column : unknown_) {
    for (int64_t r = 0; r < count; ++r) out[r * kPanelColumns + column] = kUnknown;
  }
}

}  // namespace meddel

#include "screen/row_reach.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "cpu/isa.h"

namespace meddel {
namespace {

constexpr float kNoEnd = std::numeric_limits<float>::infinity();

}  // namespace

RowReach::RowReach(const Screen& dense, Codes packed, int64_t centres, std::vector<float> away,
                   std::vector<float> factor, bool others)
    : packed_(std::move(packed)),
      away_(std::move(away)),
      factor_(std::move(factor)),
      centres_(centres),
      width_(dense.width()),
      others_(others),
      most_(static_cast<float>(dense.highest_point() + 1e-6)) {}

// fp32 is off by at most five roundings, 3e-7, of the terms of a gap, `away` rounded with them, and
// by three of gap^2 / 2 and one of what is left.
void RowReach::of_row(int64_t group, double tau, const int32_t* products, float* line) const {
  const float* away = &away_[group * centres_];
  const float* factor = &factor_[group * centres_];
  const float own = static_cast<float>(tau * (1.0 + 1e-6));
  const int32_t first = products[group];
  for (int64_t b = 0; b < centres_; ++b) {
    const float along = static_cast<float>(products[b] - first) * factor[b];
    const float gap = away[b] - along - 1e-6f * std::abs(along) - own;
    line[b] = gap > 0.0f ? most_ - (0.5f * (1.0f - 1e-6f)) * gap * gap : kNoEnd;
  }
}

void RowReach::measure(const RowCodes& rows, const int32_t* group, int64_t count, int64_t stride,
                       float* out) const {
  const int64_t padded = packed_.blocks() * kBlockColumns;
  const int32_t nothing[4] = {};
  std::vector<int32_t> products(static_cast<size_t>(4 * padded));
  std::vector<float> lines(static_cast<size_t>(4 * centres_));
  for (int64_t k = 0; k < count; k += 4) {
    const int64_t some = std::min<int64_t>(4, count - k);
    kernels().scores(&rows.bytes[k * width_], nothing, 4, packed_.packed.data(),
                     packed_.start.data(), packed_.blocks(), width_, products.data(), padded);
    for (int64_t r = 0; r < some; ++r) {
      if (group[k + r] < centres_) {
        of_row(group[k + r], rows.tau[k + r], &products[r * padded], &lines[r * centres_]);
      } else {
        std::fill_n(&lines[r * centres_], centres_, kNoEnd);
      }
    }
    for (int64_t b = 0; b < centres_; ++b) {
      for (int64_t r = 0; r < some; ++r) out[b * stride + k + r] = lines[r * centres_ + b];
    }
  }
  std::fill_n(out + centres_ * stride, count, others_ ? kNoEnd : -kNoEnd);
}

}  // namespace meddel

#include "screen/scaled.h"

#include <algorithm>
#include <cmath>

#include "cpu/isa.h"
#include "screen/bounds.h"
#include "screen/codes.h"

namespace meddel {
namespace {

constexpr float kAlwaysReached = 1e30f, kNeverReached = -3e38f;
constexpr double kRounded = 0x1p-20;  // the share by which fp32 may be off
constexpr double kLeast = 0x1p-16;    // step: squares of a code's errors must not vanish
constexpr double kLowest = -64.0;     // S >= -32, as alpha |x| <= 4 of screened rows

float raised(double value) { return static_cast<float>(value + kRounded * std::abs(value)); }

float greatest(const float* x, int64_t d) {
  float most[16] = {};
  int64_t i = 0;
  for (; i + 16 <= d; i += 16) {
    for (int j = 0; j < 16; ++j) most[j] = std::max(most[j], std::abs(x[i + j]));
  }
  for (; i < d; ++i) most[0] = std::max(most[0], std::abs(x[i]));
  return *std::max_element(most, most + 16);
}

}  // namespace

Scaled::Scaled(const PointMap& map)
    : map_(map),
      width_(round_up(map.d, 4)),
      off_(static_cast<double>(map.d + 320) / 16.0 * kUnit),
      slack_(0x1p-21 + static_cast<double>(map.d + 8) * 0x1p-46) {}

ScaledRow Scaled::encode(const Positions& side, int64_t i, float* point, int8_t* code) const {
  const float found = map_(side, i, point);
  if (found == std::numeric_limits<float>::infinity()) {
    std::fill_n(code, width_, int8_t{0});
    return {0.0f, 0.0f, 0.0f, kAlwaysReached};
  }
  const float step = std::max(greatest(point, map_.d) / 127.0f, static_cast<float>(kLeast));
  const float squares = kernels().quantise(point, map_.d, step, code);
  std::fill(code + map_.d, code + width_, int8_t{0});
  int32_t integers = 0;
  for (int64_t e = 0; e < map_.d; ++e) integers += code[e] * code[e];
  const double s = static_cast<double>(step), square = static_cast<double>(found);
  const double size = std::sqrt(square * (1.0 + 2.0 * off_));
  const double epsilon = 1.01 * kUnit * (2.0 * size + map_.mean_norm);
  const double tau = std::sqrt(static_cast<double>(squares) * (1.0 + 2.0 * off_)) + epsilon +
                     2.0 * kUnit * (size + s * std::sqrt(static_cast<double>(map_.d))) + 1e-12;
  const double length = s * std::sqrt(static_cast<double>(integers));
  const double t =
      0.5 * (map_.kappa(side.norms[i]) - square * (1.0 - off_)) + epsilon * size + 1e-12;
  return {step, raised(length), raised(tau + 2.0 * kRounded * length), raised(t)};
}

double Scaled::level(double score) const {
  return score == -kInfinity ? kLowest : map_.wanted(score) - slack_;
}

ScaledRow Scaled::below(ScaledRow row, double level) {
  row.rest = raised(static_cast<double>(row.rest) - level);
  return row;
}

double Scaled::score(float reach, double level) const {
  return map_.score(static_cast<double>(reach) + level + slack_);
}

ScaledRow Scaled::none() { return {0.0f, 0.0f, 0.0f, kNeverReached}; }

ScaledColumns ScaledColumns::gather(const std::vector<int64_t>& columns, int64_t width) const {
  constexpr int64_t kBlock = kBlockColumns;
  const auto size = static_cast<int64_t>(columns.size()), count = round_up(size, kBlock);
  ScaledColumns out;
  out.packed.resize(static_cast<size_t>(count * width));
  out.start.resize(static_cast<size_t>(count));
  out.traits.resize(static_cast<size_t>(4 * count));
  for (int64_t k = 0; k < count; ++k) {
    const int64_t block = k / kBlock * kBlock, in = k % kBlock;
    float* traits_to = &out.traits[4 * block + in];
    traits_to[3 * kBlock] = kNeverReached;
    if (k >= size || columns[k] < 0) continue;
    const int64_t from = columns[k] / kBlock * kBlock, at = columns[k] % kBlock;
    const int8_t* code = &packed[from * width + 4 * at];
    int8_t* to = &out.packed[block * width + 4 * in];
    for (int64_t c = 0; c < width; c += 4) std::copy_n(code + c * kBlock, 4, to + c * kBlock);
    out.start[k] = start[columns[k]];
    for (int64_t e = 0; e < 4; ++e) {
      traits_to[e * kBlock] = traits[static_cast<size_t>(4 * from + at + e * kBlock)];
    }
  }
  return out;
}

ScaledColumns::ScaledColumns(const Scaled& screen, const Positions& side) {
  const auto size = static_cast<int64_t>(side.rows.size());
  const int64_t width = screen.width(), count = round_up(size, kBlockColumns);
  Codes codes{std::vector<int8_t>(static_cast<size_t>(count * width), 0),
              std::vector<int32_t>(static_cast<size_t>(count), 0)};
  traits.resize(static_cast<size_t>(4 * count));
  std::vector<float> point(static_cast<size_t>(side.x.d));
  std::vector<int8_t> code(static_cast<size_t>(width));
  for (int64_t k = 0; k < count; ++k) {
    ScaledRow row = Scaled::none();
    if (k < size) {
      row = screen.encode(side, side.rows[k], point.data(), code.data());
      put_code(code.data(), width, k, 0, codes);
    }
    float* of = &traits[4 * (k / kBlockColumns * kBlockColumns) + k % kBlockColumns];
    of[0] = row.step;
    of[kBlockColumns] = row.rounding;
    of[2 * kBlockColumns] = raised(static_cast<double>(row.length) + row.rounding);
    of[3 * kBlockColumns] = row.rest;
  }
  packed = std::move(codes.packed);
  start = std::move(codes.start);
}

}  // namespace meddel

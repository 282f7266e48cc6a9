#include "screen/blocks.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "cpu/isa.h"
#include "screen/bounds.h"

namespace meddel {
namespace {

// Of a sample's rows: clipped ones are looked at by all others.
constexpr double kUnclipped = 0.998;
constexpr double kRaised = 2.0;  // what products have beside the cosine
constexpr int64_t kTurned = 16;  // rows that become columns at once

float to_float(int32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

int32_t to_bits(float value) {
  int32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

}  // namespace

BlockScreen::BlockScreen(BlockKind kind, const ScanSide& x, const ScanSide& y)
    : map_{Metric::kCosine, x.x->d, 1.0f, {}} {
  const double d = static_cast<double>(map_.d), roundings = (d + 2.0) * kUnit;
  off_ = 3.01 * roundings / (1.0 - roundings) + 4.1 * kUnit + (d + 16.0) * 0x1p-52;
  if (kind == BlockKind::kCodes) {
    dense_ = Screen::dense(Sample(Metric::kCosine, x.positions(), y.positions(),
                                  {/*prefix=*/false, /*dense=*/true, /*groups=*/false}),
                           kUnclipped);
  } else {
    map_.mean.assign(static_cast<size_t>(map_.d), 0.0f);
  }
}

int32_t BlockScreen::start(double bar) const {
  if (dense_) return dense_->start(0, bar);
  // Rounded down, and above `out` even for a bar that all reach.
  const auto least = static_cast<float>(std::max(0.5, bar + kRaised - off_));
  return 1 - to_bits(least);  // of the float below it
}

double BlockScreen::bound(int32_t score) const {
  if (dense_) return dense_->bound(score);
  return static_cast<double>(to_float(score)) - kRaised + off_;
}

int32_t BlockScreen::out() const { return dense_ ? -2 * kSurvives : 0; }

bool Block::one_side() const {
  return &x_ == &y_ && rows_.begin == columns_.begin && rows_.end == columns_.end;
}

void Block::reset(ColumnRange rows, ColumnRange columns) {
  rows_ = rows;
  columns_ = columns;
  const int64_t across = round_up(columns.end - columns.begin, kPart);
  const int64_t down = round_up(rows.end - rows.begin, 4);
  if (!screen_.dense_) {
    const int64_t d = screen_.map_.d + 1;
    points_.resize(static_cast<size_t>((rows.end - rows.begin) * d));
    packed_.resize(static_cast<size_t>(across * d));
    return;
  }
  const int64_t width = screen_.dense_->width();
  row_codes_.bytes.resize(static_cast<size_t>(down * width + kChunk));
  row_codes_.share.assign(static_cast<size_t>(down), -kDropped);
  column_codes_.packed.resize(static_cast<size_t>(across * width));
  column_codes_.start.assign(static_cast<size_t>(across), -kDropped);
  column_fine_.reset(screen_.map_.d, across);
  if (!one_side()) row_fine_.reset(screen_.map_.d, down);
}

int64_t Block::parts() const {
  const int64_t across = (columns_.end - columns_.begin + kPart - 1) / kPart;
  return one_side() ? across : across + (rows_.end - rows_.begin + kPart - 1) / kPart;
}

void Block::fill(int64_t part) {
  if (screen_.dense_) {
    fill_codes(part);
  } else {
    fill_products(part);
  }
}

void Block::fill_codes(int64_t part) {
  const int64_t across = (columns_.end - columns_.begin + kPart - 1) / kPart;
  const bool both = one_side(), column = part < across;
  const ColumnRange& range = column ? columns_ : rows_;
  const int64_t at = (column ? part : part - across) * kPart;
  const int64_t begin = range.begin + at, end = std::min(range.end, begin + kPart);
  screen_.dense_->encode((column ? y_ : x_).positions(), begin, end, at,
                         both || !column ? &row_codes_ : nullptr, column ? &column_codes_ : nullptr,
                         column ? &column_fine_ : &row_fine_);
}

void Block::fill_products(int64_t part) {
  const int64_t across = (columns_.end - columns_.begin + kPart - 1) / kPart;
  const bool both = one_side(), column = part < across;
  const ColumnRange& range = column ? columns_ : rows_;
  const ScanSide& side = column ? y_ : x_;
  const int64_t at = (column ? part : part - across) * kPart, d = screen_.map_.d;
  const Positions positions = side.positions();
  const bool keeps = both || !column;
  std::vector<float> own(keeps ? 0 : static_cast<size_t>(kTurned * (d + 1)));
  for (int64_t k = 0; k < kPart; k += kTurned) {
    const int64_t count = std::clamp(range.end - range.begin - at - k, int64_t{0}, kTurned);
    float* const points = keeps ? points_.data() + (at + k) * (d + 1) : own.data();
    for (int64_t r = 0; r < count; ++r)
      make_point(positions, range.begin + at + k + r, points + r * (d + 1));
    if (column) turn(points, count, &packed_[at * (d + 1) + k]);
  }
}

// Writes the row at a position, and what is added to all its products.
void Block::make_point(const Positions& positions, int64_t p, float* point) const {
  const int64_t d = screen_.map_.d;
  const bool fits =
      screen_.map_(positions, positions.rows[p], point) != std::numeric_limits<float>::infinity();
  if (!fits) std::fill_n(point, d, 0.0f);
  point[d] = fits ? 1.0f : 2.0f;
}

// Writes points as columns, some elements of all of them at a time, within few lines of memory.
// Where there are fewer, columns of zeros: their products are 0, which is below all.
void Block::turn(const float* points, int64_t count, float* out) const {
  constexpr int64_t kSome = 16;
  const int64_t d = screen_.map_.d;
  for (int64_t first = 0; first < d; first += kSome) {
    const int64_t last = std::min(d, first + kSome);
    for (int64_t k = 0; k < count; ++k) {
      const float* const point = points + k * (d + 1);
      for (int64_t e = first; e < last; ++e) out[e * kPart + k] = point[e];
    }
    for (int64_t e = first; e < last; ++e)
      std::fill(out + e * kPart + count, out + e * kPart + kTurned, 0.0f);
  }
  for (int64_t k = 0; k < kTurned; ++k) {
    out[d * kPart + k] = k < count ? static_cast<float>(kRaised) * points[k * (d + 1) + d] : 0.0f;
  }
}

static_assert(Block::kPart == kPacked && Block::kPart % kApart == 0);

void Block::scores(int64_t begin, int64_t end, int64_t first, int64_t last, int32_t* out,
                   int64_t stride) const {
  const int64_t at = first - columns_.begin, across = round_up(last - first, kPart);
  const int64_t row = begin - rows_.begin, rows = end - begin;
  if (screen_.dense_) {
    const int64_t width = screen_.dense_->width();
    kernels().scores(&row_codes_.bytes[row * width], &row_codes_.share[row], round_up(rows, 4),
                     &column_codes_.packed[at * width], &column_codes_.start[at],
                     across / kBlockColumns, width, out, stride);
    return;
  }
  const int64_t d = screen_.map_.d + 1;
  kernels().multiply_blocks(&points_[row * d], d, rows, &packed_[at * d], d, across / kPart,
                            reinterpret_cast<float*>(out), stride);
}

void Block::bounds(int64_t p, int64_t first, const uint16_t* found, const int32_t* scores,
                   int64_t count, std::vector<int32_t>& products, std::vector<double>& out) const {
  out.resize(std::max(out.size(), static_cast<size_t>(count)));
  if (!screen_.dense_) {
    for (int64_t c = 0; c < count; ++c) out[c] = screen_.bound(scores[found[c]]);
    return;
  }
  products.resize(std::max(products.size(), static_cast<size_t>(count)));
  const FineCodes& rows = one_side() ? column_fine_ : row_fine_;
  const int64_t at = first - columns_.begin, row = p - rows_.begin;
  kernels().fine_dots(rows.code(row), column_fine_.code(at), found, count, rows.width,
                      products.data());
  for (int64_t c = 0; c < count; ++c) {
    const double heights = rows.height[row] + column_fine_.height[at + found[c]];
    out[c] = screen_.dense_->fine_bound(products[c], heights);
  }
}

}  // namespace meddel

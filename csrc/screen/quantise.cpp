// Rows become codes: the bodies of Screen that make them.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "cpu/isa.h"
#include "screen/bounds.h"
#include "screen/screen.h"

namespace meddel {
namespace {

constexpr int64_t kEncodeRows = 64;  // rows projected at a time
constexpr int64_t kFewRows = 8;      // rows that stay in L1, where nothing is projected

// A row that may lie anywhere, before it is wanted.
void prefetch(const Matrix& x, int64_t i) {
  const char* row = static_cast<const char*>(x.row(i));
  const int64_t bytes = x.d * item_size(x.dtype);
  for (int64_t at = 0; at < bytes; at += 64) __builtin_prefetch(row + at);
}

// Width is a multiple of 4.
void flip_bytes(const int8_t* code, int64_t width, uint64_t flip, uint8_t* out) {
  int64_t c = 0;
  for (; c + 8 <= width; c += 8) {
    uint64_t bytes;
    std::memcpy(&bytes, code + c, 8);
    bytes ^= flip;
    std::memcpy(out + c, &bytes, 8);
  }
  for (; c < width; ++c) out[c] = static_cast<uint8_t>(code[c]) ^ static_cast<uint8_t>(flip);
}

}  // namespace

// t, rounded up: |w|^2 >= |w~|^2 - 2 eps |w~|.
double Screen::height(double square, double kappa) const {
  return 0.5 * (kappa - square * (1.0 - off_)) + epsilon_ * map_.longest;
}

// Raising a is always allowed, so it may be cut off from below.
Screen::Share Screen::share(double tau, double factor, double square, double kappa) const {
  const double a = std::ceil((factor * tau + height(square, kappa)) / (step_ * step_) + 1e-6);
  const double limit = static_cast<double>(kShare);
  if (a > limit) return {kSurvives, 0.0};
  return {static_cast<int32_t>(std::max(a, -limit)), tau};
}

// Each writes the integers of one row and returns its a.
Screen::Share Screen::encode_prefix(const float* projected, double square, double kappa,
                                    int8_t* code) const {
  constexpr double kRound = 6755399441055744.0;  // 1.5 * 2^52: adding it leaves no fraction
  const double inverse = 1.0 / step_;
  double inner = 0.0, length = 0.0, rounding = 0.0;
  for (int64_t c = 0; c < kept_; ++c) {
    const double p = static_cast<double>(projected[c]);
    const double q = (std::max(-127.0, std::min(127.0, p * inverse)) + kRound) - kRound;
    code[c] = static_cast<int8_t>(static_cast<int32_t>(q));
    inner += q * p;
    length += q * q;
    rounding += (p - step_ * q) * (p - step_ * q);
  }
  const double size = step_ * std::sqrt(length);
  const double tau = std::sqrt(rounding) + eta_ + delta_ * size + 1e-12;
  const double whole = std::sqrt(square * (1.0 + off_)) + epsilon_;
  const double rest = whole * whole - 2.0 * step_ * inner + step_ * step_ * length +
                      2.0 * size * eta_ + delta_ * size * size + 1e-12;
  const double r = std::ceil(std::sqrt(std::max(0.0, rest)) / (2.0 * step_) + 1e-9);
  if (size > longest_ || r > 127.0) return {kSurvives, 0.0};
  std::fill_n(code + kept_, kRemainder, static_cast<int8_t>(r));
  return share(tau, longest_, square, kappa);
}

// The sum of squares is off by at most (d / 16 + 20) 2^-24 of itself; each of its terms comes from
// a difference of numbers of size |w_i| that is off by at most 2^-23 |w_i|, 2^-23 |w| together.
Screen::Share Screen::encode_dense(const float* point, double square, double kappa,
                                   int8_t* code) const {
  const float squares = kernels().quantise(point, d_, static_cast<float>(step_), code);
  const double tau = std::sqrt(static_cast<double>(squares) * (1.0 + off_)) +
                     2.0 * kUnit * map_.longest + epsilon_;
  if (tau > remainder_ || std::sqrt(square) * (1.0 + off_) + tau > longest_)
    return {kSurvives, 0.0};
  return share(tau, longest_ + 0.5 * remainder_, square, kappa);
}

// A row that is screened has |w~| <= W (1 + off), so that integers stay within 32,001, and sums of
// their products, by Cauchy-Schwarz, within 1.1e9.
void Screen::encode_fine(const float* point, double square, double kappa, int64_t k,
                         FineCodes& out) const {
  int16_t* code = &out.integers[k * out.width];
  std::fill(code, code + out.width, int16_t{0});
  out.height[k] = kInfinity;
  if (!(square < map_.longest * map_.longest)) return;
  kernels().fine_codes(point, d_, fine_step(), code);
  out.height[k] = height(square, kappa);
}

// With step t, w = t c + e and |e| <= .51 t sqrt(d) + eps = tau,
// <u, v> = t^2 c_u'c_v + <w_u, e_v> + <w_v, e_u> - <e_u, e_v> <= t^2 c_u'c_v + 2 |w| tau + tau^2.
double Screen::fine_bound(int32_t product, double heights) const {
  const double step = static_cast<double>(fine_step());
  return map_.score(step * step * static_cast<double>(product) + heights + fine_off());
}

double Screen::fine_off() const {
  const double tau =
      0.51 * static_cast<double>(fine_step()) * std::sqrt(static_cast<double>(d_)) + epsilon_;
  const double longest = map_.longest * (1.0 + off_) + epsilon_;
  return (2.0 * longest + tau) * tau + slack_;
}

// By the same, <u, v> >= t^2 c_u'c_v - 2 |w| tau - tau^2, and each height is above the real one by
// no more than off W^2 + 2 eps W + eps^2, as |w|^2 <= |w~|^2 + 2 eps |w~| + eps^2.
double Screen::fine_width() const {
  const double longest = map_.longest * (1.0 + off_);
  const double height = off_ * longest * longest + (2.0 * longest + epsilon_) * epsilon_;
  return map_.score(2.02 * (fine_off() + height));
}

template <class Take>
void Screen::each_code(const Positions& side, int64_t begin, int64_t end, const Take& take) const {
  const int64_t most = dense_ ? kFewRows : kEncodeRows;
  std::vector<float> points(static_cast<size_t>(most * d_));
  std::vector<float> squares(static_cast<size_t>(most));
  std::vector<float> projected(dense_ ? 0 : static_cast<size_t>(kEncodeRows * padded_));
  std::vector<int8_t> code(static_cast<size_t>(width_));
  for (int64_t first = begin; first < end; first += most) {
    const int64_t count = std::min(most, end - first);
    for (int64_t k = 0; k < count; ++k) {
      if (dense_ && first + k + most < end) prefetch(side.x, side.rows[first + k + most]);
      squares[k] = map_(side, side.rows[first + k], &points[k * d_]);
    }
    if (!dense_) {
      kernels().multiply(points.data(), d_, count, basis_.data(), d_, padded_, projected.data());
    }
    for (int64_t k = 0; k < count; ++k) {
      Share share{kSurvives, 0.0};
      const double square = static_cast<double>(squares[k]);
      if (square < map_.longest * map_.longest) {
        const double kappa = map_.kappa(side.norms[side.rows[first + k]]);
        share = dense_ ? encode_dense(&points[k * d_], square, kappa, code.data())
                       : encode_prefix(&projected[k * padded_], square, kappa, code.data());
      }
      if (share.a == kSurvives) std::fill(code.begin(), code.end(), int8_t{0});
      take(first + k, code.data(), share.a, share.tau, &points[k * d_], square);
    }
  }
}

void Screen::encode(const Positions& side, int64_t begin, int64_t end, int64_t at, RowCodes* rows,
                    Codes* columns, FineCodes* fine) const {
  // The kernels' bias, 0 or 128, flips the sign at most: eight integers at a time.
  const uint64_t flip = 0x0101010101010101u * static_cast<uint64_t>(kernels().bias);
  std::vector<int8_t> block(columns == nullptr ? 0 : static_cast<size_t>(kBlockColumns * width_));
  int32_t shares[kBlockColumns];
  each_code(
      side, begin, end,
      [&](int64_t p, const int8_t* code, int32_t a, double tau, const float* point, double square) {
        const int64_t k = at + p - begin;
        if (fine != nullptr)
          encode_fine(point, square, map_.kappa(side.norms[side.rows[p]]), k, *fine);
        if (columns != nullptr) {
          const int64_t in = (p - begin) % kBlockColumns;
          std::memcpy(&block[in * width_], code, static_cast<size_t>(width_));
          shares[in] = a;
          if (in + 1 == kBlockColumns || p + 1 == end) {
            put_block(block.data(), width_, k - in, in + 1, shares, *columns);
          }
        }
        if (rows == nullptr) return;
        flip_bytes(code, width_, flip, &rows->bytes[k * width_]);
        rows->share[k] = a;
        if (!rows->tau.empty()) rows->tau[k] = tau;
      });
}

Codes Screen::encode(const Positions& side, int64_t begin, int64_t end) const {
  const int64_t count = round_up(end - begin, kBlockColumns);
  Codes out{std::vector<int8_t>(static_cast<size_t>(count * width_), 0),
            std::vector<int32_t>(static_cast<size_t>(count), -kDropped)};
  encode(side, begin, end, 0, nullptr, &out, nullptr);
  return out;
}

Codes Screen::encode(Team& team, const Positions& side) const {
  const int64_t size = static_cast<int64_t>(side.rows.size());
  const int64_t count = round_up(size, kBlockColumns);
  Codes out{std::vector<int8_t>(static_cast<size_t>(count * width_)),
            std::vector<int32_t>(static_cast<size_t>(count))};
  team.run_range(size, 16 * kEncodeRows, [&](int64_t begin, int64_t end, int) {
    const Codes part = encode(side, begin, end);
    std::copy(part.packed.begin(), part.packed.end(), &out.packed[begin * width_]);
    std::copy(part.start.begin(), part.start.end(), &out.start[begin]);
  });
  return out;
}

RowCodes Screen::encode_rows(const Positions& side, int64_t begin, int64_t end) const {
  const int64_t count = round_up(end - begin, 4);
  RowCodes out{std::vector<uint8_t>(static_cast<size_t>(count * width_ + kChunk)),
               std::vector<int32_t>(static_cast<size_t>(count), -kDropped),
               std::vector<double>(static_cast<size_t>(count), 0.0)};
  encode(side, begin, end, 0, &out, nullptr, nullptr);
  return out;
}

RowCodes Screen::encode_rows(Team& team, const Positions& side) const {
  const int64_t size = static_cast<int64_t>(side.rows.size());
  const int64_t count = round_up(size, 4);
  RowCodes out{std::vector<uint8_t>(static_cast<size_t>(count * width_ + kChunk)),
               std::vector<int32_t>(static_cast<size_t>(count)),
               {}};
  team.run_range(size, 16 * kEncodeRows, [&](int64_t begin, int64_t end, int) {
    const RowCodes part = encode_rows(side, begin, end);
    std::copy(part.bytes.begin(), part.bytes.end() - kChunk, &out.bytes[begin * width_]);
    std::copy(part.share.begin(), part.share.end(), &out.share[begin]);
  });
  return out;
}

}  // namespace meddel

#include "screen.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "cpu/isa.h"

namespace meddel {
namespace {

constexpr int64_t kSampleRows = 2048;
constexpr int64_t kKept = 60;        // dimensions kept, with 4 for the remainder: one cache line
constexpr int kPasses = 2;           // of subspace iteration
constexpr int kRemainder = 4;        // integers that hold the remainder's length
constexpr int64_t kEncodeRows = 64;  // rows projected at a time

// Shares of the accumulator that decide alone. Sums stay within 32 bits: the bar's share is at most
// kBar, a row's kAlways or -kNever, and kWidest products of at most 127 * 255 make 5.3e8. Real bars
// ask for at most 1.1 / step^2 = 1.1e8.
constexpr int32_t kBar = 400'000'000;
constexpr int32_t kAlways = 200'000'000;
constexpr int32_t kNever = 800'000'000;
constexpr double kLeastStep = 1e-4;
constexpr int64_t kWidest = 16384;
constexpr double kUnit = 1.0 / (1 << 24);  // rounding of fp32

int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Numbers that only have to look random (splitmix64): the answer does not depend on them.
class Scatter {
 public:
  double next() {
    state_ += 0x9e3779b97f4a7c15u;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return static_cast<double>(z >> 11) * 0x1p-53 - 0.5;
  }

 private:
  uint64_t state_ = 1;
};

double inner_product(const double* x, const double* y, int64_t n) {
  double sum[8] = {};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    for (int j = 0; j < 8; ++j) sum[j] += x[i + j] * y[i + j];
  }
  for (; i < n; ++i) sum[0] += x[i] * y[i];
  return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

// Makes the columns of a (rows x columns, row-major) orthonormal; a column that depends on the
// ones before it is replaced by a random one. Requires columns <= rows.
void orthonormalise(std::vector<double>& a, int64_t rows, int64_t columns) {
  Scatter scatter;
  std::vector<double> v(static_cast<size_t>(rows));
  // Columns are gathered into rows of `done`, where they are adjacent.
  std::vector<double> done(static_cast<size_t>(columns * rows));
  for (int64_t c = 0; c < columns; ++c) {
    for (int64_t i = 0; i < rows; ++i) v[i] = a[i * columns + c];
    for (bool fresh = true; fresh;) {
      const double before = inner_product(v.data(), v.data(), rows);
      for (int pass = 0; pass < 2; ++pass) {  // the second removes the first's rounding
        for (int64_t e = 0; e < c; ++e) {
          const double* other = &done[e * rows];
          const double inner = inner_product(v.data(), other, rows);
          for (int64_t i = 0; i < rows; ++i) v[i] -= inner * other[i];
        }
      }
      const double after = inner_product(v.data(), v.data(), rows);
      fresh = !(after > 1e-10 * before);
      for (double& value : v) value = fresh ? scatter.next() : value / std::sqrt(after);
    }
    std::copy(v.begin(), v.end(), done.begin() + c * rows);
  }
  for (int64_t c = 0; c < columns; ++c) {
    for (int64_t i = 0; i < rows; ++i) a[i * columns + c] = done[c * rows + i];
  }
}

std::vector<double> random_matrix(int64_t rows, int64_t columns) {
  Scatter scatter;
  std::vector<double> out(static_cast<size_t>(rows * columns));
  for (double& value : out) value = scatter.next();
  return out;
}

// Row i of x over its norm, in fp32; zero for a zero row.
void unit_row(const Matrix& x, int64_t i, double norm, float* out) {
  kernels().scale[static_cast<int>(x.dtype)](x.row(i), x.d, norm > 0.0 ? 1.0 / norm : 0.0, out);
}

// Unit rows, spread evenly over both sides; zero rows have none. At least one, if it is all zeros.
std::vector<float> sample_rows(const Positions& x, const Positions& y) {
  std::vector<float> out;
  const bool one_side = &x.rows == &y.rows;
  for (const Positions* side : {&x, &y}) {
    const int64_t size = static_cast<int64_t>(side->rows.size());
    const int64_t count = std::min(size, one_side ? kSampleRows : kSampleRows / 2);
    for (int64_t s = 0; s < count; ++s) {
      const int64_t i = side->rows[s * size / count];
      if (side->norms[i] == 0.0) continue;
      out.resize(out.size() + static_cast<size_t>(side->x.d));
      unit_row(side->x, i, side->norms[i], &out[out.size() - static_cast<size_t>(side->x.d)]);
    }
    if (one_side) break;
  }
  if (out.empty()) out.resize(static_cast<size_t>(x.x.d));
  return out;
}

std::atomic<ScreenMode> mode{ScreenMode::kAuto};

}  // namespace

Screen::Screen(int64_t d, int64_t kept, bool dense)
    : d_(d),
      kept_(kept),
      padded_(round_up(kept, 16)),
      width_(round_up(kept + (dense ? 0 : kRemainder), 4)),
      dense_(dense),
      eta_(2.0 * kUnit) {}

Screen Screen::prefix(Team& team, const Positions& x, const Positions& y) {
  Screen screen(x.x.d, std::min(x.x.d, kKept), false);
  const std::vector<float> sample = sample_rows(x, y);
  screen.learn_basis(team, sample);
  screen.measure_basis();
  screen.learn_step(sample);
  return screen;
}

Screen Screen::dense(const Positions& x, const Positions& y) {
  Screen screen(x.x.d, x.x.d, true);
  screen.learn_dense_step(sample_rows(x, y));
  return screen;
}

void Screen::learn_basis(Team& team, const std::vector<float>& sample) {
  const MultiplyFn multiply = kernels().multiply;
  const int64_t rows = static_cast<int64_t>(sample.size()) / d_;
  std::vector<float> transposed(sample.size());
  team.run_range(d_, 16, [&](int64_t begin, int64_t end, int) {
    for (int64_t e = begin; e < end; ++e) {
      for (int64_t s = 0; s < rows; ++s) transposed[e * rows + s] = sample[s * d_ + e];
    }
  });
  // Subspace iteration: the span of S'S ... S'S times a random start leans to the directions of
  // largest variance, which is all that is wanted of it.
  basis_.assign(static_cast<size_t>(d_ * padded_), 0.0f);
  std::vector<float> projected(static_cast<size_t>(rows * padded_));
  std::vector<double> wide = random_matrix(d_, kept_);
  orthonormalise(wide, d_, kept_);
  for (int pass = 0; pass < kPasses && kept_ < d_; ++pass) {
    for (int64_t e = 0; e < d_; ++e) std::copy_n(&wide[e * kept_], kept_, &basis_[e * padded_]);
    team.run_range(rows, 128, [&](int64_t begin, int64_t end, int) {
      multiply(&sample[begin * d_], d_, end - begin, basis_.data(), d_, padded_,
               &projected[begin * padded_]);
    });
    team.run_range(d_, 32, [&](int64_t begin, int64_t end, int) {
      multiply(&transposed[begin * rows], rows, end - begin, projected.data(), rows, padded_,
               &basis_[begin * padded_]);
    });
    for (int64_t e = 0; e < d_; ++e) std::copy_n(&basis_[e * padded_], kept_, &wide[e * kept_]);
    orthonormalise(wide, d_, kept_);
  }
  // A random turn within the span: every coordinate of a code is then about as large.
  std::vector<double> turn = random_matrix(kept_, kept_);
  orthonormalise(turn, kept_, kept_);
  std::fill(basis_.begin(), basis_.end(), 0.0f);
  for (int64_t e = 0; e < d_; ++e) {
    for (int64_t c = 0; c < kept_; ++c) {
      double sum = 0.0;
      for (int64_t k = 0; k < kept_; ++k) sum += wide[e * kept_ + k] * turn[k * kept_ + c];
      basis_[e * padded_ + c] = static_cast<float>(sum);
    }
  }
}

// delta = |B'B - I| of the basis as rounded to fp32, and eta by |B|_F^2 <= m (1 + delta).
void Screen::measure_basis() {
  std::vector<double> gram(static_cast<size_t>(kept_ * kept_), 0.0);
  for (int64_t e = 0; e < d_; ++e) {
    const float* row = &basis_[e * padded_];
    for (int64_t a = 0; a < kept_; ++a) {
      const double left = static_cast<double>(row[a]);
      for (int64_t b = 0; b < kept_; ++b) gram[a * kept_ + b] += left * static_cast<double>(row[b]);
    }
  }
  double squares = 0.0;
  for (int64_t a = 0; a < kept_; ++a) {
    for (int64_t b = 0; b < kept_; ++b) {
      const double off = gram[a * kept_ + b] - (a == b ? 1.0 : 0.0);
      squares += off * off;
    }
  }
  delta_ = std::sqrt(squares) + 1e-12;
  eta_ = static_cast<double>(d_ + 2) * kUnit * 1.01 *
             std::sqrt(static_cast<double>(kept_) * (1.0 + delta_)) +
         2.0 * kUnit * (1.0 + delta_);
}

void Screen::learn_step(const std::vector<float>& sample) {
  const int64_t rows = static_cast<int64_t>(sample.size()) / d_;
  std::vector<float> projected(static_cast<size_t>(rows * padded_));
  kernels().multiply(sample.data(), d_, rows, basis_.data(), d_, padded_, projected.data());
  double largest = 0.0, remainder = 0.0;
  for (int64_t s = 0; s < rows; ++s) {
    double square = 0.0;
    for (int64_t c = 0; c < kept_; ++c) {
      const double p = static_cast<double>(projected[s * padded_ + c]);
      largest = std::max(largest, std::abs(p));
      square += p * p;
    }
    remainder = std::max(remainder, std::sqrt(std::max(0.0, 1.0 - square)));
    longest_ = std::max(longest_, std::sqrt(square));
  }
  // Room for rows beyond the sample; those that exceed it survive always.
  step_ = std::max({1.05 * largest / 127.0, (1.05 * remainder + 0.02) / 254.0, kLeastStep});
  longest_ = 1.01 * longest_ + step_ * std::sqrt(static_cast<double>(kept_));
}

void Screen::learn_dense_step(const std::vector<float>& sample) {
  const int64_t rows = static_cast<int64_t>(sample.size()) / d_;
  std::vector<float> largest(static_cast<size_t>(rows));
  for (int64_t s = 0; s < rows; ++s) {
    for (int64_t e = 0; e < d_; ++e) {
      largest[s] = std::max(largest[s], std::abs(sample[s * d_ + e]));
    }
  }
  // A few rows with a larger coordinate are clipped, and survive more often, for the sake of a
  // finer step for all others.
  const auto most = largest.begin() + rows * 98 / 100;
  std::nth_element(largest.begin(), most, largest.end());
  step_ = static_cast<double>(std::max(*most / 127.0f, static_cast<float>(kLeastStep)));
  // Rounding errors of up to step / 2 a coordinate: twice their root mean square, for clipping.
  remainder_ = 2.0 * step_ * std::sqrt(static_cast<double>(d_) / 12.0) + 4.0 * kUnit;
  longest_ = 1.0 + remainder_ + 4.0 * kUnit;
}

// Each writes the integers of one row and returns its a.
int32_t Screen::encode_prefix(const float* projected, int8_t* code) const {
  double inner = 0.0, length = 0.0, rounding = 0.0;
  for (int64_t c = 0; c < kept_; ++c) {
    const double p = static_cast<double>(projected[c]);
    const double q = std::max(-127.0, std::min(127.0, std::nearbyint(p / step_)));
    code[c] = static_cast<int8_t>(q);
    inner += q * p;
    length += q * q;
    rounding += (p - step_ * q) * (p - step_ * q);
  }
  const double size = step_ * std::sqrt(length);
  const double tau = std::sqrt(rounding) + eta_ + delta_ * size + 1e-12;
  const double rest = 1.0 - 2.0 * step_ * inner + step_ * step_ * length + 2.0 * size * eta_ +
                      delta_ * size * size + 1e-12;
  const double r = std::ceil(std::sqrt(std::max(0.0, rest)) / (2.0 * step_) + 1e-9);
  if (size > longest_ || r > 127.0) return kAlways;
  std::fill_n(code + kept_, kRemainder, static_cast<int8_t>(r));
  return static_cast<int32_t>(std::ceil(longest_ * tau / (step_ * step_) + 1e-9));
}

// The sum of squares is off by at most (d / 16 + 20) 2^-24 of itself; each of its terms comes from
// a difference of numbers of size |u_i| that is off by at most 2^-23 |u_i|, 2^-23 |u| together.
int32_t Screen::encode_dense(const float* unit, int8_t* code) const {
  const float squares = kernels().quantise(unit, d_, static_cast<float>(step_), code);
  const double off = 1.0 + static_cast<double>(d_ + 320) / 16.0 * kUnit;
  const double tau = std::sqrt(static_cast<double>(squares) * off) + 2.0 * kUnit + eta_;
  if (tau > remainder_) return kAlways;
  return static_cast<int32_t>(
      std::ceil((longest_ + 0.5 * remainder_) * tau / (step_ * step_) + 1e-9));
}

template <class Take>
void Screen::each_code(const Positions& side, int64_t begin, int64_t end, const Take& take) const {
  std::vector<float> unit(static_cast<size_t>(kEncodeRows * d_));
  std::vector<float> projected(dense_ ? 0 : static_cast<size_t>(kEncodeRows * padded_));
  std::vector<int8_t> code(static_cast<size_t>(width_));
  for (int64_t first = begin; first < end; first += kEncodeRows) {
    const int64_t count = std::min(kEncodeRows, end - first);
    for (int64_t k = 0; k < count; ++k) {
      const int64_t i = side.rows[first + k];
      unit_row(side.x, i, side.norms[i], &unit[k * d_]);
    }
    if (!dense_) {
      kernels().multiply(unit.data(), d_, count, basis_.data(), d_, padded_, projected.data());
    }
    for (int64_t k = 0; k < count; ++k) {
      int32_t a = 0;  // as it stays, with a code of zeros, for a zero row
      std::fill(code.begin(), code.end(), int8_t{0});
      if (side.norms[side.rows[first + k]] > 0.0) {
        a = dense_ ? encode_dense(&unit[k * d_], code.data())
                   : encode_prefix(&projected[k * padded_], code.data());
      }
      if (a == kAlways) std::fill(code.begin(), code.end(), int8_t{0});
      take(first + k, code.data(), a);
    }
  }
}

namespace {

// Puts the code of the k-th position where the kernels want it.
void put(const int8_t* code, int64_t width, int64_t k, int32_t a, Codes& out) {
  int8_t* block = &out.packed[k / kBlockColumns * kBlockColumns * width];
  int32_t sum = 0;
  for (int64_t c = 0; c < width; c += 4) {
    std::copy_n(code + c, 4, block + c * kBlockColumns + k % kBlockColumns * 4);
    sum += code[c] + code[c + 1] + code[c + 2] + code[c + 3];
  }
  out.start[k] = a - kernels().bias * sum;
}

}  // namespace

Codes Screen::encode(const Positions& side, int64_t begin, int64_t end) const {
  const int64_t count = round_up(end - begin, kBlockColumns);
  Codes out{std::vector<int8_t>(static_cast<size_t>(count * width_), 0),
            std::vector<int32_t>(static_cast<size_t>(count), -kNever)};
  each_code(side, begin, end, [&](int64_t p, const int8_t* code, int32_t a) {
    put(code, width_, p - begin, a, out);
  });
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
  const int32_t bias = kernels().bias;
  const int64_t count = round_up(end - begin, 4);
  RowCodes out{std::vector<uint8_t>(static_cast<size_t>(count * width_)),
               std::vector<int32_t>(static_cast<size_t>(count), -kNever)};
  each_code(side, begin, end, [&](int64_t p, const int8_t* code, int32_t a) {
    uint8_t* row = &out.bytes[(p - begin) * width_];
    for (int64_t c = 0; c < width_; ++c) row[c] = static_cast<uint8_t>(code[c] + bias);
    out.share[p - begin] = a;
  });
  return out;
}

RowCodes Screen::encode_rows(Team& team, const Positions& side) const {
  const int64_t size = static_cast<int64_t>(side.rows.size());
  const int64_t count = round_up(size, 4);
  RowCodes out{std::vector<uint8_t>(static_cast<size_t>(count * width_)),
               std::vector<int32_t>(static_cast<size_t>(count))};
  team.run_range(size, 16 * kEncodeRows, [&](int64_t begin, int64_t end, int) {
    const RowCodes part = encode_rows(side, begin, end);
    std::copy(part.bytes.begin(), part.bytes.end(), &out.bytes[begin * width_]);
    std::copy(part.share.begin(), part.share.end(), &out.share[begin]);
  });
  return out;
}

RowCodes RowCodes::gather(const int64_t* rows, int64_t count, int64_t width) const {
  const int64_t padded = round_up(count, 4);
  RowCodes out{std::vector<uint8_t>(static_cast<size_t>(padded * width)),
               std::vector<int32_t>(static_cast<size_t>(padded), -kNever)};
  for (int64_t k = 0; k < count; ++k) {
    std::copy_n(&bytes[rows[k] * width], width, &out.bytes[k * width]);
    out.share[k] = share[rows[k]];
  }
  return out;
}

Codes RowCodes::pack(const int64_t* rows, int64_t count, int64_t width) const {
  const int32_t bias = kernels().bias;
  const int64_t padded = round_up(count, kBlockColumns);
  Codes out{std::vector<int8_t>(static_cast<size_t>(padded * width), 0),
            std::vector<int32_t>(static_cast<size_t>(padded), -kNever)};
  std::vector<int8_t> code(static_cast<size_t>(width));
  for (int64_t k = 0; k < count; ++k) {
    for (int64_t c = 0; c < width; ++c) {
      code[c] = static_cast<int8_t>(bytes[rows[k] * width + c] - bias);
    }
    put(code.data(), width, k, share[rows[k]], out);
  }
  return out;
}

int32_t Screen::start(int32_t a, double bar) const {
  if (a == -kNever) return a;
  const double slack = static_cast<double>(d_ + 8) * 0x1p-52;
  const double needed = (bar - delta_ * longest_ * longest_ - slack) / (step_ * step_);
  const double limit = static_cast<double>(kBar);
  return a - static_cast<int32_t>(std::floor(std::max(-limit, std::min(limit, needed - 1e-6))));
}

ScreenPlan plan_screens(double pairs, double columns, int64_t d) {
  // Rows no wider than the prefix lie in it whole; much wider ones have no room in 32-bit sums, or
  // in the bounds, which take (1 + 2^-24)^d for 1 + 1.01 d 2^-24.
  constexpr int64_t kWidestPrefix = 65536;
  const bool prefix = d <= kWidestPrefix, dense = d <= kWidest;
  switch (mode.load()) {
    case ScreenMode::kAlways:
      return {prefix, dense && d > kKept};
    case ScreenMode::kDense:
      return {false, dense};
    case ScreenMode::kNever:
      return {false, false};
    case ScreenMode::kAuto:
      break;
  }
  // A dense code costs as much as about 60 dense products, a prefix's basis some 20 ms (10^7 dense
  // products), and a prefix code as much as about 500 dense products.
  if (pairs * static_cast<double>(d) < 1e6) return {false, false};
  const bool worth = pairs > 3e7 && columns > 1000.0;
  return {prefix && (worth || (d <= kKept && pairs > 3e6)), dense && d > kKept};
}

void use_screen(ScreenMode chosen) { mode = chosen; }

}  // namespace meddel

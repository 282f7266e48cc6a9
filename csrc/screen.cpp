#include "screen.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "cpu/isa.h"
#include "scatter.h"

namespace meddel {
namespace {

constexpr int64_t kSampleRows = 2048;    // tell the directions of a prefix,
constexpr int64_t kFewSampleRows = 512;  // and these where the mean and the steps are
constexpr int kPasses = 2;               // of subspace iteration
constexpr int64_t kEncodeRows = 64;      // rows projected at a time

// Bounds of the accumulator's parts, so that sums stay within 32 bits: a row's share is within
// kShare, or kAlways or -kNever, which decide alone; the bar's share is at most kBar; kWidest
// products of at most 127 * 255 make 5.3e8. Real scores and bars ask for at most 1.1 / step^2.
constexpr int32_t kShare = 150'000'000;
constexpr int32_t kBar = 150'000'000;
constexpr int32_t kAlways = 600'000'000;
constexpr int32_t kNever = 800'000'000;
constexpr double kLeastStep = 1e-4;
constexpr double kUnit = 1.0 / (1 << 24);  // rounding of fp32
// Norms outside are not screened: alpha, or a product with it, might leave fp32's range.
constexpr double kLeastNorm = 1e-30, kGreatestNorm = 1e30;
constexpr double kFarOut = 4.0;  // alpha |x| of rows that are screened

int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

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

// About so many rows spread evenly over both sides.
template <class Take>
void each_sampled(const Positions& x, const Positions& y, int64_t wanted, const Take& take) {
  const bool one_side = &x.rows == &y.rows;
  for (const Positions* side : {&x, &y}) {
    const int64_t size = static_cast<int64_t>(side->rows.size());
    const int64_t count = std::min(size, one_side ? wanted : wanted / 2);
    for (int64_t s = 0; s < count; ++s) take(*side, side->rows[s * size / count]);
    if (one_side) break;
  }
}

template <class T>
T quantile(std::vector<T> values, double share) {
  const auto at =
      values.begin() + static_cast<int64_t>(share * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

}  // namespace

float PointMap::operator()(const Positions& side, int64_t i, float* out) const {
  const double norm = side.norms[i];
  float factor = scale;
  bool fits = norm == 0.0 || (norm > kLeastNorm && norm < kGreatestNorm);
  if (metric == Metric::kCosine) {
    factor = norm > 0.0 ? static_cast<float>(1.0 / norm) : 0.0f;
  } else {
    fits = norm * static_cast<double>(scale) < kFarOut;
  }
  if (!fits) return std::numeric_limits<float>::infinity();
  return kernels().point[static_cast<int>(side.x.dtype)](side.x.row(i), d, factor, mean.data(),
                                                         out);
}

double PointMap::score(double s) const {
  const double alpha = static_cast<double>(scale);
  return metric == Metric::kCosine ? s : 2.0 * s / (alpha * alpha);
}

double PointMap::wanted(double bar) const {
  const double alpha = static_cast<double>(scale);
  return metric == Metric::kCosine ? bar : 0.5 * alpha * alpha * bar;
}

Sample::Sample(Metric metric, const Positions& x, const Positions& y, const ScreenPlan& plan)
    : map{metric, x.x.d, 1.0f, std::vector<float>(static_cast<size_t>(x.x.d), 0.0f)} {
  const int64_t wanted = plan.prefix ? kSampleRows : kFewSampleRows;
  if (metric == Metric::kEuclidean) {
    std::vector<double> norms;
    each_sampled(x, y, wanted,
                 [&](const Positions& side, int64_t i) { norms.push_back(side.norms[i]); });
    const double typical = std::clamp(quantile(std::move(norms), 0.98), kLeastNorm, kGreatestNorm);
    map.scale = static_cast<float>(1.0 / typical);
  }
  const size_t d = static_cast<size_t>(map.d);
  const auto collect = [&] {
    points.clear();
    squares.clear();
    std::vector<float> point(d);
    each_sampled(x, y, wanted, [&](const Positions& side, int64_t i) {
      const float square = map(side, i, point.data());
      if (square == std::numeric_limits<float>::infinity()) return;
      points.insert(points.end(), point.begin(), point.end());
      squares.push_back(square);
    });
  };
  collect();
  std::vector<double> total(d, 0.0);
  for (size_t p = 0; p < points.size(); p += d) {
    for (size_t e = 0; e < d; ++e) total[e] += static_cast<double>(points[p + e]);
  }
  double square = 0.0;
  for (size_t e = 0; e < d; ++e) {
    const double mean = squares.empty() ? 0.0 : total[e] / static_cast<double>(squares.size());
    map.mean[e] = static_cast<float>(mean);
    square += static_cast<double>(map.mean[e]) * static_cast<double>(map.mean[e]);
  }
  map.mean_norm = std::sqrt(square) * (1.0 + 1e-12);
  collect();
  if (squares.empty()) {
    points.assign(d, 0.0f);
    squares.assign(1, 0.0f);
  }
  // Room for rows beyond the sample; lengths vary more where rows are not scaled to one.
  const double room = metric == Metric::kCosine ? 1.02 : 1.08;
  const float largest = *std::max_element(squares.begin(), squares.end());
  map.longest = room * std::sqrt(static_cast<double>(largest)) + 1e-3;
}

Screen::Screen(const Sample& sample, int64_t kept, bool dense)
    : map_(sample.map),
      d_(sample.map.d),
      kept_(kept),
      padded_(round_up(kept, 16)),
      width_(round_up(kept + (dense ? 0 : kRemainder), 4)),
      dense_(dense),
      slack_(0x1p-21 + static_cast<double>(d_ + 8) * 0x1p-46),
      epsilon_(1.01 * kUnit * (2.0 * map_.longest + map_.mean_norm)),
      off_(static_cast<double>(d_ + 320) / 16.0 * kUnit) {}

Screen Screen::prefix(Team& team, const Sample& sample, int64_t kept) {
  Screen screen(sample, std::min(sample.map.d, kept), false);
  screen.learn_basis(team, sample);
  screen.measure_basis();
  screen.learn_step(sample);
  return screen;
}

Screen Screen::dense(const Sample& sample) {
  Screen screen(sample, sample.map.d, true);
  screen.learn_dense_step(sample);
  return screen;
}

void Screen::learn_basis(Team& team, const Sample& sample) {
  const MultiplyFn multiply = kernels().multiply;
  const int64_t rows = sample.count();
  const std::vector<float>& points = sample.points;
  std::vector<float> transposed(points.size());
  team.run_range(d_, 16, [&](int64_t begin, int64_t end, int) {
    for (int64_t e = begin; e < end; ++e) {
      for (int64_t s = 0; s < rows; ++s) transposed[e * rows + s] = points[s * d_ + e];
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
      multiply(&points[begin * d_], d_, end - begin, basis_.data(), d_, padded_,
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
             std::sqrt(static_cast<double>(kept_) * (1.0 + delta_)) * map_.longest +
         (1.0 + delta_) * epsilon_;
}

void Screen::learn_step(const Sample& sample) {
  const int64_t rows = sample.count();
  std::vector<float> projected(static_cast<size_t>(rows * padded_));
  kernels().multiply(sample.points.data(), d_, rows, basis_.data(), d_, padded_, projected.data());
  double largest = 0.0, remainder = 0.0;
  for (int64_t s = 0; s < rows; ++s) {
    double square = 0.0;
    for (int64_t c = 0; c < kept_; ++c) {
      const double p = static_cast<double>(projected[s * padded_ + c]);
      largest = std::max(largest, std::abs(p));
      square += p * p;
    }
    remainder = std::max(remainder, static_cast<double>(sample.squares[s]) - square);
    longest_ = std::max(longest_, std::sqrt(square));
  }
  // Room for rows beyond the sample; those that exceed it survive always.
  remainder = std::sqrt(std::max(0.0, remainder));
  step_ = std::max({1.05 * largest / 127.0, (1.05 * remainder + 0.02) / 254.0, kLeastStep});
  longest_ = 1.02 * longest_ + step_ * std::sqrt(static_cast<double>(kept_));
}

void Screen::learn_dense_step(const Sample& sample) {
  const int64_t rows = sample.count();
  std::vector<float> largest(static_cast<size_t>(rows), 0.0f);
  for (int64_t s = 0; s < rows; ++s) {
    for (int64_t e = 0; e < d_; ++e) {
      largest[s] = std::max(largest[s], std::abs(sample.points[s * d_ + e]));
    }
  }
  // A few rows with a larger coordinate are clipped, and survive more often, for the sake of a
  // finer step for all others.
  const float step =
      std::max(quantile(std::move(largest), 0.98) / 127.0f, static_cast<float>(kLeastStep));
  step_ = static_cast<double>(step);  // as quantise takes it
  // Rounding errors of up to step / 2 a coordinate have this length on average; room for clipping.
  const double rounding = step_ * std::sqrt(static_cast<double>(d_) / 12.0);
  remainder_ = 6.0 * rounding + 4.0 * epsilon_;
  longest_ = map_.longest + 2.0 * rounding + 4.0 * epsilon_;
}

// |w|^2 >= |w~|^2 - 2 eps |w~|. Raising a is always allowed, so it may be cut off from below.
Screen::Share Screen::share(double tau, double factor, double square, double kappa) const {
  const double t = 0.5 * (kappa - square * (1.0 - off_)) + epsilon_ * map_.longest;
  const double a = std::ceil((factor * tau + t) / (step_ * step_) + 1e-6);
  const double limit = static_cast<double>(kShare);
  if (a > limit) return {kAlways, 0.0};
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
  if (size > longest_ || r > 127.0) return {kAlways, 0.0};
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
  if (tau > remainder_ || std::sqrt(square) * (1.0 + off_) + tau > longest_) return {kAlways, 0.0};
  return share(tau, longest_ + 0.5 * remainder_, square, kappa);
}

template <class Take>
void Screen::each_code(const Positions& side, int64_t begin, int64_t end, const Take& take) const {
  std::vector<float> points(static_cast<size_t>(kEncodeRows * d_));
  std::vector<float> squares(static_cast<size_t>(kEncodeRows));
  std::vector<float> projected(dense_ ? 0 : static_cast<size_t>(kEncodeRows * padded_));
  std::vector<int8_t> code(static_cast<size_t>(width_));
  for (int64_t first = begin; first < end; first += kEncodeRows) {
    const int64_t count = std::min(kEncodeRows, end - first);
    for (int64_t k = 0; k < count; ++k) {
      squares[k] = map_(side, side.rows[first + k], &points[k * d_]);
    }
    if (!dense_) {
      kernels().multiply(points.data(), d_, count, basis_.data(), d_, padded_, projected.data());
    }
    for (int64_t k = 0; k < count; ++k) {
      Share share{kAlways, 0.0};
      const double square = static_cast<double>(squares[k]);
      if (square < map_.longest * map_.longest) {
        const double kappa = map_.kappa(side.norms[side.rows[first + k]]);
        share = dense_ ? encode_dense(&points[k * d_], square, kappa, code.data())
                       : encode_prefix(&projected[k * padded_], square, kappa, code.data());
      }
      if (share.a == kAlways) std::fill(code.begin(), code.end(), int8_t{0});
      take(first + k, code.data(), share.a, share.tau);
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
  each_code(side, begin, end, [&](int64_t p, const int8_t* code, int32_t a, double) {
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
  RowCodes out{std::vector<uint8_t>(static_cast<size_t>(count * width_ + kChunk)),
               std::vector<int32_t>(static_cast<size_t>(count), -kNever),
               std::vector<double>(static_cast<size_t>(count), 0.0)};
  each_code(side, begin, end, [&](int64_t p, const int8_t* code, int32_t a, double tau) {
    uint8_t* row = &out.bytes[(p - begin) * width_];
    for (int64_t c = 0; c < width_; ++c) row[c] = static_cast<uint8_t>(code[c] + bias);
    out.share[p - begin] = a;
    out.tau[p - begin] = tau;
  });
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

RowCodes RowCodes::gather(const int64_t* rows, int64_t count, int64_t width) const {
  const int64_t padded = round_up(count, 4);
  RowCodes out{std::vector<uint8_t>(static_cast<size_t>(padded * width + kChunk)),
               std::vector<int32_t>(static_cast<size_t>(padded), -kNever),
               {}};
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

std::vector<int8_t> Codes::unpack(int64_t width) const {
  const int64_t stride = chunked(width), count = blocks() * kBlockColumns;
  std::vector<int8_t> out(static_cast<size_t>(count * stride), 0);
  for (int64_t k = 0; k < count; ++k) {
    const int8_t* from = &packed[k / kBlockColumns * kBlockColumns * width + k % kBlockColumns * 4];
    int8_t* to = &out[k * stride];
    for (int64_t c = 0; c < width; c += 4) std::memcpy(to + c, from + c * kBlockColumns, 4);
  }
  return out;
}

double Screen::bound(int32_t sum) const {
  return map_.score((static_cast<double>(sum) + 1.001) * step_ * step_ +
                    delta_ * longest_ * longest_ + slack_);
}

double Screen::highest_score(double gap) const {
  return map_.score(map_.most() - 0.5 * gap * gap + slack_);
}

bool RowCodes::fits(int64_t k) const { return share[k] != kAlways && share[k] != -kNever; }

int32_t Screen::never() { return -kNever; }

int32_t Screen::start(int32_t a, double bar) const {
  if (a == -kNever) return a;
  const double needed =
      (map_.wanted(bar) - delta_ * longest_ * longest_ - slack_) / (step_ * step_) - 1e-6;
  const double limit = static_cast<double>(kBar);
  if (needed < -limit) return kAlways;
  return a - static_cast<int32_t>(std::floor(std::min(limit, needed)));
}

}  // namespace meddel

#include "screen/unit_codes.h"

#include <algorithm>
#include <cmath>

#include "cpu/isa.h"
#include "screen/bounds.h"
#include "screen/plan.h"
#include "screen/points.h"
#include "screen/rotate.h"

namespace meddel {
namespace {

constexpr int64_t kNear = 60;  // dimensions of a basis: a code of 64 bytes
constexpr int64_t kSampled = 512;
constexpr int64_t kGrain = 1024;    // rows encoded by a thread at a time
constexpr int64_t kProjected = 64;  // and projected at once
constexpr double kPoint = 0x1p-20;
constexpr double kFinest = 1e-6;               // step at least
constexpr double kTypical = 30.0;              // r of a row like most
constexpr double kMost = 300'000'000.0;        // beyond all sums of codes
constexpr double kSmall = 16.0;                // units of a sum that are not worth a product
constexpr double kRound = 6755399441055744.0;  // 1.5 * 2^52: adding it leaves no fraction

double norm_of(const std::vector<double>& x) {
  double sum = 0.0;
  for (const double value : x) sum += value * value;
  return std::sqrt(sum);
}

// v~ of a row.
void point(const UnitRows& rows, const std::vector<float>& centre, int64_t i, float* out) {
  rows.rounded(i, out);
  for (int64_t e = 0; e < rows.d(); ++e) out[e] -= centre[e];
}

std::vector<int64_t> sampled(int64_t n) {
  const int64_t count = std::min(n, kSampled);
  std::vector<int64_t> out(static_cast<size_t>(count));
  for (int64_t s = 0; s < count; ++s) out[s] = s * n / count;
  return out;
}

// The step of dense codes: a few rows with a larger coordinate are clipped, and ruled out less
// often, for the sake of a finer step for all others.
double dense_step(const UnitRows& rows, const std::vector<float>& centre) {
  std::vector<float> largest, v(static_cast<size_t>(rows.d()));
  for (const int64_t i : sampled(rows.size())) {
    point(rows, centre, i, v.data());
    float most = 0.0f;
    for (const float value : v) most = std::max(most, std::abs(value));
    largest.push_back(most);
  }
  const double step = static_cast<double>(quantile(std::move(largest), 0.98)) / 127.0;
  return static_cast<double>(static_cast<float>(std::max(step, kFinest)));  // as quantise takes it
}

// The integers p of c = t p + f, f, and t.
struct Plane {
  Plane(const std::vector<double>& c, double least_step)
      : step(least_step), code(c.size()), rest(c.size()) {
    for (const double value : c) step = std::max(step, std::abs(value) / 127.0);
    for (size_t e = 0; e < c.size(); ++e) {
      const double p = std::max(-127.0, std::min(127.0, (c[e] / step + kRound) - kRound));
      code[e] = static_cast<int8_t>(static_cast<int32_t>(p));
      rest[e] = c[e] - step * p;
    }
  }

  double step;
  std::vector<int8_t> code;
  std::vector<double> rest;
};

std::vector<uint8_t> biased(const std::vector<int8_t>& code) {
  std::vector<uint8_t> out(static_cast<size_t>(chunked(static_cast<int64_t>(code.size())) + kChunk),
                           static_cast<uint8_t>(kernels().bias));
  for (size_t e = 0; e < code.size(); ++e) {
    out[e] = static_cast<uint8_t>(code[e] + kernels().bias);
  }
  return out;
}

}  // namespace

std::optional<Basis> basis_near(Team& team, const UnitRows& rows, bool any) {
  const std::vector<int64_t> all = sampled(rows.size());
  const Positions positions{rows.matrix(), rows.norms(), all};
  const Sample sample(Metric::kCosine, positions, positions, ScreenPlan{false, true, false});
  const int64_t kept = std::min(rows.d(), kNear), padded = round_up(kept, 16), d = rows.d();
  Basis basis{learn_basis(team, sample, kept, padded), kept, padded};
  std::vector<float> projected(static_cast<size_t>(sample.count() * padded));
  kernels().multiply(sample.points.data(), d, sample.count(), basis.columns.data(), d, padded,
                     projected.data());
  double within = 0.0, whole = 0.0;
  for (const float p : projected) within += static_cast<double>(p) * static_cast<double>(p);
  for (const float square : sample.squares) whole += static_cast<double>(square);
  if (!any && !(within > 0.96 * whole)) return std::nullopt;
  return basis;
}

Direction::Direction(const std::vector<double>& vector, const std::vector<float>& centre)
    : w(vector), norm(norm_of(vector)), base(0.0) {
  for (size_t e = 0; e < w.size(); ++e) base += w[e] * static_cast<double>(centre[e]);
  rounding = static_cast<double>(w.size() + 16) * 0x1p-46 * norm;
}

// Codes in blocks

StreamedCodes::StreamedCodes(Team& team, const UnitRows& rows, const std::vector<float>& centre,
                             const Basis* basis)
    : d_(rows.d()),
      basis_(basis == nullptr ? Basis{} : *basis),
      kept_(basis == nullptr ? d_ : basis->kept),
      width_(round_up(kept_, 4) + kRemainder) {
  if (basis != nullptr) measure_basis();
  learn(rows, centre);
  encode(team, rows, centre);
}

// delta >= |B'B - I| of the basis as it is, and eta without the length of a point, by
// |B|_F^2 <= k (1 + delta).
void StreamedCodes::measure_basis() {
  double squares = 0.0;
  for (int64_t a = 0; a < kept_; ++a) {
    for (int64_t b = 0; b <= a; ++b) {
      double sum = a == b ? -1.0 : 0.0;
      for (int64_t e = 0; e < d_; ++e) {
        const float* row = &basis_.columns[e * basis_.padded];
        sum += static_cast<double>(row[a]) * static_cast<double>(row[b]);
      }
      squares += (a == b ? 1.0 : 2.0) * sum * sum;
    }
  }
  delta_ = std::sqrt(squares) + 1e-12;
  eta_ = 2.03 * static_cast<double>(d_ + 2) * kUnit * 1.01 *
             std::sqrt(static_cast<double>(kept_) * (1.0 + delta_)) +
         (1.0 + delta_) * kPoint;
}

StreamedCodes::Coded StreamedCodes::encode_dense(const float* v, int8_t* code) const {
  const float sum = kernels().quantise(v, d_, static_cast<float>(step_), code);
  const double off = static_cast<double>(d_ + 320) / 16.0 * kUnit;
  int64_t length = 0;
  for (int64_t e = 0; e < d_; ++e) length += int64_t{code[e]} * code[e];
  return {std::sqrt(static_cast<double>(sum) * (1.0 + off)) + kPoint, 0.0,
          step_ * std::sqrt(static_cast<double>(length))};
}

StreamedCodes::Coded StreamedCodes::encode_near(const float* v, const float* projected,
                                                int8_t* code) const {
  double square = 0.0, inner = 0.0, length = 0.0, rounding = 0.0;
  for (int64_t e = 0; e < d_; ++e) square += static_cast<double>(v[e]) * static_cast<double>(v[e]);
  for (int64_t c = 0; c < kept_; ++c) {
    const double p = static_cast<double>(projected[c]);
    const double q = (std::max(-127.0, std::min(127.0, p / step_)) + kRound) - kRound;
    code[c] = static_cast<int8_t>(static_cast<int32_t>(q));
    inner += q * p;
    length += q * q;
    rounding += (p - step_ * q) * (p - step_ * q);
  }
  const double size = step_ * std::sqrt(length), whole = std::sqrt(square) + kPoint;
  const double rest = whole * whole - 2.0 * step_ * inner + step_ * step_ * length +
                      2.0 * size * eta_ + delta_ * size * size + 1e-12;
  return {std::sqrt(std::max(0.0, rest)), std::sqrt(rounding) + eta_ + delta_ * size + 1e-12, size};
}

// Calls take(i, coded, code) for some rows.
template <class Take>
void StreamedCodes::each_code(const UnitRows& rows, const std::vector<float>& centre,
                              const int64_t* which, int64_t count, const Take& take) const {
  std::vector<float> points(static_cast<size_t>(kProjected * d_));
  std::vector<float> projected(static_cast<size_t>(kProjected * basis_.padded));
  std::vector<int8_t> code(static_cast<size_t>(width_));
  for (int64_t first = 0; first < count; first += kProjected) {
    const int64_t some = std::min(kProjected, count - first);
    for (int64_t k = 0; k < some; ++k) point(rows, centre, which[first + k], &points[k * d_]);
    if (basis_.kept > 0) {
      kernels().multiply(points.data(), d_, some, basis_.columns.data(), d_, basis_.padded,
                         projected.data());
    }
    for (int64_t k = 0; k < some; ++k) {
      const Coded coded =
          basis_.kept > 0 ? encode_near(&points[k * d_], &projected[k * basis_.padded], code.data())
                          : encode_dense(&points[k * d_], code.data());
      take(which[first + k], coded, code.data());
    }
  }
}

void StreamedCodes::learn(const UnitRows& rows, const std::vector<float>& centre) {
  const std::vector<int64_t> some = sampled(rows.size());
  if (basis_.kept > 0) {
    step_ = 1.0;
    double largest = 0.0;
    std::vector<float> v(static_cast<size_t>(d_)), p(static_cast<size_t>(basis_.padded));
    for (const int64_t i : some) {
      point(rows, centre, i, v.data());
      kernels().multiply(v.data(), d_, 1, basis_.columns.data(), d_, basis_.padded, p.data());
      for (const float value : p) largest = std::max(largest, std::abs(static_cast<double>(value)));
    }
    step_ = std::max(1.05 * largest / 127.0, kFinest);
    tau_ = 1.3 * step_ * std::sqrt(static_cast<double>(kept_) / 12.0) + eta_ + 4.0 * delta_ + 1e-6;
  } else {
    step_ = dense_step(rows, centre);
  }
  std::vector<double> rho;
  each_code(rows, centre, some.data(), static_cast<int64_t>(some.size()),
            [&](int64_t, const Coded& coded, const int8_t*) { rho.push_back(coded.rho); });
  grain_ = kTypical * 2.0 * step_ / quantile(std::move(rho), 0.5);
}

void StreamedCodes::encode(Team& team, const UnitRows& rows, const std::vector<float>& centre) {
  const int64_t n = rows.size(), padded = round_up(n, kBlockColumns);
  codes_ = {std::vector<int8_t>(static_cast<size_t>(padded * width_), 0),
            std::vector<int32_t>(static_cast<size_t>(padded), -kDropped)};
  const size_t chunks = static_cast<size_t>((n + kGrain - 1) / kGrain);
  std::vector<double> longest(chunks, 0.0);
  std::vector<std::vector<int64_t>> uncoded(chunks);
  team.run_range(n, kGrain, [&](int64_t begin, int64_t end, int) {
    const size_t chunk = static_cast<size_t>(begin / kGrain);
    std::vector<int64_t> which(static_cast<size_t>(end - begin));
    for (int64_t i = begin; i < end; ++i) which[i - begin] = i;
    std::vector<int8_t> whole(static_cast<size_t>(width_), 0);
    each_code(rows, centre, which.data(), end - begin,
              [&](int64_t i, const Coded& coded, const int8_t* code) {
                const double r = std::ceil(coded.rho * grain_ / (2.0 * step_) * (1.0 + 1e-9));
                if (r > 127.0 || coded.tau > tau_) {
                  uncoded[chunk].push_back(i);
                  return;
                }
                std::copy_n(code, kept_, whole.begin());
                std::fill_n(whole.end() - kRemainder, kRemainder, static_cast<int8_t>(r));
                put_code(whole.data(), width_, i, 0, codes_);
                longest[chunk] = std::max(longest[chunk], coded.size);
              });
  });
  for (size_t chunk = 0; chunk < chunks; ++chunk) {
    longest_ = std::max(longest_, longest[chunk] * (1.0 + 1e-9));
    uncoded_.insert(uncoded_.end(), uncoded[chunk].begin(), uncoded[chunk].end());
  }
}

void StreamedCodes::drop(int64_t i) { codes_.start[i] = -kDropped; }

StreamedCodes::Probe StreamedCodes::probe(const Direction& direction) const {
  std::vector<double> c = direction.w;
  double left = direction.norm;  // H
  if (basis_.kept > 0) {
    std::vector<double> h = direction.w;
    c.assign(static_cast<size_t>(kept_), 0.0);
    for (int64_t e = 0; e < d_; ++e) {
      const float* row = &basis_.columns[e * basis_.padded];
      for (int64_t k = 0; k < kept_; ++k) c[k] += h[e] * static_cast<double>(row[k]);
    }
    for (int64_t e = 0; e < d_; ++e) {
      const float* row = &basis_.columns[e * basis_.padded];
      double sum = 0.0;
      for (int64_t k = 0; k < kept_; ++k) sum += c[k] * static_cast<double>(row[k]);
      h[e] -= sum;
    }
    left = norm_of(h);
  }
  left += direction.rounding;
  const Plane plane(c, left / (254.0 * grain_) * (1.0 + 1e-9));
  double r = std::ceil(left / (2.0 * plane.step * grain_));
  double low =
      direction.base + norm_of(plane.rest) * longest_ + norm_of(c) * tau_ + direction.rounding;
  const double most = left * 254.0 * step_ / grain_;  // H rho of any row with a code
  if (most < kSmall * step_ * plane.step) {
    low += most;
    r = 0.0;
  }
  Probe out{plane.code, step_ * plane.step, low};
  out.code.resize(static_cast<size_t>(width_), 0);
  std::fill_n(out.code.end() - kRemainder, kRemainder, static_cast<int8_t>(r));
  return out;
}

int32_t StreamedCodes::least(const Probe& probe, double bar) {
  const double needed = std::floor((bar - probe.low) / probe.unit - 1e-6);
  return static_cast<int32_t>(std::max(-kMost, std::min(kMost, needed)));
}

// Rows of dense codes

CodedRows::CodedRows(Team& team, const UnitRows& rows, const std::vector<float>& centre)
    : d_(rows.d()),
      step_(dense_step(rows, centre)),
      codes_(static_cast<size_t>(rows.size() * chunked(d_)), 0),
      start_(static_cast<size_t>(rows.size())),
      rho_(static_cast<size_t>(rows.size())) {
  const double off = static_cast<double>(d_ + 320) / 16.0 * kUnit;
  std::vector<double> longest(static_cast<size_t>((rows.size() + kGrain - 1) / kGrain), 0.0);
  team.run_range(rows.size(), kGrain, [&](int64_t begin, int64_t end, int) {
    std::vector<float> v(static_cast<size_t>(d_));
    for (int64_t i = begin; i < end; ++i) {
      int8_t* code = &codes_[i * chunked(d_)];
      point(rows, centre, i, v.data());
      const float squares = kernels().quantise(v.data(), d_, static_cast<float>(step_), code);
      const double rho = std::sqrt(static_cast<double>(squares) * (1.0 + off)) + kPoint;
      rho_[i] = static_cast<float>(rho * (1.0 + 1e-6));
      int32_t sum = 0;
      int64_t length = 0;
      for (int64_t e = 0; e < d_; ++e) {
        sum += code[e];
        length += int64_t{code[e]} * code[e];
      }
      start_[i] = -kernels().bias * sum;
      double& most = longest[begin / kGrain];
      most = std::max(most, step_ * std::sqrt(static_cast<double>(length)));
    }
  });
  longest_ = *std::max_element(longest.begin(), longest.end()) * (1.0 + 1e-9);
}

CodedRows::Probe CodedRows::probe(const Direction& direction) const {
  const Plane first(direction.w, 1e-120);
  const Plane second(first.rest, first.step / 254.0);
  return {{biased(first.code), biased(second.code)},
          {step_ * first.step, step_ * second.step},
          direction.base,
          norm_of(second.rest) * longest_ + direction.rounding,
          direction.norm};
}

void CodedRows::estimates(const Probe& probe, const int64_t* rows, int64_t count,
                          int32_t* out) const {
  kernels().byte_dots(probe.planes[0].data(), codes_.data(), start_.data(), d_, rows, count, out);
}

void CodedRows::leave(const Probe& probe, double bar, std::vector<int64_t>& rows) const {
  const int64_t count = static_cast<int64_t>(rows.size());
  std::vector<int32_t> sums[2];
  for (int plane = 0; plane < 2; ++plane) {
    sums[plane].resize(rows.size());
    kernels().byte_dots(probe.planes[plane].data(), codes_.data(), start_.data(), d_, rows.data(),
                        count, sums[plane].data());
  }
  int64_t kept = 0;
  for (int64_t k = 0; k < count; ++k) {
    const double product = probe.units[0] * static_cast<double>(sums[0][k]) +
                           probe.units[1] * static_cast<double>(sums[1][k]);
    const double most =
        probe.base + product + probe.room + probe.norm * static_cast<double>(rho_[rows[k]]);
    rows[kept] = rows[k];
    kept += most >= bar;
  }
  rows.resize(static_cast<size_t>(kept));
}

}  // namespace meddel

// What a screen learns from a sample, and what its sums prove; quantise.cpp makes the codes.
#include "screen/screen.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "cpu/isa.h"
#include "screen/bounds.h"
#include "screen/rotate.h"

namespace meddel {
namespace {

// Names for Known.
constexpr char kLearned[] = "prefix";
constexpr char kHolding[] = "prefix with codes";

// A few rows with a larger coordinate are clipped.
constexpr double kUsual = 0.98;

// The largest size of some numbers: without a sign, their bits are of the same order.
float largest_of(const float* x, int64_t d) {
  int32_t most = 0;
  for (int64_t e = 0; e < d; ++e) {
    int32_t bits;
    std::memcpy(&bits, x + e, sizeof bits);
    bits &= 0x7fffffff;
    most = bits > most ? bits : most;
  }
  float out;
  std::memcpy(&out, &most, sizeof out);
  return out;
}

}  // namespace

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

Screen Screen::prefix(Team& team, const Sample& sample, int64_t wanted) {
  const int64_t kept = std::min(sample.map.d, wanted);
  for (const char* what : {kHolding, kLearned}) {
    const auto before =
        sample.known ? sample.known->find<Screen>(sample.name(what, kept)) : nullptr;
    if (before != nullptr) return *before;
  }
  Screen screen(sample, kept, false);
  screen.basis_ = learn_basis(team, sample, screen.kept_, screen.padded_);
  screen.measure_basis();
  screen.learn_step(sample);
  if (sample.known) sample.known->keep(sample.name(kLearned, kept), screen, screen.bytes());
  return screen;
}

Screen Screen::dense(const Sample& sample, double share) {
  Screen screen(sample, sample.map.d, true);
  screen.learn_dense_step(sample, share);
  return screen;
}

Screen Screen::dense(const Sample& sample) {
  Screen screen(sample, sample.map.d, true);
  screen.learn_dense_step(sample, kUsual);
  return screen;
}

Screen Screen::holding(const Sample& sample) const {
  if (sample.known == nullptr || held_ != nullptr) return *this;
  constexpr double kPart = 0.4;  // so that both metrics have room, and samples
  const auto most = static_cast<int64_t>(kPart * static_cast<double>(sample.known->most()));
  const int64_t rows = std::min(sample.known->rows(), most / HeldCodes::row_bytes(width_));
  Screen out = *this;
  out.of_ = sample.known;
  out.held_ = std::make_shared<HeldCodes>(rows, width_);
  const int64_t bytes = out.bytes();
  return *sample.known->keep(sample.name(kHolding, kept_), std::move(out), bytes);
}

int64_t Screen::bytes() const {
  const size_t floats = basis_.size() + map_.mean.size();
  return static_cast<int64_t>(sizeof(float) * floats) + (held_ ? held_->bytes() : 0);
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

void Screen::learn_dense_step(const Sample& sample, double share) {
  const int64_t rows = sample.count();
  std::vector<float> largest(static_cast<size_t>(rows), 0.0f);
  for (int64_t s = 0; s < rows; ++s) {
    largest[s] = largest_of(&sample.points[s * d_], d_);
  }
  // A few rows with a larger coordinate are clipped, and survive more often, for the sake of a
  // finer step for all others.
  const float step =
      std::max(quantile(std::move(largest), share) / 127.0f, static_cast<float>(kLeastStep));
  step_ = static_cast<double>(step);  // as quantise takes it
  // Rounding errors of up to step / 2 a coordinate have this length on average; room for clipping.
  const double rounding = step_ * std::sqrt(static_cast<double>(d_) / 12.0);
  remainder_ = 6.0 * rounding + 4.0 * epsilon_;
  longest_ = map_.longest + 2.0 * rounding + 4.0 * epsilon_;
}

double Screen::bound(int32_t sum) const {
  return map_.score((static_cast<double>(sum) + 1.001) * step_ * step_ +
                    delta_ * longest_ * longest_ + slack_);
}

double Screen::highest_score(double gap) const {
  return map_.score(map_.most() - 0.5 * gap * gap + slack_);
}

int32_t Screen::never() { return -kDropped; }

int32_t Screen::start(int32_t a, double bar) const {
  if (a == -kDropped) return a;
  const double needed =
      (map_.wanted(bar) - delta_ * longest_ * longest_ - slack_) / (step_ * step_) - 1e-6;
  const double limit = static_cast<double>(kBar);
  if (needed < -limit) return kSurvives;
  return a - static_cast<int32_t>(std::floor(std::min(limit, needed)));
}

}  // namespace meddel

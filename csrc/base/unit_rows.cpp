#include "base/unit_rows.h"

#include <algorithm>

#include "base/norms.h"
#include "cpu/isa.h"

namespace meddel {
namespace {

constexpr int64_t kBlockRows = 1024;  // of a sum over rows: part of the contract
constexpr int64_t kBlocks = 64;       // whose sums are held at a time
constexpr int64_t kGrain = 512;

// The sum of product(e) for e in [0, d), in the order of truth.h.
template <class Product>
double sum_in_lanes(int64_t d, const Product& product) {
  double lane[8] = {};
  const int64_t whole = d & ~int64_t{7};
  for (int64_t e = 0; e < whole; e += 8) {
    for (int64_t j = 0; j < 8; ++j) lane[j] += product(e + j);
  }
  for (int64_t j = 0; j < d - whole; ++j) lane[j] += product(whole + j);
  return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

}  // namespace

UnitRows::UnitRows(Team& team, const Matrix& x)
    : x_(x), squares_(squared_norms(team, x)), norms_(roots(squares_)) {}

const float* UnitRows::widened(int64_t i, float* floats) const {
  if (x_.dtype == DType::kFloat32) return static_cast<const float*>(x_.row(i));
  kernels().widen[static_cast<int>(x_.dtype)](x_.row(i), x_.d, floats);
  return floats;
}

double UnitRows::product(int64_t i, const double* w, float* floats) const {
  const double norm = norms_[i];
  if (norm == 0.0) return 0.0;
  const float* x = widened(i, floats);
  return sum_in_lanes(x_.d, [&](int64_t e) { return static_cast<double>(x[e]) / norm * w[e]; });
}

void UnitRows::rounded(int64_t i, float* out) const {
  const double factor = norms_[i] == 0.0 ? 0.0 : 1.0 / norms_[i];
  const float* x = widened(i, out);
  for (int64_t e = 0; e < x_.d; ++e)
    out[e] = static_cast<float>(static_cast<double>(x[e]) * factor);
}

void UnitRows::add(int64_t i, double factor, float* floats, double* sum) const {
  const double norm = norms_[i];
  if (norm == 0.0) return;
  const float* x = widened(i, floats);
  for (int64_t e = 0; e < x_.d; ++e) sum[e] += factor * (static_cast<double>(x[e]) / norm);
}

std::vector<double> UnitRows::mean(Team& team, const std::vector<double>& weights) const {
  const size_t d = static_cast<size_t>(x_.d);
  const int64_t blocks = (x_.n + kBlockRows - 1) / kBlockRows;
  std::vector<double> total(d, 0.0);
  for (int64_t first = 0; first < blocks; first += kBlocks) {
    const int64_t count = std::min(kBlocks, blocks - first);
    std::vector<double> sums(static_cast<size_t>(count) * d, 0.0);
    team.run(count, [&](int64_t b, int) {
      std::vector<float> floats(d);
      const int64_t begin = (first + b) * kBlockRows;
      for (int64_t i = begin; i < std::min(x_.n, begin + kBlockRows); ++i) {
        add(i, weights.empty() ? 1.0 : weights[i], floats.data(), &sums[b * x_.d]);
      }
    });
    for (int64_t b = 0; b < count; ++b) {
      for (int64_t e = 0; e < x_.d; ++e) total[e] += sums[b * x_.d + e];
    }
  }
  double weight = static_cast<double>(x_.n);
  if (!weights.empty()) {
    weight = 0.0;
    for (const double each : weights) weight += each;
  }
  for (double& value : total) value /= weight;
  return total;
}

void UnitRows::products(Team& team, const double* w, double* out) const {
  team.run_range(x_.n, kGrain, [&](int64_t begin, int64_t end, int) {
    std::vector<float> floats(static_cast<size_t>(x_.d));
    for (int64_t i = begin; i < end; ++i) out[i] = product(i, w, floats.data());
  });
}

double squared_norm(const std::vector<double>& x) {
  return sum_in_lanes(static_cast<int64_t>(x.size()), [&](int64_t e) { return x[e] * x[e]; });
}

}  // namespace meddel

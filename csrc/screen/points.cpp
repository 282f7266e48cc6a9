#include "screen/points.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/copies.h"
#include "cpu/isa.h"
#include "screen/bounds.h"
#include "screen/plan.h"

namespace meddel {
namespace {

constexpr int64_t kSampleRows = 2048;    // tell the directions of a prefix,
constexpr int64_t kFewSampleRows = 512;  // and these where the mean and the steps are

constexpr char kSample[] = "sample";  // for Known

std::string name_of(const char* what, int64_t number, Metric metric) {
  const char* const by = metric == Metric::kCosine ? "cosine" : "distance";
  return std::string(what) + ' ' + std::to_string(number) + ' ' + by;
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
    : map{metric, x.x.d, 1.0f, std::vector<float>(static_cast<size_t>(x.x.d), 0.0f)},
      known(x.x.known == y.x.known ? x.x.known : nullptr) {
  const int64_t wanted = plan.prefix ? kSampleRows : kFewSampleRows;
  if (known == nullptr) {
    learn(x, y, wanted);
    return;
  }
  if (const auto before = known_of(metric, x.x, plan)) {
    *this = *before;
    return;
  }
  const std::vector<int64_t> rows = count_up(x.x.n);
  const Positions all{x.x, x.norms, rows};
  learn(all, all, wanted);
  const auto bytes = static_cast<int64_t>(sizeof(float) * (points.size() + squares.size()));
  if (bytes <= known->most() / 20) known->keep<Sample>(name(kSample, wanted), *this, bytes);
}

bool Sample::is_known(Metric metric, const Matrix& x, const ScreenPlan& plan) {
  return known_of(metric, x, plan) != nullptr;
}

std::shared_ptr<const Sample> Sample::known_of(Metric metric, const Matrix& x,
                                               const ScreenPlan& plan) {
  if (x.known == nullptr) return nullptr;
  auto large = x.known->find<Sample>(name_of(kSample, kSampleRows, metric));
  if (large != nullptr || plan.prefix) return large;
  return x.known->find<Sample>(name_of(kSample, kFewSampleRows, metric));
}

std::string Sample::name(const char* what, int64_t number) const {
  return name_of(what, number, map.metric);
}

void Sample::learn(const Positions& x, const Positions& y, int64_t wanted) {
  const Metric metric = map.metric;
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
    points.reserve(static_cast<size_t>(std::min(wanted, x.x.n + y.x.n)) * d);
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

}  // namespace meddel

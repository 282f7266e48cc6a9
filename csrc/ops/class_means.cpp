#include "ops/class_means.h"

#include <cmath>

#include "base/unit_rows.h"

namespace meddel {
namespace {

constexpr int64_t kGrain = 512;

}  // namespace

std::vector<double> class_mean_cosines(const Matrix& x, const std::vector<int64_t>& labels,
                                       int64_t k, const Context& context) {
  Team team(context);
  const UnitRows rows(team, x);
  const size_t d = static_cast<size_t>(x.d);
  std::vector<std::vector<double>> mean(static_cast<size_t>(k), std::vector<double>(d, 0.0));
  team.run(1, [&](int64_t, int worker) {
    std::vector<float> floats(d);
    for (int64_t i = 0; i < x.n; ++i) {
      rows.add(i, 1.0, floats.data(), mean[labels[i]].data());
      if (i % kGrain == 0) team.checkpoint(worker);
    }
  });
  std::vector<char> any(static_cast<size_t>(k), 0);
  for (int64_t c = 0; c < k; ++c) {
    const double norm = std::sqrt(squared_norm(mean[c]));
    any[c] = norm > 0.0;
    if (!any[c]) continue;
    for (double& value : mean[c]) value /= norm;
  }
  std::vector<double> out(static_cast<size_t>(x.n), 0.0);
  team.run_range(x.n, kGrain, [&](int64_t begin, int64_t end, int) {
    std::vector<float> floats(d);
    for (int64_t i = begin; i < end; ++i) {
      if (any[labels[i]]) out[i] = rows.product(i, mean[labels[i]].data(), floats.data());
    }
  });
  return out;
}

}  // namespace meddel

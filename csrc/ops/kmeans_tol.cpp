#include "ops/kmeans_tol.h"

#include <algorithm>
#include <numeric>

#include "ops/centroid_sum.h"

namespace meddel {

double mean_variance(Team& team, const ScanSide& rows, bool spherical) {
  const Matrix& x = *rows.x;
  std::vector<int64_t> all(static_cast<size_t>(x.n));
  std::iota(all.begin(), all.end(), int64_t{0});
  std::vector<double> mean(static_cast<size_t>(x.d), 0.0);
  const std::vector<double> none;
  team.run(1, [&](int64_t, int worker) {
    CentroidSum sum(team, worker, x, {spherical ? rows.norms : none, none});
    sum(all.data(), all.data() + x.n, mean.data());
  });
  const auto n = static_cast<double>(x.n);
  for (double& value : mean) value /= n;
  const double squares = sum_by_blocks(x.n, [&](int64_t i) {
    return spherical ? (rows.squares[i] > 0.0 ? 1.0 : 0.0) : rows.squares[i];
  });
  const double spread = squares / n - squared_norm(mean.data(), x.d);
  return std::max(0.0, spread / static_cast<double>(x.d));
}

double squared_shift(const std::vector<float>& before, const std::vector<float>& after, int64_t k,
                     int64_t d) {
  std::vector<double> shift(static_cast<size_t>(d));
  double sum = 0.0;
  for (int64_t c = 0; c < k; ++c) {
    for (int64_t e = 0; e < d; ++e) {
      const int64_t at = c * d + e;
      shift[e] = static_cast<double>(after[at]) - static_cast<double>(before[at]);
    }
    sum += squared_norm(shift.data(), d);
  }
  return sum;
}

}  // namespace meddel

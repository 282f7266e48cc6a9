#include "ops/kmeans_parts.h"

#include <algorithm>

#include "base/norms.h"
#include "base/truth.h"
#include "cpu/isa.h"
#include "ops/centroid_sum.h"

namespace meddel {

std::vector<double> lower_weights(const Matrix& x, const std::vector<double>& squares,
                                  const Matrix& seed, int64_t row, bool spherical,
                                  std::vector<double> weights, const Context& context) {
  Team team(context);
  const DotsFn dots = kernels().dots[static_cast<int>(x.dtype)];
  const Metric metric = spherical ? Metric::kCosine : Metric::kEuclidean;
  const double square = squared_norms(team, seed)[0];
  team.run_range(x.n, kBlockRows, [&](int64_t begin, int64_t end, int) {
    double inner[kBlockRows];
    dots(seed.data, x.row(begin), x.ld, nullptr, end - begin, x.d, inner);
    for (int64_t i = begin; i < end; ++i) {
      const double far = distance(metric, inner[i - begin], squares[i], square);
      weights[i] = i == row ? 0.0 : std::min(weights[i], far);
    }
  });
  return weights;
}

std::vector<double> add_members(const Matrix& x, const std::vector<int64_t>& labels,
                                const std::vector<double>& norms,
                                const std::vector<double>& weights, const std::vector<bool>& wanted,
                                std::vector<double> sums, const Context& context) {
  Team team(context);
  const int64_t k = static_cast<int64_t>(wanted.size());
  const Members members(labels.data(), x.n, k);
  const Scaling scaling{norms, weights};
  team.run(k, [&](int64_t c, int worker) {
    if (!wanted[c]) return;
    const int64_t* rows = members.rows.data();
    CentroidSum sum(team, worker, x, scaling);
    sum(rows + members.begin[c], rows + members.begin[c + 1], &sums[c * scaling.width(x.d)]);
  });
  return sums;
}

}  // namespace meddel

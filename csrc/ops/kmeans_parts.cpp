#include "ops/kmeans_parts.h"

#include <algorithm>

#include "base/copies.h"
#include "base/norms.h"
#include "base/sides.h"
#include "cpu/isa.h"
#include "ops/centroid_sum.h"

namespace meddel {

SeedParts::SeedParts(const Matrix& sample, bool spherical, int64_t n, int64_t seeds, int64_t bytes,
                     const std::vector<double>& row_weights, const Context& context)
    : metric_(spherical ? Metric::kCosine : Metric::kEuclidean),
      weights_(n, row_weights),
      squares_(static_cast<size_t>(n)) {
  Team team(context);
  const ScanSide rows = all_rows(team, sample);
  screens_.emplace(team, rows.positions(), n, metric_, seeds, bytes, SeedScreens::Rows::kElsewhere,
                   [this](int64_t row) { return weights_[row]; });
}

void SeedParts::add(const Matrix& rows, const std::vector<double>& squares, int64_t begin,
                    const Context& context) {
  Team team(context);
  std::copy(squares.begin(), squares.end(), squares_.begin() + begin);
  screens_->encode(team, {rows, roots(squares), count_up(rows.n)}, begin);
}

std::vector<int64_t> SeedParts::left(const Matrix& seed, const Context& context) const {
  const auto n = static_cast<int64_t>(squares_.size());
  if (!screens_->any()) return count_up(n);
  Team team(context);
  const ScanSide side = all_rows(team, seed);
  const SeedScreens::Probe probe = screens_->probe(side.positions());
  const std::optional<FineCode> fine = screens_->fine(side.positions(), 0);
  std::vector<std::vector<int64_t>> found(weights_.sums().size());
  team.run_range(n, SeedScreens::kRows, [&](int64_t begin, int64_t end, int) {
    uint16_t rows[SeedScreens::kRows];
    int32_t count;
    screens_->left(probe, begin, end, rows, &count);
    if (fine) count = screens_->refine(*fine, begin, rows, count);
    auto& out = found[begin / SeedScreens::kRows];
    for (int32_t k = 0; k < count; ++k) out.push_back(begin + rows[k]);
  });
  std::vector<int64_t> out;
  for (const auto& rows : found) out.insert(out.end(), rows.begin(), rows.end());
  return out;
}

void SeedParts::lower(const Matrix& rows, const std::vector<int64_t>& which, const Matrix& seed,
                      int64_t row, const Context& context) {
  Team team(context);
  const DotsFn dots = kernels().dots[static_cast<int>(rows.dtype)];
  const double square = squared_norms(team, seed)[0];
  const auto set = [&](int64_t i, double weight) {
    weights_.set(i, weight);
    screens_->lower(i);
  };
  team.run_range(rows.n, kBlockRows, [&](int64_t begin, int64_t end, int) {
    double inner[kBlockRows];
    dots(seed.data, rows.row(begin), rows.ld, nullptr, end - begin, rows.d, inner);
    for (int64_t k = begin; k < end; ++k) {
      const int64_t i = which[k];
      const double far = distance(metric_, inner[k - begin], squares_[i], square);
      if (far < weights_[i]) set(i, far);
    }
  });
  if (row >= 0) set(row, 0.0);
}

const SeedWeights& SeedParts::weights(const Context& context) {
  Team team(context);
  weights_.sum(team);
  return weights_;
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

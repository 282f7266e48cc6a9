#include "screen/rotate.h"

#include <algorithm>
#include <cmath>

#include "cpu/isa.h"
#include "screen/scatter.h"

namespace meddel {
namespace {

constexpr int kPasses = 2;  // of subspace iteration

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

}  // namespace

std::vector<float> learn_basis(Team& team, const Sample& sample, int64_t kept, int64_t padded) {
  const MultiplyFn multiply = kernels().multiply;
  const int64_t rows = sample.count(), d = sample.map.d;
  const std::vector<float>& points = sample.points;
  std::vector<float> transposed(points.size());
  team.run_range(d, 16, [&](int64_t begin, int64_t end, int) {
    for (int64_t e = begin; e < end; ++e) {
      for (int64_t s = 0; s < rows; ++s) transposed[e * rows + s] = points[s * d + e];
    }
  });
  // Subspace iteration: the span of S'S ... S'S times a random start leans to the directions of
  // largest variance, which is all that is wanted of it.
  std::vector<float> basis(static_cast<size_t>(d * padded), 0.0f);
  std::vector<float> projected(static_cast<size_t>(rows * padded));
  std::vector<double> wide = random_matrix(d, kept);
  orthonormalise(wide, d, kept);
  for (int pass = 0; pass < kPasses && kept < d; ++pass) {
    for (int64_t e = 0; e < d; ++e) std::copy_n(&wide[e * kept], kept, &basis[e * padded]);
    team.run_range(rows, 128, [&](int64_t begin, int64_t end, int) {
      multiply(&points[begin * d], d, end - begin, basis.data(), d, padded,
               &projected[begin * padded]);
    });
    team.run_range(d, 32, [&](int64_t begin, int64_t end, int) {
      multiply(&transposed[begin * rows], rows, end - begin, projected.data(), rows, padded,
               &basis[begin * padded]);
    });
    for (int64_t e = 0; e < d; ++e) std::copy_n(&basis[e * padded], kept, &wide[e * kept]);
    orthonormalise(wide, d, kept);
  }
  // A random turn within the span: every coordinate of a code is then about as large.
  std::vector<double> turn = random_matrix(kept, kept);
  orthonormalise(turn, kept, kept);
  std::fill(basis.begin(), basis.end(), 0.0f);
  for (int64_t e = 0; e < d; ++e) {
    for (int64_t c = 0; c < kept; ++c) {
      double sum = 0.0;
      for (int64_t k = 0; k < kept; ++k) sum += wide[e * kept + k] * turn[k * kept + c];
      basis[e * padded + c] = static_cast<float>(sum);
    }
  }
  return basis;
}

}  // namespace meddel

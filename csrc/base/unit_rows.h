// Rows scaled to norm 1 in fp64, as the methods that add them up take them. A zero row stays zero.
//
// Element e is fl(x_e / |x|), |x| being the root of the truth's <x, x>. A product of two such rows
// is rounded in fp64, so that fusing it with a sum would change bits: none of this is in a file
// that the build lets fuse. Sums over elements run in the order of truth.h.
#pragma once

#include <cstdint>
#include <vector>

#include "base/matrix.h"
#include "base/parallel.h"

namespace meddel {

class UnitRows {
 public:
  // Requires that the matrix outlives this, and has finite elements.
  UnitRows(Team& team, const Matrix& x);

  const Matrix& matrix() const { return x_; }
  int64_t size() const { return x_.n; }
  int64_t d() const { return x_.d; }
  const std::vector<double>& squares() const { return squares_; }
  const std::vector<double>& norms() const { return norms_; }

  // <w, row i>; `floats` has room for d.
  double product(int64_t i, const double* w, float* floats) const;

  // The row, rounded to fp32; out[e] is off by at most 1.001 2^-24 of itself, or 2^-149.
  void rounded(int64_t i, float* out) const;

  // sum[e] += factor * (element e of row i), each operation rounded.
  void add(int64_t i, double factor, float* floats, double* sum) const;

  // The mean, or that by weights, of which there is one a row: a block of 1,024 rows at a time,
  // rows and then blocks in the order of their index.
  std::vector<double> mean(Team& team, const std::vector<double>& weights) const;

  // <w, row i> of all rows.
  void products(Team& team, const double* w, double* out) const;

 private:
  const float* widened(int64_t i, float* floats) const;

  const Matrix& x_;
  std::vector<double> squares_;
  std::vector<double> norms_;
};

// <x, x> in the order of truth.h.
double squared_norm(const std::vector<double>& x);

}  // namespace meddel

// The rows of one side of a scan, in its order, with their norms.
#pragma once

#include <cstdint>
#include <vector>

#include "base/matrix.h"
#include "base/parallel.h"

namespace meddel {

// The rows of a side: their matrix, their norms (by row), and which row stands at each position.
struct Positions {
  const Matrix& x;
  const std::vector<double>& norms;
  const std::vector<int64_t>& rows;
};

// Rows of a matrix in the order of a scan, with their norms: position p is row rows[p] of x.
struct ScanSide {
  const Matrix* x;
  std::vector<int64_t> rows;
  std::vector<double> squares;  // <x, x>, by row
  std::vector<double> norms;    // their roots

  int64_t size() const { return static_cast<int64_t>(rows.size()); }
  const void* data(int64_t p) const { return x->row(rows[p]); }
  double square(int64_t p) const { return squares[rows[p]]; }
  double norm(int64_t p) const { return norms[rows[p]]; }
  Positions positions() const { return {*x, norms, rows}; }
};

ScanSide make_side(Team& team, const Matrix& x, std::vector<int64_t> rows);

// All rows of x, in order.
ScanSide all_rows(Team& team, const Matrix& x);

}  // namespace meddel

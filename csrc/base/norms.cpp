#include "base/norms.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "base/check.h"
#include "base/known.h"
#include "cpu/isa.h"

namespace meddel {
namespace {

constexpr int64_t kGrain = 256;

void refuse_row(int64_t row) {
  MEDDEL_CHECK(false, "x must be finite in fp32, got NaN or infinity in row " << row);
}

}  // namespace

std::vector<double> squared_norms(Team& team, const Matrix& x) {
  using Squares = std::vector<double>;
  if (const auto before = x.known ? x.known->find<Squares>("squares") : nullptr) return *before;
  const auto squares = kernels().squares[static_cast<int>(x.dtype)];
  std::vector<double> out(static_cast<size_t>(x.n));
  team.run_range(x.n, kGrain, [&](int64_t begin, int64_t end, int) {
    squares(x.row(begin), x.ld, end - begin, x.d, &out[begin]);
  });
  if (x.known) x.known->keep_for_good<Squares>("squares", out, x.n * 8);
  return out;
}

std::vector<double> roots(const std::vector<double>& squares) {
  std::vector<double> out(squares.size());
  for (size_t i = 0; i < out.size(); ++i) out[i] = std::sqrt(squares[i]);
  return out;
}

void require_finite(const std::vector<double>& squares) {
  for (size_t i = 0; i < squares.size(); ++i) {
    if (!std::isfinite(squares[i])) refuse_row(static_cast<int64_t>(i));
  }
}

void require_finite(Team& team, const Matrix& x) {
  const int64_t row = first_nonfinite_row(team, x);
  if (row >= 0) refuse_row(row);
}

bool all_finite(const double* squares, int64_t count) {
  double sum[4] = {};  // at most 2^256 d n, so that no sum leaves fp64's range
  int64_t i = 0;
  for (; i + 4 <= count; i += 4) {
    for (int k = 0; k < 4; ++k) sum[k] += squares[i + k];
  }
  for (; i < count; ++i) sum[0] += squares[i];
  return std::isfinite((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

int64_t first_nonfinite_row(Team& team, const Matrix& x) {
  if (const auto before = x.known ? x.known->find<int64_t>("nonfinite") : nullptr) return *before;
  const auto finite = kernels().finite[static_cast<int>(x.dtype)];
  std::atomic<int64_t> first{x.n};
  team.run_range(x.n, kGrain, [&](int64_t begin, int64_t end, int) {
    if (x.ld == x.d && finite(x.row(begin), (end - begin) * x.d)) return;
    for (int64_t i = begin; i < std::min(end, first.load(std::memory_order_relaxed)); ++i) {
      if (finite(x.row(i), x.d)) continue;
      int64_t seen = first.load();
      while (i < seen && !first.compare_exchange_weak(seen, i)) {
      }
    }
  });
  const int64_t found = first == x.n ? -1 : first.load();
  if (x.known) x.known->keep_for_good<int64_t>("nonfinite", found, 8);
  return found;
}

}  // namespace meddel

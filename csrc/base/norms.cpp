#include "base/norms.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "cpu/isa.h"

namespace meddel {
namespace {

constexpr int64_t kGrain = 256;

}  // namespace

std::vector<double> squared_norms(Team& team, const Matrix& x) {
  const auto squares = kernels().squares[static_cast<int>(x.dtype)];
  std::vector<double> out(static_cast<size_t>(x.n));
  team.run_range(x.n, kGrain, [&](int64_t begin, int64_t end, int) {
    squares(x.row(begin), x.ld, end - begin, x.d, &out[begin]);
  });
  return out;
}

std::vector<double> roots(const std::vector<double>& squares) {
  std::vector<double> out(squares.size());
  for (size_t i = 0; i < out.size(); ++i) out[i] = std::sqrt(squares[i]);
  return out;
}

int64_t first_nonfinite_row(Team& team, const Matrix& x) {
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
  return first == x.n ? -1 : first.load();
}

}  // namespace meddel

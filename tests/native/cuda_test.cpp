// The GPU's kernels, run on the host, against the CPU's, for all numbers of the small types and for
// many sizes, orders of threads and kinds of rows.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>

#include "base/matrix.h"
#include "base/norms.h"
#include "cpu/isa.h"
#include "cuda/elements.h"
#include "cuda/launch.h"
#include "cuda_on_host.h"
#include "ops/kcenter.h"

namespace meddel {
namespace {

int failures = 0;

void expect(bool holds, const char* what, int64_t a, int64_t b = 0) {
  if (holds || ++failures > 20) return;
  std::printf("%s: %lld, %lld\n", what, static_cast<long long>(a), static_cast<long long>(b));
}

std::mt19937& random() {
  static std::mt19937 generator(11);
  return generator;
}

int64_t below(int64_t n) { return static_cast<int64_t>(random()() % static_cast<uint32_t>(n)); }

template <class T>
bool same_bits(const T& a, const T& b) {
  return std::memcmp(&a, &b, sizeof a) == 0;
}

template <class T>
bool same(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

// Rows of `ld` elements, with `offset` elements before the first: few values, so that there are
// ties, or many.
struct Made {
  std::vector<uint8_t> bytes;
  Matrix x;
};

Made made(DType dtype, int64_t n, int64_t d, int64_t ld, int64_t offset, bool few) {
  const int64_t size = item_size(dtype);
  Made out{std::vector<uint8_t>(static_cast<size_t>((n * ld + offset) * size)), {}};
  for (int64_t e = 0; e < n * ld + offset; ++e) {
    const uint32_t draw = random()();
    uint32_t bits = draw;
    const float number =
        few ? static_cast<float>(draw % 3) - 1.0f : static_cast<float>(draw >> 8) * 0x1p-23f - 1.0f;
    if (dtype == DType::kFloat32 || dtype == DType::kBFloat16) {
      std::memcpy(&bits, &number, sizeof bits);
      if (dtype == DType::kBFloat16) bits >>= 16;
    } else if (dtype == DType::kFloat16) {
      constexpr uint32_t kFew[] = {0, 0x3c00, 0xbc00};
      bits = few ? kFew[draw % 3] : (draw & 0x8fff) | static_cast<uint32_t>(below(4)) << 12;
    } else if (few) {
      bits = static_cast<uint32_t>(static_cast<int32_t>(draw % 3) - 1);
    }
    std::memcpy(&out.bytes[static_cast<size_t>(e * size)], &bits, static_cast<size_t>(size));
  }
  out.x = {out.bytes.data() + offset * size, n, d, ld, dtype};
  return out;
}

double dot(const Matrix& x, int64_t i, const Matrix& y, int64_t j) {
  return kernels().dot[static_cast<int>(x.dtype)](x.row(i), y.row(j), x.d);
}

template <class T>
void test_widening(DType dtype, int32_t patterns, int32_t exponent) {
  for (int32_t p = 0; p < patterns; ++p) {
    const auto bits = static_cast<uint16_t>(p);
    if ((bits & exponent) == exponent) continue;  // not finite
    T value;
    std::memcpy(&value, &bits, sizeof value);
    float wanted;
    kernels().widen[static_cast<int>(dtype)](&value, 1, &wanted);
    expect(same_bits(cuda::widen(value), wanted), "widening of type", static_cast<int>(dtype), p);
  }
}

void test_inner_products(DType dtype, int64_t d) {
  const int64_t n = 41, count = below(3) == 0 ? 32 : 1 + below(90);
  const int64_t spare = below(2) * below(20), offset = below(2) * below(9);
  const Made x = made(dtype, n, d, d + spare, offset, false);
  const Made y = made(dtype, n, d, (d + 7) / 8 * 8, 0, false);
  std::vector<int64_t> i, j;
  std::vector<double> wanted, own;
  for (int64_t p = 0; p < count; ++p) {
    i.push_back(below(n));
    j.push_back(below(n));
    wanted.push_back(dot(x.x, i.back(), y.x, j.back()));
  }
  for (int64_t p = 0; p < n; ++p) own.push_back(dot(y.x, p, y.x, p));
  std::vector<double> got(wanted.size()), squares(own.size());
  cuda::inner_products(x.x, i.data(), y.x, j.data(), count, got.data(), nullptr);
  expect(same(got, wanted), "inner products of type", static_cast<int>(dtype), d);
  cuda::inner_products(y.x, nullptr, y.x, nullptr, n, squares.data(), nullptr);
  expect(same(squares, own), "squared norms of type", static_cast<int>(dtype), d);
}

std::vector<double> squares_of(const Matrix& x) {
  std::vector<double> out;
  for (int64_t i = 0; i < x.n; ++i) out.push_back(dot(x, i, x, i));
  return out;
}

double distance(const Matrix& x, Metric metric, const std::vector<double>& squares, int64_t i,
                int64_t j) {
  return distance(metric, dot(x, i, x, j), squares[static_cast<size_t>(i)],
                  squares[static_cast<size_t>(j)]);
}

void test_distance_matrix(DType dtype, int64_t n, int64_t d, Metric metric) {
  const Made rows = made(dtype, n, d, d + below(3), below(3), below(2) == 0);
  const std::vector<double> squares = squares_of(rows.x);
  std::vector<double> wanted, got(static_cast<size_t>(n * n));
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) wanted.push_back(distance(rows.x, metric, squares, i, j));
  }
  cuda::distance_matrix(rows.x, squares.data(), metric, got.data(), nullptr);
  expect(same(got, wanted), "distances", n, d);
}

// Some rows of a matrix, with distances to their nearest centre, as the host has them when it asks
// for more centres.
struct Active {
  std::vector<int64_t> rows;
  std::vector<double> nearest;
  std::vector<double> distances;
  std::vector<int64_t> centres;
  std::vector<double> radii;
  cuda::Selected selected;

  void select(double tau, int64_t border, double radius, int64_t most, Metric metric) {
    centres.resize(static_cast<size_t>(most));
    radii.resize(static_cast<size_t>(most));
    cuda::kcenter_select(
        {distances.data(), rows.data(), static_cast<int64_t>(rows.size()), nearest.data(), tau,
         border, radius, most, metric, centres.data(), radii.data(), &selected},
        nullptr);
    centres.resize(static_cast<size_t>(selected.count));
    radii.resize(static_cast<size_t>(selected.count));
  }
};

std::vector<int64_t> first_rows(int64_t n) {
  std::vector<int64_t> rows(static_cast<size_t>(n));
  std::iota(rows.begin(), rows.end(), int64_t{0});
  return rows;
}

Active active_rows(const Matrix& x, Metric metric, std::vector<int64_t> rows, int64_t centre) {
  const std::vector<double> squares = squares_of(x);
  Active out{std::move(rows), {}, {}, {}, {}, {}};
  for (const int64_t row : out.rows) {
    out.nearest.push_back(row == centre ? cuda::KCenterSelect::kTaken
                                        : distance(x, metric, squares, row, centre));
  }
  for (const int64_t i : out.rows) {
    for (const int64_t j : out.rows) out.distances.push_back(distance(x, metric, squares, i, j));
  }
  return out;
}

// All rows are active: the selection is the CPU's k-center. With at_radius, it ends before the
// centre in the middle, whose distance is the radius.
void test_select_all(int64_t n, int64_t k, bool at_radius, Metric metric, bool few) {
  const Made rows = made(DType::kInt8, n, few ? 3 : 20, few ? 3 : 20, 0, few);
  const int64_t start = below(n);
  const auto greedy = [&](double radius) {
    return kcenter_greedy(rows.x, k + 1, radius, metric, start, {}, true, {1, [] {}});
  };
  const double radius = at_radius ? greedy(-1.0).radii[static_cast<size_t>(k / 2)] : -1.0;
  const KCenter wanted = greedy(radius);
  Active active = active_rows(rows.x, metric, first_rows(n), start);
  active.select(0.0, n, radius, k, metric);
  active.centres.insert(active.centres.begin(), start);
  active.radii.insert(active.radii.begin(), wanted.radii[0]);
  expect(same(active.centres, wanted.indices), "centres", n, k);
  expect(same(active.radii, wanted.radii), "radii", n, k);
  expect((active.selected.ended == 1) == at_radius, "the radius ended it", n, k);
  for (int64_t i = 0; i < n; ++i) {
    const double nearest = std::max(0.0, active.nearest[static_cast<size_t>(i)]);
    const double shown = metric == Metric::kCosine ? nearest : std::sqrt(nearest);
    expect(same_bits(shown, wanted.distances[static_cast<size_t>(i)]), "nearest", n, i);
  }
}

// Those rows are active that come first after one centre, the others all come after (tau, border):
// the selection is the CPU's until that might be a row that is not active.
void test_select_above(int64_t n, int64_t count, Metric metric) {
  const Made rows = made(DType::kInt8, n, 3, 3, 0, true);
  const Active all = active_rows(rows.x, metric, first_rows(n), 0);
  std::vector<int64_t> order = all.rows;
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return all.nearest[static_cast<size_t>(a)] > all.nearest[static_cast<size_t>(b)];
  });
  const int64_t border = order[static_cast<size_t>(count)];
  const double tau = all.nearest[static_cast<size_t>(border)];
  order.resize(static_cast<size_t>(count));
  std::sort(order.begin(), order.end());
  Active some = active_rows(rows.x, metric, order, 0);
  some.select(tau, border, -1.0, n - 1, metric);

  const KCenter wanted = kcenter_greedy(rows.x, n, -1.0, metric, 0, {}, true, {1, [] {}});
  const double shown = metric == Metric::kCosine ? tau : std::sqrt(tau);
  size_t next = 1;
  while (next < wanted.indices.size() &&
         (wanted.radii[next] > shown ||
          (wanted.radii[next] == shown && wanted.indices[next] < border))) {
    ++next;
  }
  const std::vector<int64_t> until(wanted.indices.begin() + 1,
                                   wanted.indices.begin() + static_cast<int64_t>(next));
  expect(same(some.centres, until), "centres above a border", n, count);
}

void test_components(int64_t n, int64_t count, bool chain) {
  std::vector<int64_t> i, j, roots(static_cast<size_t>(n)), wanted(static_cast<size_t>(n));
  for (int64_t e = 0; e < count; ++e) {
    i.push_back(chain ? e % (n - 1) : below(n));
    j.push_back(chain ? e % (n - 1) + 1 : below(n));
  }
  for (int64_t e = count - 1; e > 0; --e) {
    const auto other = static_cast<size_t>(below(e + 1));
    std::swap(i[static_cast<size_t>(e)], i[other]);
    std::swap(j[static_cast<size_t>(e)], j[other]);
  }
  std::iota(wanted.begin(), wanted.end(), int64_t{0});
  for (bool changed = true; changed;) {
    changed = false;
    for (size_t e = 0; e < i.size(); ++e) {
      int64_t& a = wanted[static_cast<size_t>(i[e])];
      int64_t& b = wanted[static_cast<size_t>(j[e])];
      changed = changed || a != b;
      a = b = std::min(a, b);
    }
  }
  cuda::components(i.data(), j.data(), count, n, roots.data(), nullptr);
  expect(same(roots, wanted), "components", n, count);
}

// Another order of threads for each.
template <class... Arguments, class... Given>
void run(void (*test)(Arguments...), Given... given) {
  cuda::use_seed(random()());
  test(given...);
}

void test_all() {
  test_widening<cuda::Float16>(DType::kFloat16, 1 << 16, 0x7c00);
  test_widening<cuda::BFloat16>(DType::kBFloat16, 1 << 16, 0x7f80);
  test_widening<int8_t>(DType::kInt8, 1 << 8, 0x100);
  for (int dtype = 0; dtype < kDTypes; ++dtype) {
    for (const int64_t d : {1, 7, 8, 9, 31, 33, 63, 64, 65, 130, 200}) {
      run(test_inner_products, static_cast<DType>(dtype), d);
    }
    for (const Metric metric : {Metric::kEuclidean, Metric::kCosine}) {
      for (const int64_t count : {1, 31, 32, 33, 70}) {
        run(test_distance_matrix, static_cast<DType>(dtype), count, 1 + below(80), metric);
      }
    }
  }
  for (const Metric metric : {Metric::kEuclidean, Metric::kCosine}) {
    for (const bool few : {false, true}) {
      run(test_select_all, 2, 1, false, metric, few);
      run(test_select_all, 60, 59, false, metric, few);
      run(test_select_all, 1100, 99, false, metric, few);
      run(test_select_all, 60, 20, true, metric, few);
    }
    for (int repeat = 0; repeat < 4; ++repeat) {
      for (const int64_t active : {1, 5, 12, 20, 38}) run(test_select_above, 40, active, metric);
    }
  }
  for (const int64_t count : {0, 1, 40, 300, 2000}) run(test_components, 500, count, false);
  run(test_components, 500, 499, true);
  run(test_components, 1, 0, false);
}

}  // namespace
}  // namespace meddel

int main() {
  meddel::test_all();
  if (meddel::failures == 0) std::puts("cuda on host");
  return meddel::failures == 0 ? 0 : 1;
}

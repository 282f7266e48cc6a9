// Every kernel of every instruction set that this CPU can run, against a few plain lines each, for
// many sizes. Arrays are as long as the contract says, so that a sanitizer sees a step beyond them.
// Longer than 450 lines because each kernel has its few lines here.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "base/matrix.h"
#include "base/truth.h"
#include "cpu/isa.h"

namespace meddel {

#if defined(MEDDEL_AVXVNNI_EVEX)
extern const Kernels kAvxVnniEvexKernels;
#endif

namespace {

constexpr double kUnit = 0x1p-24;
constexpr int64_t kLongest = 130;

int failures = 0;

void expect(bool holds, const Kernels& k, const char* what, int dtype, int64_t size) {
  if (holds) return;
  if (++failures <= 20) {
    std::printf("%s: %s, type %d, size %d\n", k.name, what, dtype, static_cast<int>(size));
  }
}

std::mt19937& random() {
  static std::mt19937 generator(5);
  return generator;
}

int64_t below(int64_t n) { return static_cast<int64_t>(random()() % static_cast<uint32_t>(n)); }

// Finite numbers of a type, as it stores them: of size 1, or of any size, zeros, the least and the
// greatest. Int8 has but one kind.
std::vector<uint8_t> made(int dtype, int64_t count, bool extreme) {
  const int64_t size = item_size(static_cast<DType>(dtype));
  std::vector<uint8_t> out(static_cast<size_t>(count * size));
  for (int64_t i = 0; i < count; ++i) {
    uint32_t bits = random()();
    if (dtype == 1 && !extreme) bits = (bits & 0x83ff) | static_cast<uint32_t>(13 + below(3)) << 10;
    if (dtype == 1 && (bits & 0x7c00) == 0x7c00) bits &= 0x83ff;
    if ((dtype == 0 || dtype == 2) && !extreme) {
      bits = (bits & 0x807fffff) | static_cast<uint32_t>(125 + below(3)) << 23;
    }
    if ((dtype == 0 || dtype == 2) && (bits & 0x7f800000) == 0x7f800000) bits &= 0x807fffff;
    if (dtype != 3 && extreme && below(4) == 0) {
      const uint32_t fp16[] = {0, 0x8000, 1, 0x7bff}, fp32[] = {0, 0x80000000, 1, 0x7f7fffff};
      bits = dtype == 1 ? fp16[below(4)] : fp32[below(4)];
    }
    if (dtype == 2) bits >>= 16;
    std::memcpy(&out[static_cast<size_t>(i * size)], &bits, static_cast<size_t>(size));
  }
  return out;
}

double element(const std::vector<uint8_t>& x, int dtype, int64_t i) {
  const uint8_t* p = &x[static_cast<size_t>(i * item_size(static_cast<DType>(dtype)))];
  if (dtype == 3) return static_cast<int8_t>(*p);
  if (dtype == 0) {
    float value;
    std::memcpy(&value, p, sizeof value);
    return static_cast<double>(value);
  }
  uint16_t half;
  std::memcpy(&half, p, sizeof half);
  if (dtype == 2) {
    const uint32_t bits = static_cast<uint32_t>(half) << 16;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return static_cast<double>(value);
  }
  const int exponent = half >> 10 & 31, fraction = half & 1023;
  const double size =
      exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  return half & 0x8000 ? -size : size;
}

std::vector<double> elements(const std::vector<uint8_t>& x, int dtype, int64_t first, int64_t d) {
  std::vector<double> out;
  for (int64_t i = 0; i < d; ++i) out.push_back(element(x, dtype, first + i));
  return out;
}

double truth(const std::vector<double>& x, const std::vector<double>& y) {
  double s[8] = {};
  for (size_t i = 0; i < x.size(); ++i) s[i % 8] += x[i] * y[i];
  return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

double size_of(const std::vector<double>& x) { return std::sqrt(truth(x, x)); }

bool same_bits(double a, double b) { return std::memcmp(&a, &b, sizeof a) == 0; }

void test_dots(const Kernels& k, int dtype, int64_t d, bool extreme) {
  const int64_t count = 1 + below(21), ld = d + below(3);
  const auto x = made(dtype, d, extreme), y = made(dtype, (count - 1) * ld + d, extreme);
  const auto wide = elements(x, dtype, 0, d);
  std::vector<int64_t> rows, all;
  for (int64_t c = 0; c < count; ++c) {
    rows.push_back(below(count));
    all.push_back(c);
  }
  std::vector<double> inner(static_cast<size_t>(count));
  std::vector<float> rough(static_cast<size_t>(count));
  for (const auto* chosen : {&rows, &all}) {
    const int64_t* given = chosen == &all ? nullptr : rows.data();
    k.dots[dtype](x.data(), y.data(), ld, given, count, d, inner.data());
    k.rough_dots[dtype](x.data(), y.data(), ld, chosen->data(), count, d, rough.data());
    for (int64_t c = 0; c < count; ++c) {
      const int64_t first = (*chosen)[static_cast<size_t>(c)] * ld;
      const auto row = elements(y, dtype, first, d);
      const double expected = truth(wide, row), n = static_cast<double>(d + 8) * kUnit;
      const size_t at = static_cast<size_t>(first * item_size(static_cast<DType>(dtype)));
      expect(same_bits(inner[static_cast<size_t>(c)], expected), k, "dots", dtype, d);
      expect(same_bits(k.dot[dtype](x.data(), &y[at], d), expected), k, "dot", dtype, d);
      if (extreme && dtype != 3) continue;  // fp32 sums overflow
      const double off = std::abs(static_cast<double>(rough[static_cast<size_t>(c)]) - expected);
      expect(off <= n / (1.0 - n) * size_of(wide) * size_of(row), k, "rough_dots", dtype, d);
    }
  }
}

void test_squares(const Kernels& k, int dtype, int64_t d, bool extreme) {
  const int64_t count = 1 + below(21), ld = d + below(3);
  const auto x = made(dtype, (count - 1) * ld + d, extreme);
  std::vector<double> out(static_cast<size_t>(count));
  k.squares[dtype](x.data(), ld, count, d, out.data());
  for (int64_t r = 0; r < count; ++r) {
    const auto row = elements(x, dtype, r * ld, d);
    expect(same_bits(out[static_cast<size_t>(r)], truth(row, row)), k, "squares", dtype, d);
  }
}

// Some rows of a matrix with each other, with its first one, and with columns beside it.
void test_products(const Kernels& k, int dtype, int64_t d, bool extreme) {
  const int64_t count = 1 + below(21), ld = d + below(3), columns = 1 + below(kCrossed);
  const auto x = made(dtype, (count - 1) * ld + d, extreme);
  const auto y = made(dtype, columns * d, extreme);
  const int64_t padded = (d + 7) / 8 * 8;
  std::vector<double> wide(static_cast<size_t>(padded * columns), 0.0);
  for (int64_t c = 0; c < columns; ++c) {
    for (int64_t e = 0; e < d; ++e) {
      wide[static_cast<size_t>(8 * (e / 8 * columns + c) + e % 8)] = element(y, dtype, c * d + e);
    }
  }
  const auto row = [&](int64_t r) { return elements(x, dtype, r * ld, d); };
  std::vector<int64_t> rows, others;
  for (int64_t r = 0; r < count; ++r) {
    rows.push_back(below(count));
    others.push_back(below(count));
  }
  std::vector<double> inner(rows.size()), squares(rows.size()), pairs(rows.size());
  std::vector<double> crossed(rows.size() * static_cast<size_t>(columns));
  k.measure[dtype](x.data(), x.data(), ld, count, d, inner.data(), squares.data());
  k.pair_dots[dtype](x.data(), ld, rows.data(), others.data(), count, d, pairs.data());
  k.cross[dtype](x.data(), ld, rows.data(), count, d, wide.data(), columns, crossed.data());
  for (int64_t r = 0; r < count; ++r) {
    const size_t at = static_cast<size_t>(r);
    const auto chosen = row(rows[at]);
    expect(same_bits(inner[at], truth(row(0), row(r))), k, "measure", dtype, d);
    expect(same_bits(squares[at], truth(row(r), row(r))), k, "squares of measure", dtype, d);
    expect(same_bits(pairs[at], truth(chosen, row(others[at]))), k, "pair_dots", dtype, d);
    for (int64_t c = 0; c < columns; ++c) {
      const double wanted = truth(chosen, elements(y, dtype, c * d, d));
      expect(same_bits(crossed[static_cast<size_t>(r * columns + c)], wanted), k, "cross", dtype,
             d);
    }
  }
}

// Distances from products, some equal to what they may lower, and the roots of these.
void test_lower(const Kernels& k, int64_t count) {
  const double square = static_cast<double>(below(50));
  std::vector<double> inner, squares, nearest, wanted;
  double most = -1.0;
  for (int64_t i = 0; i < count; ++i) {
    inner.push_back(static_cast<double>(below(90)) - 20.0);
    squares.push_back(static_cast<double>(below(70)) / 3.0);
    const double far = squared_distance(inner.back(), squares.back(), square);
    nearest.push_back(below(3) == 0 ? -1.0 : below(2) == 0 ? far * (below(2) + 0.5) : kInfinity);
    wanted.push_back(std::min(nearest.back(), far));
    most = std::max(most, wanted.back());
  }
  const double found = k.lower(inner.data(), squares.data(), count, square, nearest.data());
  expect(same_bits(found, most), k, "the largest of lower", 0, count);
  for (size_t i = 0; i < nearest.size(); ++i) {
    expect(same_bits(nearest[i], wanted[i]), k, "lower", 0, count);
    wanted[i] = std::sqrt(std::max(0.0, wanted[i]));
  }
  k.roots(nearest.data(), count);
  for (size_t i = 0; i < nearest.size(); ++i) {
    expect(same_bits(nearest[i], wanted[i]), k, "roots", 0, count);
  }
}

void test_rows(const Kernels& k, int dtype, int64_t d) {
  const size_t length = static_cast<size_t>(d);
  for (const bool extreme : {false, true}) {
    const auto x = made(dtype, d, extreme);
    std::vector<float> out(length);
    k.widen[dtype](x.data(), d, out.data());
    for (int64_t i = 0; i < d; ++i) {
      const double value = static_cast<double>(out[static_cast<size_t>(i)]);
      expect(same_bits(value, element(x, dtype, i)), k, "widen", dtype, d);
    }
    expect(k.finite[dtype](x.data(), d), k, "finite", dtype, d);
    if (dtype == 3) continue;
    const size_t size = x.size() / length;
    for (const uint32_t bad : {0x7f800000u, 0xff800000u, 0x7f800001u, 0x7fc00000u}) {
      // The same number in 16 bits, if it is one there: 5 bits of exponent, or 8.
      const uint32_t fp16 = (bad >> 16 & 0x8000) | 0x7c00 | (bad & 0x7fffff ? 1 : 0);
      const uint32_t bits = dtype == 0 ? bad : dtype == 1 ? fp16 : bad >> 16;
      auto spoilt = x;
      std::memcpy(&spoilt[static_cast<size_t>(below(d)) * size], &bits, size);
      expect(!k.finite[dtype](spoilt.data(), d), k, "not finite", dtype, d);
    }
  }
  const auto x = made(dtype, d, false);
  const auto centre = made(0, d, false);
  std::vector<float> c(length), out(length);
  std::memcpy(c.data(), centre.data(), centre.size());
  const float scale = dtype == 3 ? 0.013f : 0.37f;
  const double sum = static_cast<double>(k.point[dtype](x.data(), d, scale, c.data(), out.data()));
  double square = 0.0;
  for (int64_t i = 0; i < d; ++i) {
    const double product = element(x, dtype, i) * static_cast<double>(scale);
    const double value = static_cast<double>(out[static_cast<size_t>(i)]);
    const double expected = product - element(centre, 0, i);
    const double off = (std::abs(product) + std::abs(expected)) * kUnit;
    expect(std::abs(value - expected) <= off * 1.001, k, "point", dtype, d);
    square += value * value;
  }
  expect(std::abs(sum - square) <= (static_cast<double>(d) / 16 + 20) * kUnit * square, k,
         "the sum of point", dtype, d);
}

void test_quantise(const Kernels& k, int64_t d) {
  const auto x = made(0, d, false);
  std::vector<float> row(static_cast<size_t>(d));
  std::memcpy(row.data(), x.data(), x.size());
  for (const float step : {0.001f, 0.0093f, 1.0f / 127, 0.5f}) {
    std::vector<int8_t> code(row.size());
    const double sum = static_cast<double>(k.quantise(row.data(), d, step, code.data()));
    double square = 0.0;
    for (size_t i = 0; i < row.size(); ++i) {
      const double wanted = static_cast<double>(row[i]) / static_cast<double>(step);
      const double q = std::max(-127.0, std::min(127.0, wanted));
      expect(std::abs(static_cast<double>(code[i]) - q) <= 0.5 + 1e-4, k, "code", 0, d);
      const double rest = static_cast<double>(row[i]) - static_cast<double>(step) * code[i];
      square += rest * rest;
    }
    // Each rest is off by a rounding of the product and of the difference.
    const double off = 4.0 * kUnit * size_of(elements(x, 0, 0, d)) + 1e-6 * std::sqrt(square);
    expect(std::abs(std::sqrt(sum) - std::sqrt(square)) <= off, k, "quantise", 0, d);
  }
}

void test_best(const Kernels& k, int64_t d) {
  const int64_t columns = 16 * (1 + d % 5);
  const auto made_of = [columns] {
    const auto bytes = made(0, columns, false);
    std::vector<float> out(static_cast<size_t>(columns));
    std::memcpy(out.data(), bytes.data(), bytes.size());
    return out;
  };
  std::vector<float> sums = made_of();
  const std::vector<float> before = sums, factor = made_of();
  std::vector<float> offset = made_of();
  offset.back() = -std::numeric_limits<float>::infinity();
  const float found = k.best(sums.data(), factor.data(), offset.data(), columns);
  expect(found == *std::max_element(sums.begin(), sums.end()), k, "the largest of best", 0, d);
  for (size_t c = 0; c + 1 < sums.size(); ++c) {
    const double product = static_cast<double>(before[c]) * static_cast<double>(factor[c]);
    const double more = static_cast<double>(offset[c]);
    const double off = std::abs(static_cast<double>(sums[c]) - (product + more));
    expect(off <= 2.0 * kUnit * (std::abs(product) + std::abs(more)), k, "best", 0, d);
  }
  expect(sums.back() == offset.back(), k, "best of no centre", 0, d);
}

void test_multiply(const Kernels& k, int64_t inner) {
  const int64_t rows = 1 + below(9), ld = inner + below(3), columns = 16 * (1 + below(9));
  const auto x = made(0, (rows - 1) * ld + inner, false), y = made(0, inner * columns, false);
  std::vector<float> a(x.size() / 4), b(y.size() / 4), out(static_cast<size_t>(rows * columns));
  std::memcpy(a.data(), x.data(), x.size());
  std::memcpy(b.data(), y.data(), y.size());
  k.multiply(a.data(), ld, rows, b.data(), inner, columns, out.data());
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      double sum = 0.0, size = 0.0;
      for (int64_t i = 0; i < inner; ++i) {
        const double product = element(x, 0, r * ld + i) * element(y, 0, i * columns + c);
        sum += product;
        size += std::abs(product);
      }
      const double off =
          std::abs(static_cast<double>(out[static_cast<size_t>(r * columns + c)]) - sum);
      expect(off <= static_cast<double>(inner + 2) * kUnit * size, k, "multiply", 0, inner);
    }
  }
}

int8_t code(bool extreme) {
  return static_cast<int8_t>(extreme ? (below(2) ? 127 : -127) : below(255) - 127);
}

void test_screen(const Kernels& k, int64_t width, bool extreme) {
  const int64_t rows = 4 * (1 + below(6)), blocks = 1 + below(9), columns = 16 * blocks;
  const int64_t stride = columns + below(3);
  const auto length = [](int64_t n) { return static_cast<size_t>(n); };
  std::vector<uint8_t> x(length(rows * width));
  std::vector<int8_t> y(length(columns * width));
  std::vector<int32_t> x_start(length(rows)), y_start(length(columns));
  for (auto& byte : x) byte = static_cast<uint8_t>(code(extreme) + k.bias);
  for (auto& byte : y) byte = code(extreme);
  for (auto& start : x_start) start = static_cast<int32_t>(below(200'001) - 100'000);
  for (auto& start : y_start) start = static_cast<int32_t>(below(200'001) - 100'000);
  std::vector<int32_t> out(length((rows - 1) * stride + columns)), counts(length(rows));
  std::vector<uint16_t> found(length((rows - 1) * stride + columns));
  k.scores(x.data(), x_start.data(), rows, y.data(), y_start.data(), blocks, width, out.data(),
           stride);
  k.screen(x.data(), x_start.data(), rows, y.data(), y_start.data(), blocks, width, found.data(),
           stride, counts.data());
  for (int64_t r = 0; r < rows; ++r) {
    int32_t count = 0;
    for (int64_t c = 0; c < columns; ++c) {
      int32_t sum = x_start[length(r)] + y_start[length(c)];
      for (int64_t i = 0; i < width; ++i) {
        const uint8_t byte = x[length(r * width + i)];
        const int32_t a = k.bias == 0 ? static_cast<int8_t>(byte) : byte;
        sum += a * y[length(c / 16 * 16 * width + i / 4 * 64 + c % 16 * 4 + i % 4)];
      }
      expect(out[length(r * stride + c)] == sum, k, "scores", 3, width);
      if (sum < 0) continue;
      const bool listed = count < counts[length(r)] && found[length(r * stride + count)] == c;
      expect(listed, k, "screen", 3, width);
      ++count;
    }
    expect(count == counts[length(r)], k, "the number of survivors", 3, width);
  }
  std::vector<uint16_t> alone(length(columns));
  int32_t survivors = -1;
  k.screen(x.data(), x_start.data(), 1, y.data(), y_start.data(), blocks, width, alone.data(),
           columns, &survivors);
  expect(survivors == counts[0], k, "the number of survivors of one row", 3, width);
  expect(std::equal(alone.begin(), alone.begin() + counts[0], found.begin()), k,
         "screen of one row", 3, width);
}

void test_add(const Kernels& k, int64_t d) {
  const auto bytes = made(0, d, false);
  std::vector<float> x(static_cast<size_t>(d));
  std::memcpy(x.data(), bytes.data(), bytes.size());
  for (const double divisor : {1.0, 0.7}) {
    std::vector<double> sum(x.size(), 0.1);
    k.add(x.data(), d, divisor, sum.data());
    for (size_t i = 0; i < x.size(); ++i) {
      expect(same_bits(sum[i], 0.1 + static_cast<double>(x[i]) / divisor), k, "add", 0, d);
    }
  }
}

void test_refine(const Kernels& k, int64_t width, bool extreme) {
  const auto length = [](int64_t n) { return static_cast<size_t>(n); };
  const int64_t stride = (width + kChunk - 1) / kChunk * kChunk, columns = 1 + below(40);
  std::vector<uint8_t> x(length(stride));
  std::vector<int8_t> y(length(columns * stride), 0);
  std::vector<int32_t> y_start(length(columns));
  for (auto& byte : x) byte = static_cast<uint8_t>(code(extreme) + k.bias);
  for (auto& start : y_start) start = static_cast<int32_t>(below(200'001) - 100'000);
  const int32_t x_start = static_cast<int32_t>(below(200'001) - 100'000);
  std::vector<uint16_t> listed, wanted;
  for (int64_t c = 0; c < columns; ++c) {
    int32_t sum = x_start + y_start[length(c)];
    for (int64_t i = 0; i < width; ++i) {
      y[length(c * stride + i)] = code(extreme);
      const int32_t a = k.bias == 0 ? static_cast<int8_t>(x[length(i)]) : x[length(i)];
      sum += a * y[length(c * stride + i)];
    }
    if (below(3) == 0) continue;
    listed.push_back(static_cast<uint16_t>(c));
    if (sum >= 0) wanted.push_back(static_cast<uint16_t>(c));
  }
  const int32_t kept = k.refine(x.data(), x_start, y.data(), y_start.data(), width, listed.data(),
                                static_cast<int32_t>(listed.size()));
  listed.resize(length(std::min<int64_t>(kept, static_cast<int64_t>(listed.size()))));
  expect(listed == wanted, k, "refine", 3, width);
}

// Of codes as long as sums of 32 bits allow.
void test_fine(const Kernels& k, int64_t d) {
  const auto length = [](int64_t n) { return static_cast<size_t>(n); };
  const int64_t width = (d + 31) / 32 * 32, rows = 1 + below(9);
  const float step = 1e-4f;
  const double most = 32000.0 * static_cast<double>(step) / std::sqrt(static_cast<double>(d));
  std::vector<float> x(length(d));
  std::vector<int16_t> codes(length((rows + 1) * width), 0);
  for (int64_t r = 0; r <= rows; ++r) {
    for (float& value : x) {
      value = static_cast<float>(most * (static_cast<double>(below(2001)) - 1000.0) / 1000.0);
    }
    if (r < 2) std::fill(x.begin(), x.end(), static_cast<float>(r == 0 ? most : -most));
    int16_t* code = &codes[length(r * width)];
    k.fine_codes(x.data(), d, step, code);
    for (int64_t i = 0; i < d; ++i) {
      const double off = static_cast<double>(x[length(i)]) / static_cast<double>(step) - code[i];
      expect(std::abs(off) <= 0.507, k, "fine_codes", 0, d);
    }
  }
  std::vector<uint16_t> listed;
  for (int64_t r = 1; r <= rows; ++r) {
    if (below(4) != 0) listed.push_back(static_cast<uint16_t>(rows - r + 1));
  }
  std::vector<int32_t> products(listed.size());
  k.fine_dots(codes.data(), codes.data(), listed.data(), static_cast<int64_t>(listed.size()), width,
              products.data());
  for (size_t c = 0; c < listed.size(); ++c) {
    int64_t wanted = 0;
    for (int64_t i = 0; i < d; ++i) {
      wanted += static_cast<int64_t>(codes[length(i)]) * codes[length(listed[c] * width + i)];
    }
    expect(products[c] == wanted, k, "fine_dots", 0, d);
  }
}

void test_byte_dots(const Kernels& k, int64_t width, bool extreme) {
  const auto length = [](int64_t n) { return static_cast<size_t>(n); };
  const int64_t stride = (width + kChunk - 1) / kChunk * kChunk, columns = 1 + below(40);
  std::vector<uint8_t> x(length(stride));
  std::vector<int8_t> y(length(columns * stride), 0);
  std::vector<int32_t> y_start(length(columns)), wanted;
  for (auto& byte : x) byte = static_cast<uint8_t>(code(extreme) + k.bias);
  std::vector<int64_t> rows;
  for (int64_t c = columns - 1; c >= 0; --c) {
    y_start[length(c)] = static_cast<int32_t>(below(200'001) - 100'000);
    int32_t sum = y_start[length(c)];
    for (int64_t i = 0; i < width; ++i) {
      y[length(c * stride + i)] = code(extreme);
      const int32_t a = k.bias == 0 ? static_cast<int8_t>(x[length(i)]) : x[length(i)];
      sum += a * y[length(c * stride + i)];
    }
    if (below(3) == 0) continue;
    rows.push_back(c);
    wanted.push_back(sum);
  }
  std::vector<int32_t> out(rows.size());
  k.byte_dots(x.data(), y.data(), y_start.data(), width, rows.data(),
              static_cast<int64_t>(rows.size()), out.data());
  expect(out == wanted, k, "byte_dots", 3, width);
}

void test_refine_fine(const Kernels& k, int64_t width, bool extreme) {
  const auto length = [](int64_t n) { return static_cast<size_t>(n); };
  const int64_t stride = (width + kChunk - 1) / kChunk * kChunk, columns = 1 + below(40);
  std::vector<uint8_t> x(length(stride)), low(length(stride));
  std::vector<int8_t> y(length(columns * stride), 0);
  std::vector<int32_t> y_start(length(columns));
  for (auto& byte : x) byte = static_cast<uint8_t>(code(extreme) + k.bias);
  for (auto& byte : low) {
    byte = static_cast<uint8_t>(k.bias == 0 ? code(extreme)
                                : extreme   ? 255 * below(2)
                                            : below(256));
  }
  const int32_t x_start = static_cast<int32_t>(below(200'001) - 100'000);
  std::vector<uint16_t> listed, wanted;
  for (int64_t c = 0; c < columns; ++c) {
    int32_t sum = x_start, rest = 0;
    for (int64_t i = 0; i < width; ++i) {
      y[length(c * stride + i)] = code(extreme);
      const uint8_t high_byte = x[length(i)], low_byte = low[length(i)];
      sum += (k.bias == 0 ? static_cast<int8_t>(high_byte) : high_byte) * y[length(c * stride + i)];
      rest += (k.bias == 0 ? static_cast<int8_t>(low_byte) : low_byte) * y[length(c * stride + i)];
    }
    // Near 0, where rounding tells.
    const auto both = sum + static_cast<int32_t>(std::floor(static_cast<double>(rest) / 256.0));
    const auto near = static_cast<int32_t>(below(5) - 3);
    y_start[length(c)] = near - both;
    if (below(3) == 0) continue;
    listed.push_back(static_cast<uint16_t>(c));
    if (near + 1 >= 0) wanted.push_back(static_cast<uint16_t>(c));
  }
  const int32_t kept = k.refine_fine(x.data(), low.data(), x_start, y.data(), y_start.data(), width,
                                     listed.data(), static_cast<int32_t>(listed.size()));
  listed.resize(length(std::min<int64_t>(kept, static_cast<int64_t>(listed.size()))));
  expect(listed == wanted, k, "refine_fine", 3, width);
}

// Each block as it would be alone, where the stride says; nothing beside them.
void test_multiply_blocks(const Kernels& k, int64_t inner) {
  const int64_t rows = 1 + below(9), blocks = 1 + below(3), across = blocks * kPacked;
  const int64_t ld = inner + below(3), stride = across + 16 * below(3);
  const auto x = made(0, (rows - 1) * ld + inner, false), y = made(0, inner * across, false);
  std::vector<float> a(x.size() / 4), b(y.size() / 4), alone(static_cast<size_t>(rows * kPacked));
  std::memcpy(a.data(), x.data(), x.size());
  std::memcpy(b.data(), y.data(), y.size());
  std::vector<float> out(static_cast<size_t>(rows * stride), -1.0f), wanted = out;
  k.multiply_blocks(a.data(), ld, rows, b.data(), inner, blocks, out.data(), stride);
  for (int64_t block = 0; block < blocks; ++block) {
    k.multiply(a.data(), ld, rows, &b[static_cast<size_t>(block * inner * kPacked)], inner, kPacked,
               alone.data());
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < kPacked; ++c) {
        double size = 0.0;
        for (int64_t i = 0; i < inner; ++i) {
          size += std::abs(element(x, 0, r * ld + i) *
                           element(y, 0, (block * inner + i) * kPacked + c));
        }
        const auto at = static_cast<size_t>(r * stride + block * kPacked + c);
        const double off =
            std::abs(static_cast<double>(out[at]) -
                     static_cast<double>(alone[static_cast<size_t>(r * kPacked + c)]));
        const bool near = off <= 2.0 * static_cast<double>(inner + 2) * kUnit * size;
        expect(near, k, "multiply_blocks", 0, inner);
        if (near) wanted[at] = out[at];
      }
    }
  }
  expect(out == wanted, k, "multiply_blocks", 0, inner);
}

// Scores of a narrow or the widest range, with or without ties.
void test_highest(const Kernels& k, int64_t blocks) {
  const int64_t n = blocks * kApart;
  for (const int64_t range : {int64_t{3}, int64_t{1000}, int64_t{1} << 30}) {
    std::vector<int32_t> scores(static_cast<size_t>(n));
    for (auto& score : scores) score = static_cast<int32_t>(2 * (below(range) - range / 2));
    std::vector<int32_t> apart(kApart), wanted(kApart, INT32_MIN), falling = scores;
    for (int64_t c = 0; c < n; ++c) {
      auto& most = wanted[static_cast<size_t>(c % kApart)];
      most = std::max(most, scores[static_cast<size_t>(c)]);
    }
    std::sort(falling.rbegin(), falling.rend());
    const int32_t most = k.highest_apart(scores.data(), n, apart.data());
    expect(apart == wanted && most == falling[0], k, "highest_apart", 3, n);
    for (const int64_t wish : {int64_t{1}, 1 + below(n), n}) {
      const int32_t kth = falling[static_cast<size_t>(wish - 1)];
      const int32_t least = static_cast<int32_t>(below(range) - range / 2);
      const int32_t found = k.kth_highest(scores.data(), n, wish, least);
      if (kth < least) {
        expect(found == kNoScore, k, "kth_highest of too few", 3, n);
      } else {
        const auto have = std::count_if(scores.begin(), scores.end(),
                                        [found](int32_t score) { return score >= found; });
        expect(found >= least && found <= kth && (have == wish || found > int64_t{kth} - 8), k,
               "kth_highest", 3, n);
      }
    }
  }
}

void test_places(const Kernels& k) {
  const int64_t n = 8 * (1 + below(4));
  std::vector<double> values(static_cast<size_t>(n));
  for (auto& value : values) value = static_cast<double>(below(n)) / 7.0 - 1.0;
  std::vector<int64_t> places(values.size()), order(values.size());
  k.places(values.data(), n, places.data());
  for (size_t c = 0; c < order.size(); ++c) order[c] = static_cast<int64_t>(c);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return values[static_cast<size_t>(a)] > values[static_cast<size_t>(b)];
  });
  for (size_t c = 0; c < order.size(); ++c) {
    expect(places[static_cast<size_t>(order[c])] == static_cast<int64_t>(c), k, "places", 0, n);
  }
}

void test_scores(const Kernels& k, int64_t n) {
  std::vector<int32_t> scores(static_cast<size_t>(n));
  for (auto& score : scores) score = static_cast<int32_t>(below(n) - n / 2);
  const auto most = std::max_element(scores.begin(), scores.end());
  expect(k.highest(scores.data(), n) == most - scores.begin(), k, "highest", 3, n);
  const int32_t start = static_cast<int32_t>(below(n) - n / 2);
  std::vector<uint16_t> listed(scores.size()), wanted;
  for (size_t c = 0; c < scores.size(); ++c) {
    if (scores[c] + start >= 0) wanted.push_back(static_cast<uint16_t>(c));
  }
  listed.resize(static_cast<size_t>(k.at_least(scores.data(), n, start, listed.data())));
  expect(listed == wanted, k, "at_least", 3, n);
}

// Within 2^-20 of the sum of the terms' sizes, which is what screen/scaled.h allows for.
void test_reach(const Kernels& k, int64_t n) {
  const auto some = [](double least, double most) {
    return static_cast<float>(least + (most - least) * static_cast<double>(below(1'000'001)) / 1e6);
  };
  const auto size = [](int64_t count) { return static_cast<size_t>(count); };
  std::vector<int32_t> sums(size(n)), bits(size(n));
  std::vector<float> columns(size(4 * n));
  for (auto& sum : sums) sum = static_cast<int32_t>(below(400'000'001) - 200'000'000);
  for (auto& trait : columns) trait = some(0.0, 0.02);
  const ScaledRow row{some(0.0, 0.02), some(0.0, 4.0), some(0.0, 0.1), some(-1.0, 1.0)};
  const float most = k.reach(sums.data(), n, row, columns.data(), bits.data());
  float greatest = -std::numeric_limits<float>::infinity();
  for (int64_t c = 0; c < n; ++c) {
    const float* of = &columns[size(c / 16 * 64 + c % 16)];
    const double terms[] = {static_cast<double>(sums[size(c)]) * static_cast<double>(row.step) *
                                static_cast<double>(of[0]),
                            static_cast<double>(row.length) * static_cast<double>(of[16]),
                            static_cast<double>(row.rounding) * static_cast<double>(of[32]),
                            static_cast<double>(of[48]), static_cast<double>(row.rest)};
    double wanted = 0.0, sizes = 0.0;
    for (const double term : terms) {
      wanted += term;
      sizes += std::abs(term);
    }
    float bound;
    std::memcpy(&bound, &bits[size(c)], sizeof bound);
    greatest = std::max(greatest, bound);
    expect(std::abs(static_cast<double>(bound) - wanted) <= 0x1p-20 * sizes, k, "reach", 0, n);
  }
  expect(most == greatest, k, "the greatest of reach", 0, n);
}

// Points in columns, a few of them equal, against a centre.
void test_nearer(const Kernels& k, int64_t d, bool extreme) {
  const int64_t count = 16 * (1 + below(4));
  auto bytes = made(0, count * d, extreme);
  const auto centre = made(0, d, extreme);
  const auto wide = elements(centre, 0, 0, d);
  for (int64_t e = 0; e < d; ++e) std::memcpy(&bytes[e * count * 4], &centre[e * 4], 4);
  std::vector<double> squares, nearest, wanted;
  std::vector<int32_t> rows;
  double most = -1.0;
  for (int64_t i = 0; i < count; ++i) {
    std::vector<double> row;
    for (int64_t e = 0; e < d; ++e) row.push_back(element(bytes, 0, e * count + i));
    squares.push_back(truth(row, row));
    const double far = squared_distance(truth(row, wide), truth(row, row), truth(wide, wide));
    nearest.push_back(below(3) == 0 ? -1.0 : below(2) == 0 ? far * (below(2) + 0.5) : kInfinity);
    wanted.push_back(std::min(nearest.back(), far));
    most = std::max(most, wanted.back());
    rows.push_back(static_cast<int32_t>(below(1000)));
  }
  std::vector<float> x(bytes.size() / 4), c(wide.size());
  std::memcpy(x.data(), bytes.data(), bytes.size());
  std::memcpy(c.data(), centre.data(), centre.size());
  const double found =
      k.nearer[d - 1](x.data(), squares.data(), count, c.data(), truth(wide, wide), nearest.data());
  expect(same_bits(found, most), k, "the largest of nearer", 0, d);
  for (size_t i = 0; i < nearest.size(); ++i) {
    expect(same_bits(nearest[i], wanted[i]), k, "nearer", 0, d);
    const int64_t at = k.lowest(nearest.data(), rows.data(), count, nearest[i]);
    int64_t lowest = static_cast<int64_t>(i);
    for (int64_t j = count - 1; j >= 0; --j) {
      if (nearest[j] == nearest[i] && rows[j] <= rows[lowest]) lowest = j;
    }
    expect(at == lowest, k, "lowest", 0, d);
  }
  expect(k.lowest(nearest.data(), rows.data(), count, -2.0) == -1, k, "none", 0, d);
}

// Centres beside a box, some of them exactly at the limit.
void test_next_near(const Kernels& k, int64_t d) {
  const int64_t count = 1 + below(70), blocks = (count + 15) / 16;
  std::vector<float> low, high, centres(static_cast<size_t>(blocks * 16 * d));
  for (int64_t e = 0; e < d; ++e) {
    low.push_back(static_cast<float>(below(5)));
    high.push_back(low.back() + static_cast<float>(below(3)));
  }
  for (float& value : centres) value = static_cast<float>(below(11) - 3);
  for (const float limit : {0.0f, 9.0f, 40.0f, std::numeric_limits<float>::infinity()}) {
    for (int64_t begin = 0; begin < count; begin += 1 + below(5)) {
      int64_t wanted = begin;
      for (; wanted < count; ++wanted) {
        const float* block = &centres[static_cast<size_t>(wanted / 16 * 16 * d)];
        float sum = 0.0f;
        for (int64_t e = 0; e < d; ++e) {
          const float c = block[16 * e + wanted % 16];
          const float gap = std::max(0.0f, std::max(c - high[e], low[e] - c));
          sum += gap * gap;
        }
        if (!(sum > limit)) break;
      }
      const int64_t found =
          k.next_near[d - 1](low.data(), high.data(), centres.data(), begin, count, limit);
      expect(found == wanted, k, "next_near", 0, d);
    }
  }
}

// The two highest of some scores with their slack, where sums in fp32 are off by at most `off`.
struct TopTwo {
  float best, second;
  int32_t label;

  void check(const Kernels& k, const std::vector<double>& scores, double off, const char* what,
             int64_t d) const {
    std::vector<double> sorted = scores;
    std::sort(sorted.rbegin(), sorted.rend());
    expect(std::abs(static_cast<double>(best) - sorted[0]) <= off, k, what, 0, d);
    expect(std::abs(static_cast<double>(second) - sorted[1]) <= off, k, what, 0, d);
    expect(scores[static_cast<size_t>(label)] >= sorted[0] - 2.0 * off, k, what, 0, d);
  }
};

// Points of small integers, whose sums in fp32 are exact, so that many are equal, or of any size.
void test_columns(const Kernels& k, int64_t d) {
  constexpr int64_t kCount = 64;
  const bool exact = below(2) == 0;
  const int64_t columns = 4 + 2 * below(11);
  const float none = -std::numeric_limits<float>::infinity();
  const auto floats = [exact](int64_t count) {
    std::vector<float> out(static_cast<size_t>(count));
    const auto bytes = made(0, count, false);
    std::memcpy(out.data(), bytes.data(), bytes.size());
    for (float& value : out) value = exact ? static_cast<float>(below(5) - 2) : value;
    return out;
  };
  const auto x = floats(kCount * d), c = floats(columns * d), y = floats(kCount * d);
  auto offset = floats(columns);
  offset.back() = none;
  std::vector<float> best(kCount), second(kCount), products(kCount * static_cast<size_t>(columns));
  std::vector<int32_t> label(kCount), found(products.size());
  std::vector<double> inner(kCount), others(kCount);
  k.top_two(x.data(), kCount, d, c.data(), offset.data(), columns, best.data(), second.data(),
            label.data());
  k.column_dots(x.data(), y.data(), kCount, d, inner.data());
  std::vector<float> floor(second);
  std::fill(floor.begin() + 40, floor.end(), -none);
  const int32_t near =
      k.top_near(x.data(), kCount, d, c.data(), offset.data(), columns, floor.data(), found.data());
  expect(std::is_sorted(found.begin(), found.begin() + near), k, "order of top_near", 0, d);
  for (int64_t i = 0; i < kCount; ++i) {
    std::vector<double> row, other, scores;
    double off = 0.0;
    for (int64_t e = 0; e < d; ++e) row.push_back(static_cast<double>(x[e * kCount + i]));
    for (int64_t e = 0; e < d; ++e) other.push_back(static_cast<double>(y[e * kCount + i]));
    expect(same_bits(inner[i], truth(row, other)), k, "column_dots", 0, d);
    for (int64_t q = 0; q < columns; ++q) {
      double sum = static_cast<double>(offset[q]), size = q + 1 < columns ? std::abs(sum) : 0.0;
      for (int64_t e = 0; e < d; ++e) {
        const double product = row[e] * static_cast<double>(c[q * d + e]);
        sum += product;
        size += std::abs(product);
      }
      scores.push_back(sum);
      off = std::max(off, exact ? 0.0 : static_cast<double>(d + 2) * kUnit * size);
      products[q * kCount + i] = static_cast<float>(sum - static_cast<double>(offset[q]));
      if (q + 1 == columns) products[q * kCount + i] = 1.0f;
      const int32_t place = static_cast<int32_t>(q * kCount + i);
      const bool listed = std::binary_search(found.begin(), found.begin() + near, place);
      const double above = sum - static_cast<double>(floor[i]);
      expect(listed || above < off || above < 0.0, k, "top_near", 0, d);
      expect(!listed || above >= -off, k, "more of top_near", 0, d);
    }
    TopTwo{best[i], second[i], label[i]}.check(k, scores, off, "top_two", d);
  }
  // The same scores, given: exactly the two highest.
  k.top_two_products(products.data(), kCount, offset.data(), columns, best.data(), second.data(),
                     label.data());
  const int64_t padded = (columns + 15) / 16 * 16;
  offset.resize(static_cast<size_t>(padded), none);
  for (int64_t i = 0; i < kCount; ++i) {
    std::vector<float> sums(static_cast<size_t>(padded), 1.0f);
    std::vector<double> scores;
    for (int64_t q = 0; q < columns; ++q) {
      sums[q] = products[q * kCount + i];
      scores.push_back(static_cast<double>(sums[q] + offset[q]));
    }
    TopTwo{best[i], second[i], label[i]}.check(k, scores, 0.0, "top_two_products", d);
    TopTwo top{};
    k.top_two_sums(sums.data(), offset.data(), padded, &top.best, &top.second, &top.label);
    top.check(k, scores, 0.0, "top_two_sums", d);
    for (int64_t q = 0; q < columns; ++q) {
      expect(same_bits(static_cast<double>(sums[q]), scores[q]), k, "sums of top_two_sums", 0, d);
    }
  }
  // Zeros, and quotients that are cut.
  std::vector<double> xx, wanted;
  for (int64_t i = 0; i < d; ++i) {
    inner[i % kCount] = static_cast<double>(x[i]) * (below(3) == 0 ? 40.0 : 1.0);
  }
  for (int64_t i = 0; i < kCount; ++i) {
    xx.push_back(below(5) == 0 ? 0.0 : std::abs(static_cast<double>(x[i])) + 1e-3);
    others[i] = below(5) == 0 ? 0.0 : std::abs(static_cast<double>(y[i])) + 1e-3;
    wanted.push_back(cosine(inner[i], xx[i], others[i]));
  }
  const int64_t some = 1 + below(kCount);
  k.cosines(xx.data(), others.data(), some, inner.data());
  for (int64_t i = 0; i < some; ++i) {
    expect(same_bits(inner[i], wanted[i]), k, "cosines", 0, d);
  }
}

void test(const Kernels& k) {
  for (int64_t d = 1; d <= kNarrow; ++d) {
    for (int repeat = 0; repeat < 20; ++repeat) {
      test_nearer(k, d, repeat % 2 == 1);
      test_next_near(k, d);
    }
  }
  for (int64_t d = 1; d <= kLongest; ++d) {
    for (int dtype = 0; dtype < kDTypes; ++dtype) {
      test_dots(k, dtype, d, false);
      test_dots(k, dtype, d, true);
      test_squares(k, dtype, d, false);
      test_squares(k, dtype, d, true);
      test_products(k, dtype, d, false);
      test_products(k, dtype, d, true);
      test_rows(k, dtype, d);
    }
    test_lower(k, d);
    test_add(k, d);
    test_quantise(k, d);
    test_fine(k, d);
    test_multiply(k, d);
    test_multiply_blocks(k, d);
    test_best(k, d);
    for (int repeat = 0; repeat < 4; ++repeat) test_columns(k, d);
  }
  for (const int64_t d : {255, 256, 257, 400, 512}) test_multiply_blocks(k, d);
  for (const int64_t d : {255, 256, 257, 264, 290}) {  // as long as short rows are, and longer
    for (int dtype = 0; dtype < kDTypes; ++dtype) {
      test_dots(k, dtype, d, true);
      test_squares(k, dtype, d, true);
      test_products(k, dtype, d, true);
    }
  }
  for (int64_t width = 4; width <= kLongest; width += 4) {
    for (int repeat = 0; repeat < 4; ++repeat) {
      test_screen(k, width, repeat % 2 == 1);
      test_refine(k, width, repeat % 2 == 1);
      test_byte_dots(k, width, repeat % 2 == 1);
      test_refine_fine(k, width, repeat % 2 == 1);
    }
    test_scores(k, 4 * width);
    test_highest(k, 1 + width / 8);
    test_places(k);
    test_reach(k, 4 * width);
  }
  std::printf("%s\n", k.name);
}

}  // namespace
}  // namespace meddel

int main() {
  for (const std::string& isa : meddel::available_isas()) {
    meddel::use_isa(isa);
    meddel::test(meddel::kernels());
#if defined(MEDDEL_AVXVNNI_EVEX)
    if (isa == "avx512vnni") meddel::test(meddel::kAvxVnniEvexKernels);
#endif
  }
  return meddel::failures == 0 ? 0 : 1;
}

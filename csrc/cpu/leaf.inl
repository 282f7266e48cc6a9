// Bodies shared by the leaf files, included by each inside its own anonymous namespace after
// types.inl and what depends on the instruction set:
//   Lanes        eight doubles
//     zero_lanes(), load_lanes(p) (8 elements of any type, widened exactly),
//     multiply_add(a, b, sum), add_lanes(sum) as ((0+4)+(2+6))+((1+5)+(3+7))
//     root_lanes(x), the root of each
//     load_tail(p, count) of floats, with load_floats_tail, where MEDDEL_MASKED_LOADS is defined
//     fold_eight(a, b), fold_four(a, b), fold_two(a, b): add_lanes of eight rows at a time, where
//     MEDDEL_FOLDS is defined
//   Floats       one register of kFloats floats, with + - * and float * Floats
//     load_floats(p) (elements of any type, widened exactly), add_floats(x),
//     round_to_codes(x, code)  rounds within [-127, 127], writes them and returns them as floats
//   Sums         16 sums of 32 bits, for the columns of a block
//   Group        four codes of each of them
//     start_sums(y_start, x_start), load_group(y), add_products(sums, four, group),
//     add_chunk(sums, x, group) (64 bytes of x, four for each sum), add_sums(sums) (all sixteen),
//     common_bits(a, b), survivors(sums) (one bit for each that is >= 0), store_sums(sums, out),
//     list_survivors(sums, first, to) (their places after `first`, where 16 have room; returns
//     their number)
//   kScreenBlocks, kScreenBias, kTileFloats (vectors a tile of multiply), kCrossRows (rows a tile
//   of cross), kShortRows (short rows at a time)

// Arrays of registers stay in registers only where every index is a constant, early: GCC 12 stored
// each sum of multiply at every step otherwise (35 GFLOP/s instead of 118).
#define MEDDEL_UNROLL _Pragma("GCC unroll 16")

template <class T>
Lanes load_tail(const T* p, int64_t count) {
  T padded[8] = {};  // zeros: adding +0 to a sum that started at +0 never changes it
  for (int64_t i = 0; i < count; ++i) padded[i] = p[i];
  return load_lanes(padded);
}

#include "cpu/leaf_dots.inl"

// Sixteen floats: a sum of d terms kept in as many parts is off by about d / 16 roundings.
constexpr int kParts = 16 / kFloats;

struct Sixteen {
  Floats part[kParts];
};

template <class T>
Sixteen load16(const T* p) {
  Sixteen out;
  for (int v = 0; v < kParts; ++v) out.part[v] = load_floats(p + v * kFloats);
  return out;
}

// The last count < 16 elements, and zeros.
template <class T>
Sixteen load16_tail(const T* p, int64_t count) {
  T padded[16] = {};
  for (int64_t i = 0; i < count; ++i) padded[i] = p[i];
  return load16(padded);
}

#if defined(MEDDEL_MASKED_LOADS)
inline Sixteen load16_tail(const Float32* p, int64_t count) {
  return {{load_floats_tail(p, count)}};
}
#endif

inline const Float32* elements(const float* x) { return reinterpret_cast<const Float32*>(x); }

template <class T>
void widen_row(const void* x_data, int64_t d, float* out) {
  const T* x = static_cast<const T*>(x_data);
  const int64_t whole = d & ~int64_t{15};
  for (int64_t i = 0; i < whole; i += 16) {
    const Sixteen values = load16(x + i);
    __builtin_memcpy(out + i, &values, sizeof values);
  }
  for (int64_t i = whole; i < d; ++i) out[i] = widen(x[i]);
}

void add(const float* x, int64_t d, double divisor, double* sum) {
  if (divisor == 1.0) {
    for (int64_t i = 0; i < d; ++i) sum[i] += static_cast<double>(x[i]);
  } else {
    for (int64_t i = 0; i < d; ++i) sum[i] += static_cast<double>(x[i]) / divisor;
  }
}

inline void add_product(Sixteen& sum, const Sixteen& a, const Sixteen& b) {
  for (int v = 0; v < kParts; ++v) sum.part[v] += a.part[v] * b.part[v];
}

inline float add16(const Sixteen& sum) {
  Floats total = sum.part[0];
  for (int v = 1; v < kParts; ++v) total += sum.part[v];
  return add_floats(total);
}

inline Sixteen point16(const Sixteen& x, float scale, const Sixteen& centre, float* out) {
  Sixteen rest;
  for (int v = 0; v < kParts; ++v) {
    rest.part[v] = x.part[v] * scale - centre.part[v];
    __builtin_memcpy(out + v * kFloats, &rest.part[v], sizeof(Floats));
  }
  return rest;
}

template <class T>
float point(const void* x_data, int64_t d, float scale, const float* centre, float* out) {
  const T* x = static_cast<const T*>(x_data);
  const int64_t whole = d & ~int64_t{15};
  Sixteen sum = {};
  for (int64_t i = 0; i < whole; i += 16) {
    const Sixteen rest = point16(load16(x + i), scale, load16(elements(centre + i)), out + i);
    add_product(sum, rest, rest);
  }
  if (whole < d) {
    const int64_t count = d - whole;
    float last[16];
    const Sixteen rest = point16(load16_tail(x + whole, count), scale,
                                 load16_tail(elements(centre + whole), count), last);
    add_product(sum, rest, rest);
    __builtin_memcpy(out + whole, last, static_cast<size_t>(count) * sizeof(float));
  }
  return add16(sum);
}

inline Sixteen quantise16(const Sixteen& x, float step, float inverse, int8_t* code) {
  Sixteen rest;
  for (int v = 0; v < kParts; ++v) {
    rest.part[v] = x.part[v] - step * round_to_codes(x.part[v] * inverse, code + v * kFloats);
  }
  return rest;
}

float quantise(const float* x, int64_t d, float step, int8_t* code) {
  const float inverse = 1.0f / step;
  const int64_t whole = d & ~int64_t{15};
  Sixteen sum = {};
  for (int64_t i = 0; i < whole; i += 16) {
    const Sixteen rest = quantise16(load16(elements(x + i)), step, inverse, code + i);
    add_product(sum, rest, rest);
  }
  if (whole < d) {
    const int64_t count = d - whole;
    int8_t last[16];
    const Sixteen rest = quantise16(load16_tail(elements(x + whole), count), step, inverse, last);
    add_product(sum, rest, rest);
    __builtin_memcpy(code + whole, last, static_cast<size_t>(count));
  }
  return add16(sum);
}

// An IEEE number is infinite or NaN when all bits of its exponent are set.
template <class T, class Bits, Bits kExponent>
bool finite(const void* x_data, int64_t d) {
  const T* x = static_cast<const T*>(x_data);
  Bits most = 0;
  for (int64_t i = 0; i < d; ++i) {
    Bits bits;
    __builtin_memcpy(&bits, x + i, sizeof bits);
    bits &= kExponent;
    most = bits > most ? bits : most;
  }
  return most != kExponent;
}

bool always_finite(const void*, int64_t) { return true; }

// Tiles of 4 or 8 rows and as many columns as the registers hold. Where there is `more` to come to
// what is there, they go on from that.
template <int kRows, int kVectors>
void multiply_tile(const float* x, int64_t ld, const float* y, int64_t inner, int64_t columns,
                   float* out, int64_t stride, bool more) {
  Floats sum[kRows][kVectors];
  MEDDEL_UNROLL for (int r = 0; r < kRows; ++r) {
    MEDDEL_UNROLL for (int v = 0; v < kVectors; ++v) {
      sum[r][v] = Floats{};
      if (more) __builtin_memcpy(&sum[r][v], out + r * stride + v * kFloats, sizeof(Floats));
    }
  }
  for (int64_t i = 0; i < inner; ++i) {
    Floats row[kVectors];
    MEDDEL_UNROLL for (int v = 0; v < kVectors; ++v) {
      row[v] = load_floats(elements(y + i * columns + v * kFloats));
    }
    MEDDEL_UNROLL for (int r = 0; r < kRows; ++r) {
      MEDDEL_UNROLL for (int v = 0; v < kVectors; ++v) sum[r][v] += x[r * ld + i] * row[v];
    }
  }
  MEDDEL_UNROLL for (int r = 0; r < kRows; ++r) {
    MEDDEL_UNROLL for (int v = 0; v < kVectors; ++v) {
      __builtin_memcpy(out + r * stride + v * kFloats, &sum[r][v], sizeof(Floats));
    }
  }
}

template <int kVectors>
void multiply_columns(const float* x, int64_t ld, int64_t rows, const float* y, int64_t inner,
                      int64_t columns, float* out, int64_t stride, bool more) {
  constexpr int kRows = kVectors * kFloats <= 32 && kFloats == 16 ? 8 : 4;
  int64_t r = 0;
  for (; r + kRows <= rows; r += kRows) {
    multiply_tile<kRows, kVectors>(x + r * ld, ld, y, inner, columns, out + r * stride, stride,
                                   more);
  }
  for (; r < rows; ++r) {
    multiply_tile<1, kVectors>(x + r * ld, ld, y, inner, columns, out + r * stride, stride, more);
  }
}

inline void multiply_to(const float* x, int64_t ld, int64_t rows, const float* y, int64_t inner,
                        int64_t columns, float* out, int64_t stride, bool more) {
  constexpr int64_t kTile = kTileFloats * kFloats;
  int64_t c = 0;
  for (; c + kTile <= columns; c += kTile) {
    multiply_columns<kTileFloats>(x, ld, rows, y + c, inner, columns, out + c, stride, more);
  }
  if constexpr (kTile == 64) {  // three, two or one vector
    const int64_t rest = columns - c;
    if (rest == 48) multiply_columns<3>(x, ld, rows, y + c, inner, columns, out + c, stride, more);
    if (rest == 32) multiply_columns<2>(x, ld, rows, y + c, inner, columns, out + c, stride, more);
    if (rest == 16) multiply_columns<1>(x, ld, rows, y + c, inner, columns, out + c, stride, more);
  }
}

void multiply(const float* x, int64_t ld, int64_t rows, const float* y, int64_t inner,
              int64_t columns, float* out) {
  multiply_to(x, ld, rows, y, inner, columns, out, columns, false);
}

void multiply_blocks(const float* x, int64_t ld, int64_t rows, const float* y, int64_t inner,
                     int64_t blocks, float* out, int64_t stride) {
  constexpr int64_t kSome = 128;  // elements of a block, which stay in L1 for all rows
  for (int64_t b = 0; b < blocks; ++b) {
    for (int64_t i = 0; i < inner; i += kSome) {
      const int64_t count = inner - i < 2 * kSome ? inner - i : kSome;
      multiply_to(x + i, ld, rows, y + (b * inner + i) * kPacked, count, kPacked, out + b * kPacked,
                  stride, i > 0);
      if (count != kSome) break;
    }
  }
}

// A register of floats, or of integers, that compilers know how to compare.
typedef float Wide __attribute__((vector_size(4 * kFloats)));
typedef int32_t WideInts __attribute__((vector_size(4 * kFloats)));

#include "cpu/leaf_screen.inl"

// Inner products in fp32, in any order: for bounds, not for results. Four sums of sixteen at a
// time, whether of four rows or of one, fill the pipe.
template <class T, int kRows>
void rough_rows(const T* x, const T* y, int64_t ld, const int64_t* rows, int64_t d, float* out) {
  constexpr int kSums = 4 / kRows;
  const T* row[kRows];
  for (int k = 0; k < kRows; ++k) row[k] = y + rows[k] * ld;
  Sixteen sum[kRows][kSums] = {};
  int64_t i = 0;
  for (; i + 16 * kSums <= d; i += 16 * kSums) {
    for (int s = 0; s < kSums; ++s) {
      const Sixteen a = load16(x + i + 16 * s);
      for (int k = 0; k < kRows; ++k) add_product(sum[k][s], a, load16(row[k] + i + 16 * s));
    }
  }
  for (; i + 16 <= d; i += 16) {
    const Sixteen a = load16(x + i);
    for (int k = 0; k < kRows; ++k) add_product(sum[k][0], a, load16(row[k] + i));
  }
  if (i < d) {
    const Sixteen a = load16_tail(x + i, d - i);
    for (int k = 0; k < kRows; ++k) add_product(sum[k][0], a, load16_tail(row[k] + i, d - i));
  }
  for (int k = 0; k < kRows; ++k) {
    for (int s = 1; s < kSums; ++s) {
      for (int v = 0; v < kParts; ++v) sum[k][0].part[v] += sum[k][s].part[v];
    }
    out[k] = add16(sum[k][0]);
  }
}

template <class T>
void rough_dots(const void* x_data, const void* y_data, int64_t ld, const int64_t* rows,
                int64_t count, int64_t d, float* out) {
  const T* x = static_cast<const T*>(x_data);
  const T* y = static_cast<const T*>(y_data);
  int64_t c = 0;
  for (; c + 4 <= count; c += 4) rough_rows<T, 4>(x, y, ld, rows + c, d, out + c);
  if (c + 3 == count) rough_rows<T, 3>(x, y, ld, rows + c, d, out + c);
  if (c + 2 == count) rough_rows<T, 2>(x, y, ld, rows + c, d, out + c);
  if (c + 1 == count) rough_rows<T, 1>(x, y, ld, rows + c, d, out + c);
}

#include "cpu/leaf_boxes.inl"
#include "cpu/leaf_columns.inl"

float best(float* sums, const float* factor, const float* offset, int64_t columns) {
  Wide most = {};
  most -= __builtin_inff();
  for (int64_t c = 0; c < columns; c += kFloats) {
    Wide sum, scale, more;
    __builtin_memcpy(&sum, sums + c, sizeof sum);
    __builtin_memcpy(&scale, factor + c, sizeof scale);
    __builtin_memcpy(&more, offset + c, sizeof more);
    sum = sum * scale + more;
    __builtin_memcpy(sums + c, &sum, sizeof sum);
    most = sum > most ? sum : most;
  }
  float out = most[0];
  for (int j = 1; j < kFloats; ++j) out = most[j] > out ? most[j] : out;
  return out;
}

constexpr Kernels make_kernels(const char* name) {
  return {
      name,
      {dot<Float32>, dot<Float16>, dot<BFloat16>, dot<Int8>},
      {dots<Float32>, dots<Float16>, dots<BFloat16>, dots<Int8>},
      {squares<Float32>, squares<Float16>, squares<BFloat16>, squares<Int8>},
      {measure<Float32>, measure<Float16>, measure<BFloat16>, measure<Int8>},
      {pair_dots<Float32>, pair_dots<Float16>, pair_dots<BFloat16>, pair_dots<Int8>},
      {cross<Float32>, cross<Float16>, cross<BFloat16>, cross<Int8>},
      {widen_row<Float32>, widen_row<Float16>, widen_row<BFloat16>, widen_row<Int8>},
      add,
      {point<Float32>, point<Float16>, point<BFloat16>, point<Int8>},
      {finite<Float32, uint32_t, 0x7f800000u>, finite<Float16, uint16_t, 0x7c00>,
       finite<BFloat16, uint16_t, 0x7f80>, always_finite},
      quantise,
      multiply,
      multiply_blocks,
      {rough_dots<Float32>, rough_dots<Float16>, rough_dots<BFloat16>, rough_dots<Int8>},
      best,
      screen,
      scores,
      refine,
      fine_codes,
      fine_dots,
      refine_fine,
      byte_dots,
      highest,
      highest_apart,
      kth_highest,
      places,
      at_least,
      reach,
      {nearer<1>, nearer<2>, nearer<3>, nearer<4>, nearer<5>, nearer<6>, nearer<7>, nearer<8>},
      {next_near<1>, next_near<2>, next_near<3>, next_near<4>, next_near<5>, next_near<6>,
       next_near<7>, next_near<8>},
      lowest,
      lower,
      roots,
      top_two,
      top_two_products,
      top_two_sums,
      top_near,
      column_dots,
      cosines,
      kScreenBias,
  };
}

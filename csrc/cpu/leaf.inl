// Bodies shared by the leaf files, included by each inside its own anonymous namespace after
// types.inl and its own vector of eight doubles:
//   Lanes zero_lanes();
//   Lanes load_lanes(const Float32* / Float16* / BFloat16* / Int8* p);   8 elements, widened
//   exactly Lanes multiply_add(Lanes a, Lanes b, Lanes sum); double add_lanes(Lanes sum);
//   ((0+4)+(2+6))+((1+5)+(3+7))

template <class T>
Lanes load_tail(const T* p, int64_t count) {
  T padded[8] = {};  // zeros: adding +0 to a sum that started at +0 never changes it
  for (int64_t i = 0; i < count; ++i) padded[i] = p[i];
  return load_lanes(padded);
}

template <class T>
double dot(const void* x_data, const void* y_data, int64_t d) {
  const T* x = static_cast<const T*>(x_data);
  const T* y = static_cast<const T*>(y_data);
  const int64_t whole = d & ~int64_t{7};
  Lanes sum = zero_lanes();
  for (int64_t i = 0; i < whole; i += 8) {
    sum = multiply_add(load_lanes(x + i), load_lanes(y + i), sum);
  }
  if (whole < d) {
    sum = multiply_add(load_tail(x + whole, d - whole), load_tail(y + whole, d - whole), sum);
  }
  return add_lanes(sum);
}

// Four rows at a time: the sum of one row is a chain of dependent additions (4 cycles each on
// current x86), four chains fill the pipe and share the widening of x.
template <class T>
void dots(const void* x_data, const void* y_data, int64_t ld, const int64_t* rows, int64_t count,
          int64_t d, double* out) {
  const T* x = static_cast<const T*>(x_data);
  const T* y = static_cast<const T*>(y_data);
  const auto at = [rows](int64_t c) { return rows == nullptr ? c : rows[c]; };
  const int64_t whole = d & ~int64_t{7};
  int64_t c = 0;
  for (; c + 4 <= count; c += 4) {
    const T* y0 = y + at(c) * ld;
    const T* y1 = y + at(c + 1) * ld;
    const T* y2 = y + at(c + 2) * ld;
    const T* y3 = y + at(c + 3) * ld;
    Lanes s0 = zero_lanes(), s1 = zero_lanes(), s2 = zero_lanes(), s3 = zero_lanes();
    for (int64_t i = 0; i < whole; i += 8) {
      const Lanes a = load_lanes(x + i);
      s0 = multiply_add(a, load_lanes(y0 + i), s0);
      s1 = multiply_add(a, load_lanes(y1 + i), s1);
      s2 = multiply_add(a, load_lanes(y2 + i), s2);
      s3 = multiply_add(a, load_lanes(y3 + i), s3);
    }
    if (whole < d) {
      const int64_t rest = d - whole;
      const Lanes a = load_tail(x + whole, rest);
      s0 = multiply_add(a, load_tail(y0 + whole, rest), s0);
      s1 = multiply_add(a, load_tail(y1 + whole, rest), s1);
      s2 = multiply_add(a, load_tail(y2 + whole, rest), s2);
      s3 = multiply_add(a, load_tail(y3 + whole, rest), s3);
    }
    out[c] = add_lanes(s0);
    out[c + 1] = add_lanes(s1);
    out[c + 2] = add_lanes(s2);
    out[c + 3] = add_lanes(s3);
  }
  for (; c < count; ++c) out[c] = dot<T>(x, y + at(c) * ld, d);
}

template <class T>
void widen_row(const void* x_data, int64_t d, float* out) {
  const T* x = static_cast<const T*>(x_data);
  for (int64_t i = 0; i < d; ++i) out[i] = widen(x[i]);
}

template <class T>
void scale_row(const void* x_data, int64_t d, double scale, float* out) {
  const T* x = static_cast<const T*>(x_data);
  for (int64_t i = 0; i < d; ++i) {
    out[i] = static_cast<float>(static_cast<double>(widen(x[i])) * scale);
  }
}

void quantise16(const float* x, float step, float inverse, int8_t* code, float* square) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves no fraction
  for (int j = 0; j < 16; ++j) {
    float q = x[j] * inverse;
    q = q < -127.0f ? -127.0f : q;
    q = q > 127.0f ? 127.0f : q;
    q = (q + kRound) - kRound;
    code[j] = static_cast<int8_t>(static_cast<int32_t>(q));
    const float rest = x[j] - step * q;
    square[j] += rest * rest;
  }
}

float quantise(const float* x, int64_t d, float step, int8_t* code) {
  const float inverse = 1.0f / step;
  const int64_t whole = d & ~int64_t{15};
  float square[16] = {};
  for (int64_t i = 0; i < whole; i += 16) quantise16(x + i, step, inverse, code + i, square);
  if (whole < d) {
    float last[16] = {};
    int8_t integers[16];
    for (int64_t i = whole; i < d; ++i) last[i - whole] = x[i];
    quantise16(last, step, inverse, integers, square);
    for (int64_t i = whole; i < d; ++i) code[i] = integers[i - whole];
  }
  float sum = 0.0f;
  for (int j = 0; j < 16; ++j) sum += square[j];
  return sum;
}

// An IEEE number is infinite or NaN when all bits of its exponent are set.
template <class T, class Bits, Bits kExponent>
bool finite(const void* x_data, int64_t d) {
  const T* x = static_cast<const T*>(x_data);
  bool bad = false;
  for (int64_t i = 0; i < d; ++i) {
    Bits bits;
    __builtin_memcpy(&bits, x + i, sizeof bits);
    bad |= (bits & kExponent) == kExponent;
  }
  return !bad;
}

bool always_finite(const void*, int64_t) { return true; }

// Tiles of 4 x kTileVectors vectors of 16 floats: as many as the registers hold.
template <int kRows, int kVectors>
void multiply_tile(const float* x, int64_t ld, const float* y, int64_t inner, int64_t columns,
                   float* out) {
  Floats sum[kRows][kVectors] = {};
  for (int64_t i = 0; i < inner; ++i) {
    Floats row[kVectors];
    __builtin_memcpy(row, y + i * columns, sizeof row);
    for (int r = 0; r < kRows; ++r) {
      for (int v = 0; v < kVectors; ++v) sum[r][v] += x[r * ld + i] * row[v];
    }
  }
  for (int r = 0; r < kRows; ++r) __builtin_memcpy(out + r * columns, sum[r], sizeof sum[r]);
}

template <int kVectors>
void multiply_columns(const float* x, int64_t ld, int64_t rows, const float* y, int64_t inner,
                      int64_t columns, float* out) {
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4) {
    multiply_tile<4, kVectors>(x + r * ld, ld, y, inner, columns, out + r * columns);
  }
  for (; r < rows; ++r) {
    multiply_tile<1, kVectors>(x + r * ld, ld, y, inner, columns, out + r * columns);
  }
}

void multiply(const float* x, int64_t ld, int64_t rows, const float* y, int64_t inner,
              int64_t columns, float* out) {
  int64_t c = 0;
  for (; c + 16 * kTileVectors <= columns; c += 16 * kTileVectors) {
    multiply_columns<kTileVectors>(x, ld, rows, y + c, inner, columns, out + c);
  }
  for (; c < columns; c += 16) multiply_columns<1>(x, ld, rows, y + c, inner, columns, out + c);
}

// The surviving columns of one row in one block of 16, from a mask of one bit each.
inline void append_columns(uint32_t mask, int64_t block, uint16_t* columns, int32_t& count) {
  while (mask != 0) {
    columns[count++] = static_cast<uint16_t>(block * 16 + __builtin_ctz(mask));
    mask &= mask - 1;
  }
}

// screen_tile<kBlocks>, of the leaf file, tests 4 rows against kBlocks blocks. The blocks stay in
// L1 for all rows.
void screen(const uint8_t* x, const int32_t* x_start, int64_t rows, const int8_t* y,
            const int32_t* y_start, int64_t blocks, int64_t width, uint16_t* columns,
            int64_t stride, int32_t* counts) {
  for (int64_t r = 0; r < rows; ++r) counts[r] = 0;
  int64_t b = 0;
  for (; b + kScreenBlocks <= blocks; b += kScreenBlocks) {
    for (int64_t r = 0; r < rows; r += 4) {
      screen_tile<kScreenBlocks>(x + r * width, x_start + r, y + b * 16 * width, y_start + b * 16,
                                 width, b, columns + r * stride, stride, counts + r);
    }
  }
  for (; b < blocks; ++b) {
    for (int64_t r = 0; r < rows; r += 4) {
      screen_tile<1>(x + r * width, x_start + r, y + b * 16 * width, y_start + b * 16, width, b,
                     columns + r * stride, stride, counts + r);
    }
  }
}

// Inner products in fp32, in any order: for bounds, not for results.
template <class T>
void rough_dots(const void* x_data, const void* y_data, int64_t ld, const int64_t* rows,
                int64_t count, int64_t d, float* out) {
  const T* x = static_cast<const T*>(x_data);
  const T* y = static_cast<const T*>(y_data);
  for (int64_t c = 0; c < count; c += 4) {
    const T* row[4];
    for (int k = 0; k < 4; ++k) row[k] = y + rows[c + k < count ? c + k : c] * ld;
    Floats sum[4] = {};
    int64_t i = 0;
    for (; i + 16 <= d; i += 16) {
      const Floats a = widen16(x + i);
      for (int k = 0; k < 4; ++k) sum[k] += a * widen16(row[k] + i);
    }
    for (int k = 0; k < 4 && c + k < count; ++k) {
      float total = 0.0f;
      for (int j = 0; j < 16; ++j) total += sum[k][j];
      for (int64_t t = i; t < d; ++t) total += widen(x[t]) * widen(row[k][t]);
      out[c + k] = total;
    }
  }
}

constexpr Kernels make_kernels(const char* name) {
  return {
      name,
      {dot<Float32>, dot<Float16>, dot<BFloat16>, dot<Int8>},
      {dots<Float32>, dots<Float16>, dots<BFloat16>, dots<Int8>},
      {widen_row<Float32>, widen_row<Float16>, widen_row<BFloat16>, widen_row<Int8>},
      {scale_row<Float32>, scale_row<Float16>, scale_row<BFloat16>, scale_row<Int8>},
      {finite<Float32, uint32_t, 0x7f800000u>, finite<Float16, uint16_t, 0x7c00>,
       finite<BFloat16, uint16_t, 0x7f80>, always_finite},
      quantise,
      multiply,
      {rough_dots<Float32>, rough_dots<Float16>, rough_dots<BFloat16>, rough_dots<Int8>},
      screen,
      kScreenBias,
  };
}

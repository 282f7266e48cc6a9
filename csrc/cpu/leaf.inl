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

constexpr Kernels make_kernels(const char* name) {
  return {
      name,
      {dot<Float32>, dot<Float16>, dot<BFloat16>, dot<Int8>},
      {dots<Float32>, dots<Float16>, dots<BFloat16>, dots<Int8>},
      {widen_row<Float32>, widen_row<Float16>, widen_row<BFloat16>, widen_row<Int8>},
      {finite<Float32, uint32_t, 0x7f800000u>, finite<Float16, uint16_t, 0x7c00>,
       finite<BFloat16, uint16_t, 0x7f80>, always_finite},
  };
}

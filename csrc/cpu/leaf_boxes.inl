// Points of a few elements in columns, of leaf.inl, which includes this: their distances to a
// centre, and centres beside a box of them. kD, their width, is known to the compiler.

// Vectors as wide as a register.
typedef double Doubles __attribute__((vector_size(4 * kFloats)));
typedef float Halves __attribute__((vector_size(2 * kFloats)));
typedef float Wide __attribute__((vector_size(4 * kFloats)));

// ((0+4)+(2+6))+((1+5)+(3+7)) of those that there are: the others would add +0.
template <int kD>
inline Doubles add_columns(const Doubles* x) {
  Doubles even = x[0];
  if constexpr (kD > 4) even += x[4];
  if constexpr (kD > 2) {
    Doubles other = x[2];
    if constexpr (kD > 6) other += x[6];
    even += other;
  }
  if constexpr (kD > 1) {
    Doubles odd = x[1];
    if constexpr (kD > 5) odd += x[5];
    if constexpr (kD > 3) {
      Doubles other = x[3];
      if constexpr (kD > 7) other += x[7];
      odd += other;
    }
    even += odd;
  }
  return even;
}

template <int kD>
double nearer(const float* x, const double* squares, int64_t count, const float* centre,
              double square, double* nearest) {
  constexpr int kDoubles = kFloats / 2;
  const Doubles zero = {};
  double wide[kD];
  MEDDEL_UNROLL for (int e = 0; e < kD; ++e) wide[e] = static_cast<double>(centre[e]);
  Doubles most = zero - 1.0;
  for (int64_t i = 0; i < count; i += kDoubles) {
    Doubles products[kD], own, old;
    MEDDEL_UNROLL for (int e = 0; e < kD; ++e) {
      Halves half;
      __builtin_memcpy(&half, x + e * count + i, sizeof half);
      products[e] = __builtin_convertvector(half, Doubles) * wide[e];
    }
    __builtin_memcpy(&own, squares + i, sizeof own);
    __builtin_memcpy(&old, nearest + i, sizeof old);
    Doubles far = (own + square) - 2.0 * add_columns<kD>(products);
    far = far > zero ? far : zero;
    old = far < old ? far : old;
    __builtin_memcpy(nearest + i, &old, sizeof old);
    most = old > most ? old : most;
  }
  double largest = most[0];
  for (int j = 1; j < kDoubles; ++j) largest = most[j] > largest ? most[j] : largest;
  return largest;
}

template <int kD>
int64_t next_near(const float* low, const float* high, const float* centres, int64_t begin,
                  int64_t end, float limit) {
  const Wide zero = {};
  for (int64_t first = begin & ~int64_t{15}; first < end; first += 16) {
    const float* block = centres + first * (kD + 1);
    int32_t beyond[16];
    MEDDEL_UNROLL for (int v = 0; v < kParts; ++v) {
      Wide sum = zero, room;
      MEDDEL_UNROLL for (int e = 0; e < kD; ++e) {
        Wide c;
        __builtin_memcpy(&c, block + 16 * e + v * kFloats, sizeof c);
        const Wide above = c - high[e], below = low[e] - c;
        Wide gap = above > below ? above : below;
        gap = gap > zero ? gap : zero;
        sum += gap * gap;
      }
      __builtin_memcpy(&room, block + 16 * kD + v * kFloats, sizeof room);
      const auto farther = sum > room + limit;  // -1 where it holds, so that its sign is set
      __builtin_memcpy(beyond + v * kFloats, &farther, sizeof farther);
    }
    uint32_t near = survivors(start_sums(beyond, 0));
    if (first < begin) near &= 0xffffu << (begin - first);
    if (near == 0) continue;
    const int64_t found = first + __builtin_ctz(near);
    return found < end ? found : end;
  }
  return end;
}

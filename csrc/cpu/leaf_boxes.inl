// k-center's loops, of leaf.inl, which includes this: distances from inner products; and points of
// a few elements in columns, their distances to a centre, and centres beside a box of them. kD,
// their width, is known to the compiler.

// Vectors as wide as a register.
constexpr int kDoubles = kFloats / 2;
typedef double Doubles __attribute__((vector_size(4 * kFloats)));

struct Eight {
  Doubles part[8 / kDoubles];
};

inline Eight load8(const float* p) {
  const Lanes lanes = load_lanes(elements(p));
  Eight out;
  __builtin_memcpy(&out, &lanes, sizeof out);
  return out;
}

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

// Twice the centre, as that changes no rounding: the products' sum is then 2 <x, y>.
template <int kD>
double nearer(const float* x, const double* squares, int64_t count, const float* centre,
              double square, double* nearest) {
  const Doubles zero = {};
  double twice[kD];
  MEDDEL_UNROLL for (int e = 0; e < kD; ++e) twice[e] = 2.0 * static_cast<double>(centre[e]);
  Eight most;
  MEDDEL_UNROLL for (int v = 0; v < 8 / kDoubles; ++v) most.part[v] = zero - 1.0;
  for (int64_t i = 0; i < count; i += 8) {
    Eight elements8[kD];
    MEDDEL_UNROLL for (int e = 0; e < kD; ++e) elements8[e] = load8(x + e * count + i);
    MEDDEL_UNROLL for (int v = 0; v < 8 / kDoubles; ++v) {
      Doubles products[kD], own, old;
      MEDDEL_UNROLL for (int e = 0; e < kD; ++e) products[e] = elements8[e].part[v] * twice[e];
      __builtin_memcpy(&own, squares + i + v * kDoubles, sizeof own);
      __builtin_memcpy(&old, nearest + i + v * kDoubles, sizeof old);
      Doubles far = (own + square) - add_columns<kD>(products);
      far = far > zero ? far : zero;
      old = far < old ? far : old;
      __builtin_memcpy(nearest + i + v * kDoubles, &old, sizeof old);
      most.part[v] = old > most.part[v] ? old : most.part[v];
    }
  }
  double each[8];
  __builtin_memcpy(each, &most, sizeof each);
  for (int half = 4; half > 0; half /= 2) {
    MEDDEL_UNROLL for (int j = 0; j < half; ++j) {
      each[j] = each[j] > each[j + half] ? each[j] : each[j + half];
    }
  }
  return each[0];
}

int64_t lowest(const double* nearest, const int32_t* rows, int64_t count, double value) {
  int64_t at = -1;
  for (int64_t i = 0; i < count; i += 8) {
    int32_t same[16];  // two of each, -1 where they are equal
    MEDDEL_UNROLL for (int v = 0; v < 8 / kDoubles; ++v) {
      Doubles some;
      __builtin_memcpy(&some, nearest + i + v * kDoubles, sizeof some);
      const auto equal = some == value;
      __builtin_memcpy(same + 2 * v * kDoubles, &equal, sizeof equal);
    }
    for (uint32_t mask = 0x5555 & ~survivors(start_sums(same, 0)); mask != 0; mask &= mask - 1) {
      const int64_t p = i + __builtin_ctz(mask) / 2;
      if (at < 0 || rows[p] < rows[at]) at = p;
    }
  }
  return at;
}

template <int kD>
int64_t next_near(const float* low, const float* high, const float* centres, int64_t begin,
                  int64_t end, float limit) {
  const Wide zero = {};
  for (int64_t first = begin & ~int64_t{15}; first < end; first += 16) {
    const float* block = centres + first * kD;
    int32_t beyond[16];
    MEDDEL_UNROLL for (int v = 0; v < kParts; ++v) {
      Wide sum = zero;
      MEDDEL_UNROLL for (int e = 0; e < kD; ++e) {
        Wide c;
        __builtin_memcpy(&c, block + 16 * e + v * kFloats, sizeof c);
        const Wide above = c - high[e], below = low[e] - c;
        Wide gap = above > below ? above : below;
        gap = gap > zero ? gap : zero;
        sum += gap * gap;
      }
      const auto farther = sum > limit;  // -1 where it holds, so that its sign is set
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

inline Eight read8(const double* p) {
  Eight out;
  __builtin_memcpy(&out, p, sizeof out);
  return out;
}

double lower(const double* inner, const double* squares, int64_t count, double square,
             double* nearest) {
  const Doubles zero = {};
  Eight most;
  MEDDEL_UNROLL for (int v = 0; v < 8 / kDoubles; ++v) most.part[v] = zero - 1.0;
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const Eight xy = read8(inner + i), own = read8(squares + i);
    Eight old = read8(nearest + i);
    MEDDEL_UNROLL for (int v = 0; v < 8 / kDoubles; ++v) {
      Doubles far = (own.part[v] + square) - 2.0 * xy.part[v];
      far = far > zero ? far : zero;
      old.part[v] = far < old.part[v] ? far : old.part[v];
      most.part[v] = old.part[v] > most.part[v] ? old.part[v] : most.part[v];
    }
    __builtin_memcpy(nearest + i, &old, sizeof old);
  }
  double each[8];
  __builtin_memcpy(each, &most, sizeof each);
  for (; i < count; ++i) {
    double far = (squares[i] + square) - 2.0 * inner[i];
    far = far > 0.0 ? far : 0.0;
    nearest[i] = far < nearest[i] ? far : nearest[i];
    each[0] = nearest[i] > each[0] ? nearest[i] : each[0];
  }
  for (int half = 4; half > 0; half /= 2) {
    MEDDEL_UNROLL for (int j = 0; j < half; ++j) {
      each[j] = each[j] > each[j + half] ? each[j] : each[j + half];
    }
  }
  return each[0];
}

void roots(double* values, int64_t count) {
  double last[8] = {};
  for (int64_t i = 0; i < count; i += 8) {
    const int64_t some = count - i < 8 ? count - i : 8;
    const bool whole = some == 8;
    if (!whole) __builtin_memcpy(last, values + i, static_cast<size_t>(some) * sizeof(double));
    double* const to = whole ? values + i : last;
    Eight x = read8(to);
    MEDDEL_UNROLL for (int v = 0; v < 8 / kDoubles; ++v) {
      x.part[v] = x.part[v] > Doubles{} ? x.part[v] : Doubles{};
    }
    Lanes lanes;
    __builtin_memcpy(&lanes, &x, sizeof lanes);
    lanes = root_lanes(lanes);
    __builtin_memcpy(to, &lanes, sizeof lanes);
    if (!whole) __builtin_memcpy(values + i, last, static_cast<size_t>(some) * sizeof(double));
  }
}

// The truth's inner products, of leaf.inl, which includes this.

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

// Adds up the lanes of each of kCount sums.
template <int kCount>
inline void add_each(const Lanes* sums, double* out) {
#if defined(MEDDEL_FOLDS)
  if constexpr (kCount == 8) {
    Lanes four[4];
    MEDDEL_UNROLL for (int k = 0; k < 4; ++k) four[k] = fold_eight(sums[2 * k], sums[2 * k + 1]);
    const Lanes all = fold_two(fold_four(four[0], four[1]), fold_four(four[2], four[3]));
    __builtin_memcpy(out, &all, sizeof all);
    return;
  }
#endif
  MEDDEL_UNROLL for (int k = 0; k < kCount; ++k) out[k] = add_lanes(sums[k]);
}

// Rows at a time: the sum of one row is a chain of dependent additions (4 cycles each on current
// x86), four chains fill the pipe and share the widening of x. Of short rows adding up the lanes
// takes longer than that: of eight at a time it takes less.
constexpr int64_t kShort = 256;

// Of adjacent rows, which are read side by side, what follows is fetched so far ahead, in the order
// in which it stands: from memory they come up to a third faster.
constexpr int64_t kFetchedAhead = 16384;

// The products of some rows with x (if kOther), in inner, and with themselves (if kOwn), in own;
// at(k) is where row k stands.
template <int kRows, bool kOther, bool kOwn, bool kAdjacent, class T, class At>
inline void some_rows(const T* x, const At& at, int64_t d, double* inner, double* own) {
  const int64_t whole = d & ~int64_t{7}, rest = d - whole;
  const T* y[kRows];
  Lanes sum[kRows], square[kRows];
  MEDDEL_UNROLL for (int k = 0; k < kRows; ++k) {
    y[k] = at(k);
    sum[k] = square[k] = zero_lanes();
  }
  constexpr int kBytes = 8 * kRows * sizeof(T);
  const char* ahead = reinterpret_cast<const char*>(y[0]) + kFetchedAhead;
  for (int64_t i = 0; i < whole; i += 8) {
    if (kAdjacent) {
      MEDDEL_UNROLL for (int line = 0; line < kBytes; line += 64) __builtin_prefetch(ahead + line);
      ahead += kBytes;
    }
    const Lanes a = kOther ? load_lanes(x + i) : zero_lanes();
    MEDDEL_UNROLL for (int k = 0; k < kRows; ++k) {
      const Lanes b = load_lanes(y[k] + i);
      if (kOther) sum[k] = multiply_add(a, b, sum[k]);
      if (kOwn) square[k] = multiply_add(b, b, square[k]);
    }
  }
  if (rest > 0) {
    const Lanes a = kOther ? load_tail(x + whole, rest) : zero_lanes();
    MEDDEL_UNROLL for (int k = 0; k < kRows; ++k) {
      const Lanes b = load_tail(y[k] + whole, rest);
      if (kOther) sum[k] = multiply_add(a, b, sum[k]);
      if (kOwn) square[k] = multiply_add(b, b, square[k]);
    }
  }
  if (kOther) add_each<kRows>(sum, inner);
  if (kOwn) add_each<kRows>(square, own);
}

// The same of all rows from c on.
template <bool kOther, bool kOwn, bool kAdjacent, class T, class At>
inline void all_rows(const T* x, const At& at, int64_t c, int64_t count, int64_t d, double* inner,
                     double* own) {
  const auto from_c = [&](int k) { return at(c + k); };
  for (; d <= kShort && c + kShortRows <= count; c += kShortRows) {
    some_rows<kShortRows, kOther, kOwn, kAdjacent>(x, from_c, d, inner + c, own + c);
  }
  for (; c + 4 <= count; c += 4) {
    some_rows<4, kOther, kOwn, kAdjacent>(x, from_c, d, inner + c, own + c);
  }
  for (; c < count; ++c) {
    if (kOther) inner[c] = dot<T>(x, at(c), d);
    if (kOwn) own[c] = dot<T>(at(c), at(c), d);
  }
}

template <bool kOther, bool kOwn, class T>
void first_rows(const T* x, const T* y, int64_t ld, int64_t c, int64_t count, int64_t d,
                double* inner, double* own) {
  const auto at = [=](int64_t row) { return y + row * ld; };
  if (ld == d) {
    all_rows<kOther, kOwn, true>(x, at, c, count, d, inner, own);
  } else {
    all_rows<kOther, kOwn, false>(x, at, c, count, d, inner, own);
  }
}

#if defined(MEDDEL_FOLDS)
// Adjacent rows of 1, 2 or 4 elements, 8 / kD of them to a register; multiply(lanes) returns the
// products of one. Returns how many rows it took: a multiple of 8.
template <int kD, class T, class Multiply>
int64_t packed_rows(const T* y, int64_t count, const Multiply& multiply, double* out) {
  int64_t c = 0;
  for (; c + 8 <= count; c += 8) {
    const T* from = y + c * kD;
    Lanes sum;
    if constexpr (kD == 1) {
      sum = multiply(load_lanes(from));
    } else if constexpr (kD == 2) {
      sum = fold_two(multiply(load_lanes(from)), multiply(load_lanes(from + 8)));
    } else {
      const Lanes a = fold_four(multiply(load_lanes(from)), multiply(load_lanes(from + 8)));
      const Lanes b = fold_four(multiply(load_lanes(from + 16)), multiply(load_lanes(from + 24)));
      sum = fold_two(a, b);
    }
    __builtin_memcpy(out + c, &sum, sizeof sum);
  }
  return c;
}

template <class T, class Multiply>
int64_t packed_rows(const T* y, int64_t count, int64_t d, const Multiply& multiply, double* out) {
  return d == 1   ? packed_rows<1>(y, count, multiply, out)
         : d == 2 ? packed_rows<2>(y, count, multiply, out)
                  : packed_rows<4>(y, count, multiply, out);
}

template <class T>
int64_t packed_dots(const T* x, const T* y, int64_t count, int64_t d, double* out) {
  T repeated[8];
  for (int64_t j = 0; j < 8; ++j) repeated[j] = x[j & (d - 1)];
  const Lanes a = load_lanes(repeated);
  return packed_rows(y, count, d, [a](Lanes b) { return multiply_add(a, b, zero_lanes()); }, out);
}

template <class T>
int64_t packed_squares(const T* x, int64_t count, int64_t d, double* out) {
  return packed_rows(x, count, d, [](Lanes a) { return multiply_add(a, a, zero_lanes()); }, out);
}

bool packed(int64_t ld, int64_t d) { return ld == d && (d == 1 || d == 2 || d == 4); }
#endif

template <class T>
void dots(const void* x_data, const void* y_data, int64_t ld, const int64_t* rows, int64_t count,
          int64_t d, double* out) {
  const T* x = static_cast<const T*>(x_data);
  const T* y = static_cast<const T*>(y_data);
  if (rows != nullptr) {
    const auto at = [=](int64_t c) { return y + rows[c] * ld; };
    return all_rows<true, false, false>(x, at, 0, count, d, out, out);
  }
  int64_t done = 0;
#if defined(MEDDEL_FOLDS)
  if (packed(ld, d)) done = packed_dots(x, y, count, d, out);
#endif
  first_rows<true, false>(x, y, ld, done, count, d, out, out);
}

template <class T>
void squares(const void* x_data, int64_t ld, int64_t count, int64_t d, double* out) {
  const T* x = static_cast<const T*>(x_data);
  int64_t done = 0;
#if defined(MEDDEL_FOLDS)
  if (packed(ld, d)) done = packed_squares(x, count, d, out);
#endif
  first_rows<false, true>(x, x, ld, done, count, d, out, out);
}

template <class T>
void measure(const void* x_data, const void* y_data, int64_t ld, int64_t count, int64_t d,
             double* inner, double* own) {
  const T* x = static_cast<const T*>(x_data);
  const T* y = static_cast<const T*>(y_data);
  int64_t done = 0;
#if defined(MEDDEL_FOLDS)
  if (packed(ld, d)) {
    packed_dots(x, y, count, d, inner);
    done = packed_squares(y, count, d, own);
  }
#endif
  first_rows<true, true>(x, y, ld, done, count, d, inner, own);
}

template <int kRows, class T>
inline void some_pairs(const T* x, int64_t ld, const int64_t* rows, const int64_t* others,
                       int64_t d, double* out) {
  const int64_t whole = d & ~int64_t{7}, rest = d - whole;
  const T* a[kRows];
  const T* b[kRows];
  Lanes sum[kRows];
  MEDDEL_UNROLL for (int k = 0; k < kRows; ++k) {
    a[k] = x + rows[k] * ld;
    b[k] = x + others[k] * ld;
    sum[k] = zero_lanes();
  }
  for (int64_t i = 0; i < whole; i += 8) {
    MEDDEL_UNROLL for (int k = 0; k < kRows; ++k) {
      sum[k] = multiply_add(load_lanes(a[k] + i), load_lanes(b[k] + i), sum[k]);
    }
  }
  if (rest > 0) {
    MEDDEL_UNROLL for (int k = 0; k < kRows; ++k) {
      sum[k] = multiply_add(load_tail(a[k] + whole, rest), load_tail(b[k] + whole, rest), sum[k]);
    }
  }
  add_each<kRows>(sum, out);
}

template <class T>
void pair_dots(const void* x_data, int64_t ld, const int64_t* rows, const int64_t* others,
               int64_t count, int64_t d, double* out) {
  const T* x = static_cast<const T*>(x_data);
  int64_t c = 0;
  for (; d <= kShort && c + kShortRows <= count; c += kShortRows) {
    some_pairs<kShortRows>(x, ld, rows + c, others + c, d, out + c);
  }
  for (; c + 4 <= count; c += 4) some_pairs<4>(x, ld, rows + c, others + c, d, out + c);
  for (; c < count; ++c) out[c] = dot<T>(x + rows[c] * ld, x + others[c] * ld, d);
}

// A tile's sums, filled up to a multiple of 8, are added up 8 at a time.
// Unless it is the last one, the rows of the next are fetched.
template <int kRows, int kColumns, bool kLast, class T>
inline void cross_tile(const T* x, int64_t ld, const int64_t* rows, int64_t d, const double* y,
                       double* out) {
  constexpr int kSums = (kRows * kColumns + 7) / 8 * 8;
  const int64_t whole = d & ~int64_t{7};
  const T* a[kRows];
  const T* next[kRows];
  Lanes sum[kSums];
  MEDDEL_UNROLL for (int r = 0; r < kRows; ++r) {
    a[r] = x + rows[r] * ld;
    next[r] = x + rows[kLast ? r : r + kRows] * ld;
  }
  for (Lanes& each : sum) each = zero_lanes();
  const auto add = [&](const Lanes* row) {
    MEDDEL_UNROLL for (int c = 0; c < kColumns; ++c) {
      Lanes column;
      __builtin_memcpy(&column, y + 8 * c, sizeof column);
      MEDDEL_UNROLL for (int r = 0; r < kRows; ++r) {
        sum[r * kColumns + c] = multiply_add(row[r], column, sum[r * kColumns + c]);
      }
    }
    y += 8 * kColumns;
  };
  Lanes row[kRows];
  for (int64_t i = 0; i < whole; i += 8) {
    MEDDEL_UNROLL for (int r = 0; r < kRows; ++r) {
      row[r] = load_lanes(a[r] + i);
      if (!kLast) __builtin_prefetch(next[r] + i);
    }
    add(row);
  }
  if (whole < d) {
    MEDDEL_UNROLL for (int r = 0; r < kRows; ++r) row[r] = load_tail(a[r] + whole, d - whole);
    add(row);
  }
  double all[kSums];
  MEDDEL_UNROLL for (int s = 0; s < kSums; s += 8) add_each<8>(sum + s, all + s);
  __builtin_memcpy(out, all, kRows * kColumns * sizeof(double));
}

template <int kColumns, class T>
void cross_columns(const T* x, int64_t ld, const int64_t* rows, int64_t count, int64_t d,
                   const double* y, double* out) {
  int64_t r = 0;
  for (; r + 2 * kCrossRows <= count; r += kCrossRows) {
    cross_tile<kCrossRows, kColumns, false>(x, ld, rows + r, d, y, out + r * kColumns);
  }
  for (; r + kCrossRows <= count; r += kCrossRows) {
    cross_tile<kCrossRows, kColumns, true>(x, ld, rows + r, d, y, out + r * kColumns);
  }
  for (; r < count; ++r) cross_tile<1, kColumns, true>(x, ld, rows + r, d, y, out + r * kColumns);
}

template <class T>
void cross(const void* x_data, int64_t ld, const int64_t* rows, int64_t count, int64_t d,
           const double* y, int64_t columns, double* out) {
  const T* x = static_cast<const T*>(x_data);
  using Columns =
      void (*)(const T*, int64_t, const int64_t*, int64_t, int64_t, const double*, double*);
  constexpr Columns some[kCrossed] = {cross_columns<1, T>, cross_columns<2, T>, cross_columns<3, T>,
                                      cross_columns<4, T>, cross_columns<5, T>, cross_columns<6, T>,
                                      cross_columns<7, T>};
  some[columns - 1](x, ld, rows, count, d, y, out);
}

// The sign tests of leaf.inl, which includes this: int8 codes of rows against packed blocks of
// others.

// Some rows against kBlocks blocks: as many sums as the registers hold.
template <int kRows, int kBlocks>
struct Tile {
  Sums sums[kRows][kBlocks];
};

// Loads the kFetched blocks at `next` ahead.
template <int kRows, int kBlocks, int kFetched = 0>
inline Tile<kRows, kBlocks> sum_tile(const uint8_t* x, const int32_t* x_start, const int8_t* y,
                                     const int32_t* y_start, int64_t width,
                                     const int8_t* next = nullptr) {
  Tile<kRows, kBlocks> tile;
  MEDDEL_UNROLL for (int r = 0; r < kRows; ++r) {
    MEDDEL_UNROLL for (int v = 0; v < kBlocks; ++v) {
      tile.sums[r][v] = start_sums(y_start + 16 * v, x_start[r]);
    }
  }
  for (int64_t g = 0; g < width; g += 4) {
    Group group[kBlocks];
    MEDDEL_UNROLL for (int v = 0; v < kBlocks; ++v) {
      group[v] = load_group(y + v * 16 * width + g * 16);
      if (v < kFetched) __builtin_prefetch(next + v * 16 * width + g * 16);
    }
    MEDDEL_UNROLL for (int r = 0; r < kRows; ++r) {
      int32_t four;
      __builtin_memcpy(&four, x + r * width + g, sizeof four);
      MEDDEL_UNROLL for (int v = 0; v < kBlocks; ++v) {
        tile.sums[r][v] = add_products(tile.sums[r][v], four, group[v]);
      }
    }
  }
  return tile;
}

// Most tiles have no survivor: one look at all signs tells.
template <int kRows, int kBlocks>
inline bool any_survivor(const Tile<kRows, kBlocks>& tile) {
  Sums all = tile.sums[0][0];
  MEDDEL_UNROLL for (int r = 0; r < kRows; ++r) {
    MEDDEL_UNROLL for (int v = 0; v < kBlocks; ++v) all = common_bits(all, tile.sums[r][v]);
  }
  return survivors(all) != 0;
}

template <int kRows, int kBlocks>
inline void append_survivors(const Tile<kRows, kBlocks>& tile, int64_t block, uint16_t* columns,
                             int64_t stride, int32_t* counts) {
  uint64_t masks[kRows] = {};
  MEDDEL_UNROLL for (int r = 0; r < kRows; ++r) {
    MEDDEL_UNROLL for (int v = 0; v < kBlocks; ++v) {
      masks[r] |= static_cast<uint64_t>(survivors(tile.sums[r][v])) << (16 * v);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    uint16_t* next = columns + r * stride + counts[r];
    counts[r] += __builtin_popcountll(masks[r]);
    for (uint64_t mask = masks[r]; mask != 0; mask &= mask - 1) {
      *next++ = static_cast<uint16_t>(block * 16 + __builtin_ctzll(mask));
    }
  }
}

// A tile's blocks stay in L1 for all rows, a multiple of kRows. The first so many rows, kFetched
// blocks each, load those of the next tile, which few rows would wait for.
template <int kRows, int kBlocks, int kFetched>
int64_t screen_blocks(int64_t b, const uint8_t* x, const int32_t* x_start, int64_t rows,
                      const int8_t* y, const int32_t* y_start, int64_t blocks, int64_t width,
                      uint16_t* columns, int64_t stride, int32_t* counts) {
  for (; b + kBlocks <= blocks; b += kBlocks) {
    const int8_t* tile_y = y + b * 16 * width;
    for (int64_t r = 0; r < rows; r += kRows) {
      const int64_t next = kBlocks + r / kRows * kFetched;
      const auto tile = next < 2 * kBlocks
                            ? sum_tile<kRows, kBlocks, kFetched>(x + r * width, x_start + r, tile_y,
                                                                 y_start + b * 16, width,
                                                                 tile_y + next * 16 * width)
                            : sum_tile<kRows, kBlocks>(x + r * width, x_start + r, tile_y,
                                                       y_start + b * 16, width);
      if (any_survivor(tile)) {
        append_survivors(tile, b, columns + r * stride, stride, counts + r);
      }
    }
  }
  return b;
}

// One row has fewer sums of a block, and takes more blocks at a time. Up to kStreamed rows use what
// they load so seldom that it comes from memory: 16 x 384 codes take 1.3 times as long as one. In a
// scan it is in a cache.
constexpr int64_t kStreamed = 16;

template <int kFetched>
void screen_rows(const uint8_t* x, const int32_t* x_start, int64_t rows, const int8_t* y,
                 const int32_t* y_start, int64_t blocks, int64_t width, uint16_t* columns,
                 int64_t stride, int32_t* counts) {
  constexpr int kMost = kFetched < kScreenBlocks ? kFetched : kScreenBlocks;
  const int64_t b = screen_blocks<4, kScreenBlocks, kMost>(0, x, x_start, rows, y, y_start, blocks,
                                                           width, columns, stride, counts);
  screen_blocks<4, 1, 0>(b, x, x_start, rows, y, y_start, blocks, width, columns, stride, counts);
}

void screen(const uint8_t* x, const int32_t* x_start, int64_t rows, const int8_t* y,
            const int32_t* y_start, int64_t blocks, int64_t width, uint16_t* columns,
            int64_t stride, int32_t* counts) {
  for (int64_t r = 0; r < rows; ++r) counts[r] = 0;
  if (rows == 1) {
    const int64_t b = screen_blocks<1, 4, 4>(0, x, x_start, 1, y, y_start, blocks, width, columns,
                                             stride, counts);
    screen_blocks<1, 1, 0>(b, x, x_start, 1, y, y_start, blocks, width, columns, stride, counts);
    return;
  }
  const auto some = rows > kStreamed ? screen_rows<0>
                    : rows > 8       ? screen_rows<1>
                    : rows > 4       ? screen_rows<2>
                                     : screen_rows<4>;
  some(x, x_start, rows, y, y_start, blocks, width, columns, stride, counts);
}

template <int kBlocks, int kFrom, int kTo>
inline void score_tile(const uint8_t* x, const int32_t* x_start, const int8_t* y,
                       const int32_t* y_start, int64_t width, int32_t* out, int64_t stride) {
  const int8_t* next = y + (kBlocks + kFrom) * 16 * width;
  const auto tile = sum_tile<4, kBlocks, kTo - kFrom>(x, x_start, y, y_start, width, next);
  MEDDEL_UNROLL for (int k = 0; k < 4; ++k) {
    MEDDEL_UNROLL for (int v = 0; v < kBlocks; ++v) {
      store_sums(tile.sums[k][v], out + k * stride + v * 16);
    }
  }
}

// Some rows fetch one half of the next blocks, the last rows the other: 40 % faster for 8 rows than
// without, where codes come from memory.
template <int kBlocks>
int64_t score_blocks(int64_t b, const uint8_t* x, const int32_t* x_start, int64_t rows,
                     const int8_t* y, const int32_t* y_start, int64_t blocks, int64_t width,
                     int32_t* out, int64_t stride) {
  for (; b + kBlocks <= blocks; b += kBlocks) {
    const int8_t* codes = y + b * 16 * width;
    const int32_t* start = y_start + b * 16;
    int32_t* to = out + b * 16;
    if (rows == 4) {
      score_tile<kBlocks, 0, kBlocks>(x, x_start, codes, start, width, to, stride);
      continue;
    }
    int64_t r = 0;
    for (; r + 4 < rows; r += 4) {
      score_tile<kBlocks, 0, kBlocks / 2>(x + r * width, x_start + r, codes, start, width,
                                          to + r * stride, stride);
    }
    score_tile<kBlocks, kBlocks / 2, kBlocks>(x + r * width, x_start + r, codes, start, width,
                                              to + r * stride, stride);
  }
  return b;
}

void scores(const uint8_t* x, const int32_t* x_start, int64_t rows, const int8_t* y,
            const int32_t* y_start, int64_t blocks, int64_t width, int32_t* out, int64_t stride) {
  const int64_t b =
      score_blocks<kScreenBlocks>(0, x, x_start, rows, y, y_start, blocks, width, out, stride);
  score_blocks<1>(b, x, x_start, rows, y, y_start, blocks, width, out, stride);
}

// One or both planes of one code of x against the listed columns.
template <bool kFine>
int32_t refine_listed(const uint8_t* x, const uint8_t* low, int32_t x_start, const int8_t* y,
                      const int32_t* y_start, int64_t width, uint16_t* columns, int32_t count) {
  constexpr int32_t kNone[16] = {};
  constexpr int32_t kAhead = 16;  // columns, which may lie scattered in memory
  const int64_t stride = (width + kChunk - 1) / kChunk * kChunk;
  int32_t kept = 0;
  for (int32_t k = 0; k < count; ++k) {
    const uint16_t column = columns[k];
    const int8_t* code = y + column * stride;
    const int8_t* ahead = y + columns[k + kAhead < count ? k + kAhead : k] * stride;
    Sums sums = start_sums(kNone, 0), rest = sums;
    for (int64_t i = 0; i < stride; i += kChunk) {
      __builtin_prefetch(ahead + i);
      const Group chunk = load_group(code + i);
      sums = add_chunk(sums, x + i, chunk);
      if (kFine) rest = add_chunk(rest, low + i, chunk);
    }
    columns[kept] = column;
    const int32_t fine = kFine ? (add_sums(rest) >> kPlaneBits) + 1 : 0;
    kept += x_start + y_start[column] + add_sums(sums) + fine >= 0;
  }
  return kept;
}

int32_t refine(const uint8_t* x, int32_t x_start, const int8_t* y, const int32_t* y_start,
               int64_t width, uint16_t* columns, int32_t count) {
  return refine_listed<false>(x, nullptr, x_start, y, y_start, width, columns, count);
}

int32_t refine_fine(const uint8_t* x, const uint8_t* low, int32_t x_start, const int8_t* y,
                    const int32_t* y_start, int64_t width, uint16_t* columns, int32_t count) {
  return refine_listed<true>(x, low, x_start, y, y_start, width, columns, count);
}

void byte_dots(const uint8_t* x, const int8_t* y, const int32_t* y_start, int64_t width,
               const int64_t* rows, int64_t count, int32_t* out) {
  constexpr int32_t kNone[16] = {};
  constexpr int64_t kAhead = 16;  // rows, which may lie scattered in memory
  const int64_t stride = (width + kChunk - 1) / kChunk * kChunk;
  for (int64_t k = 0; k < count; ++k) {
    const int8_t* code = y + rows[k] * stride;
    const int8_t* ahead = y + rows[k + kAhead < count ? k + kAhead : k] * stride;
    Sums sums = start_sums(kNone, 0);
    for (int64_t i = 0; i < stride; i += kChunk) {
      __builtin_prefetch(ahead + i);
      sums = add_chunk(sums, x + i, load_group(code + i));
    }
    out[k] = y_start[rows[k]] + add_sums(sums);
  }
}

void fine_codes(const float* x, int64_t d, float step, int16_t* code) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves no fraction
  const float inverse = 1.0f / step;
  for (int64_t i = 0; i < d; ++i) {
    code[i] = static_cast<int16_t>(static_cast<int32_t>((x[i] * inverse + kRound) - kRound));
  }
}

void fine_dots(const int16_t* x, const int16_t* y, const uint16_t* rows, int64_t count,
               int64_t width, int32_t* out) {
  const auto product = [](int16_t a, int16_t b) { return static_cast<int32_t>(a) * b; };
  int64_t c = 0;
  for (; c + 4 <= count; c += 4) {
    const int16_t* code[4];
    for (int k = 0; k < 4; ++k) code[k] = y + rows[c + k] * width;
    int32_t sum[4] = {};
    for (int64_t i = 0; i < width; ++i) {
      for (int k = 0; k < 4; ++k) sum[k] += product(x[i], code[k][i]);
    }
    for (int k = 0; k < 4; ++k) out[c + k] = sum[k];
  }
  for (; c < count; ++c) {
    const int16_t* code = y + rows[c] * width;
    int32_t sum = 0;
    for (int64_t i = 0; i < width; ++i) sum += product(x[i], code[i]);
    out[c] = sum;
  }
}

// The compiler makes as many registers of it as it takes.
typedef int32_t SixteenInts __attribute__((vector_size(64)));

inline int32_t highest_of(SixteenInts x) {
  int32_t each[16];
  __builtin_memcpy(each, &x, sizeof each);
  for (int half = 8; half > 0; half /= 2) {
    MEDDEL_UNROLL for (int j = 0; j < half; ++j) {
      each[j] = each[j] > each[j + half] ? each[j] : each[j + half];
    }
  }
  return each[0];
}

int64_t highest(const int32_t* scores, int64_t n) {
  int32_t most = scores[0];
  int64_t c = 0;
  if (n >= 16) {
    SixteenInts parts, next;
    __builtin_memcpy(&parts, scores, sizeof parts);
    for (c = 16; c + 16 <= n; c += 16) {
      __builtin_memcpy(&next, scores + c, sizeof next);
      parts = next > parts ? next : parts;
    }
    for (int k = 0; k < 16; ++k) most = parts[k] > most ? parts[k] : most;
  }
  for (; c < n; ++c) most = scores[c] > most ? scores[c] : most;
  int64_t at = 0;
  for (; at + 16 <= n; at += 16) {
    // (Wraps where scores are far apart, and then asks once more.)
    if (survivors(start_sums(scores + at, -most)) == 0) continue;
    for (int64_t k = at; k < at + 16; ++k) {
      if (scores[k] == most) return k;
    }
  }
  while (scores[at] != most) ++at;
  return at;
}

int32_t highest_apart(const int32_t* scores, int64_t n, int32_t* out) {
  SixteenInts most[kApart / 16], next;
  __builtin_memcpy(&most, scores, sizeof most);
  for (int64_t c = kApart; c < n; c += kApart) {
    MEDDEL_UNROLL for (int k = 0; k < kApart / 16; ++k) {
      __builtin_memcpy(&next, scores + c + 16 * k, sizeof next);
      most[k] = next > most[k] ? next : most[k];
    }
  }
  __builtin_memcpy(out, &most, sizeof most);
  MEDDEL_UNROLL for (int k = 1; k < kApart / 16; ++k) {
    most[0] = most[k] > most[0] ? most[k] : most[0];
  }
  return highest_of(most[0]);
}

inline int64_t count_from(const int32_t* scores, int64_t n, int32_t least) {
  SixteenInts counts = {}, next;
  for (int64_t c = 0; c < n; c += 16) {
    __builtin_memcpy(&next, scores + c, sizeof next);
    counts -= next >= least;
  }
  int64_t total = 0;
  MEDDEL_UNROLL for (int k = 0; k < 16; ++k) total += counts[k];
  return total;
}

int32_t kth_highest(const int32_t* scores, int64_t n, int64_t k, int32_t least) {
  SixteenInts parts, fewest, next;
  __builtin_memcpy(&parts, scores, sizeof parts);
  fewest = parts;
  for (int64_t c = 16; c < n; c += 16) {
    __builtin_memcpy(&next, scores + c, sizeof next);
    parts = next > parts ? next : parts;
    fewest = next < fewest ? next : fewest;
  }
  int64_t low = -int64_t{highest_of(-1 - fewest)} - 1, high = int64_t{highest_of(parts)} + 1;
  if (low < least) {
    if (count_from(scores, n, least) < k) return kNoScore;
    low = least;
  }
  // Often as many are about as high as the highest.
  constexpr int64_t kAbout = 8;
  if (high - low > kAbout && count_from(scores, n, static_cast<int32_t>(high - kAbout)) >= k) {
    low = high - kAbout;
  }
  while (high - low > kAbout) {  // at least k are at least `low`, and fewer `high`
    const int64_t middle = low + (high - low) / 2;
    const int64_t count = count_from(scores, n, static_cast<int32_t>(middle));
    (count >= k ? low : high) = middle;
    if (count == k) break;
  }
  return static_cast<int32_t>(low);
}

typedef double EightDoubles __attribute__((vector_size(64)));
typedef int64_t EightInts __attribute__((vector_size(64)));

void places(const double* values, int64_t n, int64_t* out) {
  const EightInts eight = {0, 1, 2, 3, 4, 5, 6, 7};
  for (int64_t c = 0; c < n; c += 8) {
    EightDoubles own;
    __builtin_memcpy(&own, values + c, sizeof own);
    const EightInts at = eight + c;
    EightInts before = {};
    for (int64_t e = 0; e < n; ++e) {
      const EightDoubles other = EightDoubles{} + values[e];
      before -= (other > own) | ((other == own) & (at > e));
    }
    __builtin_memcpy(out + c, &before, sizeof before);
  }
}

int32_t at_least(const int32_t* scores, int64_t n, int32_t start, uint16_t* columns) {
  int32_t count = 0;
  for (int64_t c = 0; c < n; c += 16) {
    count +=
        list_survivors(start_sums(scores + c, start), static_cast<int32_t>(c), columns + count);
  }
  return count;
}

template <class T>
inline T load_wide(const void* from) {
  T out;
  __builtin_memcpy(&out, from, sizeof out);
  return out;
}

float reach(const int32_t* sums, int64_t n, const ScaledRow& row, const float* columns,
            int32_t* bits) {
  const float step = row.step, length = row.length, rounding = row.rounding, rest = row.rest;
  const Wide none = {};
  Wide most[kParts];
  MEDDEL_UNROLL for (int v = 0; v < kParts; ++v) most[v] = none - __builtin_inff();
  for (int64_t c = 0; c < n; c += 16) {
    MEDDEL_UNROLL for (int v = 0; v < kParts; ++v) {
      const float* of = columns + 4 * c + v * kFloats;
      const auto sum = load_wide<WideInts>(sums + c + v * kFloats);
      Wide bound = __builtin_convertvector(sum, Wide) * (step * load_wide<Wide>(of));
      bound += length * load_wide<Wide>(of + 16);
      bound += rounding * load_wide<Wide>(of + 32);
      bound += load_wide<Wide>(of + 48) + rest;
      most[v] = bound > most[v] ? bound : most[v];
      __builtin_memcpy(bits + c + v * kFloats, &bound, sizeof bound);
    }
  }
  float each[16];
  __builtin_memcpy(each, &most, sizeof each);
  for (int half = 8; half > 0; half /= 2) {
    MEDDEL_UNROLL for (int j = 0; j < half; ++j) {
      each[j] = each[j] > each[j + half] ? each[j] : each[j + half];
    }
  }
  return each[0];
}

// What the AVX-512 leaf files share: eight doubles are one register, and so are 16 columns.
#include "cpu/types.inl"
#include "cpu/widen_avx2.inl"

using Lanes = __m512d;

constexpr int kTileVectors = 4;

Lanes zero_lanes() { return _mm512_setzero_pd(); }

template <class T>
Lanes load_lanes(const T* p) {
  return _mm512_cvtps_pd(widen8(p));
}

Lanes multiply_add(Lanes a, Lanes b, Lanes sum) { return _mm512_fmadd_pd(a, b, sum); }

double add_lanes(Lanes sum) {
  const __m256d four = _mm256_add_pd(_mm512_castpd512_pd256(sum), _mm512_extractf64x4_pd(sum, 1));
  const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
  return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

inline void append_columns(uint32_t mask, int64_t block, uint16_t* columns, int32_t& count);

// multiply_add_bytes(sum, a, b), of the leaf file, adds to each 32 bits the products of their
// bytes.
template <int kBlocks>
void screen_tile(const uint8_t* x, const int32_t* x_start, const int8_t* y, const int32_t* y_start,
                 int64_t width, int64_t block, uint16_t* columns, int64_t stride, int32_t* counts) {
  __m512i sum[4][kBlocks];
  for (int v = 0; v < kBlocks; ++v) {
    const __m512i start = _mm512_loadu_si512(y_start + 16 * v);
    for (int r = 0; r < 4; ++r) sum[r][v] = _mm512_add_epi32(start, _mm512_set1_epi32(x_start[r]));
  }
  for (int64_t g = 0; g < width; g += 4) {
    __m512i b[kBlocks];
    for (int v = 0; v < kBlocks; ++v) b[v] = _mm512_loadu_si512(y + v * 16 * width + g * 16);
    for (int r = 0; r < 4; ++r) {
      int32_t four;
      __builtin_memcpy(&four, x + r * width + g, sizeof four);
      const __m512i a = _mm512_set1_epi32(four);
      for (int v = 0; v < kBlocks; ++v) sum[r][v] = multiply_add_bytes(sum[r][v], a, b[v]);
    }
  }
  for (int r = 0; r < 4; ++r) {
    for (int v = 0; v < kBlocks; ++v) {
      const uint32_t mask = static_cast<uint16_t>(~_mm512_movepi32_mask(sum[r][v]));
      if (mask != 0) append_columns(mask, block + v, columns + r * stride, counts[r]);
    }
  }
}

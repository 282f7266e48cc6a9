// AVX2 + FMA + F16C (x86-64-v3: Haswell, Zen and later).
#include <immintrin.h>

#include "cpu/kernels.h"

namespace meddel {
namespace {

struct Lanes {
  __m256d low;   // lanes 0-3
  __m256d high;  // lanes 4-7
};

#include "cpu/types.inl"
#include "cpu/widen_avx2.inl"

Lanes zero_lanes() { return {_mm256_setzero_pd(), _mm256_setzero_pd()}; }

template <class T>
Lanes load_lanes(const T* p) {
  const __m256 eight = widen8(p);
  return {_mm256_cvtps_pd(_mm256_castps256_ps128(eight)),
          _mm256_cvtps_pd(_mm256_extractf128_ps(eight, 1))};
}

Lanes multiply_add(const Lanes& a, const Lanes& b, const Lanes& sum) {
  return {_mm256_fmadd_pd(a.low, b.low, sum.low), _mm256_fmadd_pd(a.high, b.high, sum.high)};
}

double add_lanes(const Lanes& sum) {
  const __m256d four = _mm256_add_pd(sum.low, sum.high);
  const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
  return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

constexpr int kTileVectors = 1;
constexpr int kScreenBlocks = 1;
constexpr int32_t kScreenBias = 0;

inline void append_columns(uint32_t mask, int64_t block, uint16_t* columns, int32_t& count);

// The bytes of a times those of b, pairs added: |a| * (b with a's sign), as the instruction wants
// unsigned times signed. Codes keep within 127, so two products stay within 16 bits.
inline __m256i multiply_bytes(__m256i a, __m256i b) {
  return _mm256_maddubs_epi16(_mm256_abs_epi8(a), _mm256_sign_epi8(b, a));
}

template <int kBlocks>
void screen_tile(const uint8_t* x, const int32_t* x_start, const int8_t* y, const int32_t* y_start,
                 int64_t width, int64_t block, uint16_t* columns, int64_t stride, int32_t* counts) {
  static_assert(kBlocks == 1, "one block at a time");
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i sum[4][2];
  for (int h = 0; h < 2; ++h) {
    const __m256i start = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(y_start + 8 * h));
    for (int r = 0; r < 4; ++r) sum[r][h] = _mm256_add_epi32(start, _mm256_set1_epi32(x_start[r]));
  }
  for (int64_t g = 0; g < width; g += 4) {
    const __m256i* group = reinterpret_cast<const __m256i*>(y + g * 16);
    const __m256i b[2] = {_mm256_loadu_si256(group), _mm256_loadu_si256(group + 1)};
    for (int r = 0; r < 4; ++r) {
      int32_t four;
      __builtin_memcpy(&four, x + r * width + g, sizeof four);
      const __m256i a = _mm256_set1_epi32(four);
      for (int h = 0; h < 2; ++h) {
        const __m256i products = _mm256_madd_epi16(multiply_bytes(a, b[h]), ones);
        sum[r][h] = _mm256_add_epi32(sum[r][h], products);
      }
    }
  }
  for (int r = 0; r < 4; ++r) {
    const int low = _mm256_movemask_ps(_mm256_castsi256_ps(sum[r][0]));
    const int high = _mm256_movemask_ps(_mm256_castsi256_ps(sum[r][1]));
    append_columns(~static_cast<uint32_t>(low | high << 8) & 0xffff, block, columns + r * stride,
                   counts[r]);
  }
}

#include "cpu/leaf.inl"

}  // namespace

const Kernels kAvx2Kernels = make_kernels("avx2");

}  // namespace meddel

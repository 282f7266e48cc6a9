// What the AVX2 leaf files share. multiply_add_bytes(sum, a, b), of the leaf file, adds to each 32
// bits the products of their bytes.
#include "cpu/types.inl"
#include "cpu/widen_avx2.inl"

struct Lanes {
  __m256d low;   // lanes 0-3
  __m256d high;  // lanes 4-7
};

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

Lanes root_lanes(const Lanes& x) { return {_mm256_sqrt_pd(x.low), _mm256_sqrt_pd(x.high)}; }

using Floats = __m256;

constexpr int kFloats = 8;
constexpr int kTileFloats = 2;
constexpr int kCrossRows = 1;
constexpr int kShortRows = 4;

template <class T>
Floats load_floats(const T* p) {
  return widen8(p);
}

float add_floats(Floats x) { return add_eight(x); }

Floats round_to_codes(Floats x, int8_t* code) {
  const __m256 most = _mm256_set1_ps(127.0f);
  const __m256 q = _mm256_max_ps(_mm256_min_ps(x, most), -most);
  const __m256i integers = _mm256_cvtps_epi32(q);
  const __m128i words =
      _mm_packs_epi32(_mm256_castsi256_si128(integers), _mm256_extracti128_si256(integers, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(code), _mm_packs_epi16(words, words));
  return _mm256_cvtepi32_ps(integers);
}

struct Sums {
  __m256i low;   // columns 0-7
  __m256i high;  // columns 8-15
};
using Group = Sums;

constexpr int kScreenBlocks = 1;

Group load_group(const int8_t* y) {
  const __m256i* p = reinterpret_cast<const __m256i*>(y);
  return {_mm256_loadu_si256(p), _mm256_loadu_si256(p + 1)};
}

Sums start_sums(const int32_t* y_start, int32_t x_start) {
  const __m256i* p = reinterpret_cast<const __m256i*>(y_start);
  const __m256i start = _mm256_set1_epi32(x_start);
  return {_mm256_add_epi32(_mm256_loadu_si256(p), start),
          _mm256_add_epi32(_mm256_loadu_si256(p + 1), start)};
}

Sums add_products(const Sums& sums, int32_t four, const Group& b) {
  const __m256i a = _mm256_set1_epi32(four);
  return {multiply_add_bytes(sums.low, a, b.low), multiply_add_bytes(sums.high, a, b.high)};
}

Sums add_chunk(const Sums& sums, const uint8_t* x, const Group& b) {
  const __m256i* p = reinterpret_cast<const __m256i*>(x);
  return {multiply_add_bytes(sums.low, _mm256_loadu_si256(p), b.low),
          multiply_add_bytes(sums.high, _mm256_loadu_si256(p + 1), b.high)};
}

int32_t add_sums(const Sums& sums) {
  const __m256i eight = _mm256_add_epi32(sums.low, sums.high);
  const __m128i four =
      _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}

Sums common_bits(const Sums& a, const Sums& b) {
  return {_mm256_and_si256(a.low, b.low), _mm256_and_si256(a.high, b.high)};
}

uint32_t survivors(const Sums& sums) {
  const int low = _mm256_movemask_ps(_mm256_castsi256_ps(sums.low));
  const int high = _mm256_movemask_ps(_mm256_castsi256_ps(sums.high));
  return static_cast<uint16_t>(~(low | high << 8));
}

int32_t list_survivors(const Sums& sums, int32_t first, uint16_t* to) {
  return list_bits(survivors(sums), first, to);
}

void store_sums(const Sums& sums, int32_t* out) {
  __m256i* p = reinterpret_cast<__m256i*>(out);
  _mm256_storeu_si256(p, sums.low);
  _mm256_storeu_si256(p + 1, sums.high);
}

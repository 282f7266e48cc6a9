// What the AVX-512 leaf files share: eight doubles are one register, and so are sixteen floats and
// the sums of a block. multiply_add_bytes(sum, a, b), of the leaf file, adds to each 32 bits the
// products of their bytes.
#include "cpu/types.inl"
#include "cpu/widen_avx2.inl"

using Lanes = __m512d;
using Floats = __m512;
using Sums = __m512i;
using Group = __m512i;

constexpr int kFloats = 16;
constexpr int kTileFloats = 4;
constexpr int kCrossRows = 4;
constexpr int kShortRows = 8;
constexpr int kScreenBlocks = 4;

Lanes zero_lanes() { return _mm512_setzero_pd(); }

template <class T>
Lanes load_lanes(const T* p) {
  return _mm512_cvtps_pd(widen8(p));
}

// The first count < 8, or < 16, elements, and zeros.
Lanes load_tail(const Float32* p, int64_t count) {
  return _mm512_cvtps_pd(
      _mm256_maskz_loadu_ps(static_cast<__mmask8>((1u << count) - 1), &p->value));
}

Floats load_floats_tail(const Float32* p, int64_t count) {
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), &p->value);
}
#define MEDDEL_MASKED_LOADS

Lanes multiply_add(Lanes a, Lanes b, Lanes sum) { return _mm512_fmadd_pd(a, b, sum); }

double add_lanes(Lanes sum) {
  const __m256d four = _mm256_add_pd(_mm512_castpd512_pd256(sum), _mm512_extractf64x4_pd(sum, 1));
  const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
  return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

// The steps of add_lanes for the sums of several rows, those of two registers in one: the 8 of each
// row become 4, these 2, and these 1.
Lanes fold_eight(Lanes a, Lanes b) {
  return _mm512_add_pd(_mm512_shuffle_f64x2(a, b, 0x44), _mm512_shuffle_f64x2(a, b, 0xee));
}

Lanes fold_four(Lanes a, Lanes b) {
  return _mm512_add_pd(_mm512_shuffle_f64x2(a, b, 0x88), _mm512_shuffle_f64x2(a, b, 0xdd));
}

Lanes fold_two(Lanes a, Lanes b) {
  const Lanes mixed = _mm512_add_pd(_mm512_unpacklo_pd(a, b), _mm512_unpackhi_pd(a, b));
  return _mm512_permutexvar_pd(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), mixed);
}
#define MEDDEL_FOLDS

Lanes root_lanes(Lanes x) { return _mm512_sqrt_pd(x); }

Floats load_floats(const Float32* p) { return _mm512_loadu_ps(&p->value); }

Floats load_floats(const Float16* p) { return _mm512_cvtph_ps(_mm256_loadu_epi16(p)); }

Floats load_floats(const BFloat16* p) {
  const __m512i bits = _mm512_cvtepu16_epi32(_mm256_loadu_epi16(p));
  return _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16));
}

Floats load_floats(const Int8* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_epi8(p)));
}

float add_floats(Floats x) {
  return add_eight(_mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1)));
}

Floats round_to_codes(Floats x, int8_t* code) {
  const __m512 most = _mm512_set1_ps(127.0f);
  const __m512 q = _mm512_max_ps(_mm512_min_ps(x, most), -most);
  const __m512i integers = _mm512_cvtps_epi32(q);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(code), _mm512_cvtepi32_epi8(integers));
  return _mm512_cvtepi32_ps(integers);
}

Sums start_sums(const int32_t* y_start, int32_t x_start) {
  return _mm512_add_epi32(_mm512_loadu_si512(y_start), _mm512_set1_epi32(x_start));
}

Group load_group(const int8_t* y) { return _mm512_loadu_si512(y); }

Sums add_products(Sums sums, int32_t four, Group b) {
  return multiply_add_bytes(sums, _mm512_set1_epi32(four), b);
}

Sums add_chunk(Sums sums, const uint8_t* x, Group b) {
  return multiply_add_bytes(sums, _mm512_loadu_si512(x), b);
}

int32_t add_sums(Sums sums) { return _mm512_reduce_add_epi32(sums); }

Sums common_bits(Sums a, Sums b) { return _mm512_and_si512(a, b); }

uint32_t survivors(Sums sums) { return static_cast<uint16_t>(~_mm512_movepi32_mask(sums)); }

// Which of them survive is hard to foretell: no branches.
int32_t list_survivors(Sums sums, int32_t first, uint16_t* to) {
  const __m512i places = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const uint32_t mask = survivors(sums);
  const __m512i listed = _mm512_maskz_compress_epi32(
      static_cast<__mmask16>(mask), _mm512_add_epi32(places, _mm512_set1_epi32(first)));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtepi32_epi16(listed));
  return __builtin_popcount(mask);
}

void store_sums(Sums sums, int32_t* out) { _mm512_storeu_si512(out, sums); }

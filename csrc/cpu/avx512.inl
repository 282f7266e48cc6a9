// What the AVX-512 leaf files share: eight doubles are one register.
#include "cpu/types.inl"
#include "cpu/widen_avx2.inl"

using Lanes = __m512d;

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

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

#include "cpu/leaf.inl"

}  // namespace

const Kernels kAvx2Kernels = make_kernels("avx2");

}  // namespace meddel

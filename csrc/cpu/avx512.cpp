// AVX-512 F, BW, DQ and VL (x86-64-v4: Skylake-X, Zen 4 and later).
#include <immintrin.h>

#include "cpu/kernels.h"

namespace meddel {
namespace {

constexpr int32_t kScreenBias = 0;

// |a| * (b with a's sign), as the instruction wants unsigned times signed. Codes keep within 127,
// so two products stay within 16 bits.
__m512i multiply_add_bytes(__m512i sum, __m512i a, __m512i b) {
  const __m512i signed_b =
      _mm512_mask_sub_epi8(b, _mm512_movepi8_mask(a), _mm512_setzero_si512(), b);
  const __m512i pairs = _mm512_maddubs_epi16(_mm512_abs_epi8(a), signed_b);
  return _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
}

#include "cpu/avx512.inl"
#include "cpu/leaf.inl"

}  // namespace

const Kernels kAvx512Kernels = make_kernels("avx512");

}  // namespace meddel

// AVX2 + FMA + F16C (x86-64-v3: Haswell, Zen and later).
#include <immintrin.h>

#include "cpu/kernels.h"

namespace meddel {
namespace {

constexpr int32_t kScreenBias = 0;

// |a| * (b with a's sign), as the instruction wants unsigned times signed. Codes keep within 127,
// so two products stay within 16 bits.
__m256i multiply_add_bytes(__m256i sum, __m256i a, __m256i b) {
  const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(a), _mm256_sign_epi8(b, a));
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

#include "cpu/avx2.inl"
#include "cpu/leaf.inl"

}  // namespace

const Kernels kAvx2Kernels = make_kernels("avx2");

}  // namespace meddel

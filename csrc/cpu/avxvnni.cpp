// AVX2 with AVX-VNNI (Alder Lake and later, where AVX-512 is switched off; Sierra Forest).
#include <immintrin.h>

#include "cpu/kernels.h"

namespace meddel {
namespace {

constexpr int32_t kScreenBias = 128;

__m256i multiply_add_bytes(__m256i sum, __m256i a, __m256i b) {
  return _mm256_dpbusd_avx_epi32(sum, a, b);
}

#include "cpu/avx2.inl"
#include "cpu/leaf.inl"

}  // namespace

const Kernels kAvxVnniKernels = make_kernels("avxvnni");

}  // namespace meddel

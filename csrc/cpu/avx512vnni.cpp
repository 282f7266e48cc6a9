// AVX-512 with VNNI (Cascade Lake, Ice Lake, Zen 4 and later).
#include <immintrin.h>

#include "cpu/kernels.h"

namespace meddel {
namespace {

constexpr int kScreenBlocks = 4;
constexpr int32_t kScreenBias = 128;

__m512i add_products(__m512i sums, int32_t four, __m512i b) {
  return _mm512_dpbusd_epi32(sums, _mm512_set1_epi32(four), b);
}

#include "cpu/avx512.inl"
#include "cpu/leaf.inl"

}  // namespace

const Kernels kAvx512VnniKernels = make_kernels("avx512vnni");

}  // namespace meddel

// AVX-512 with VNNI (Cascade Lake, Ice Lake, Zen 4 and later).
#include <immintrin.h>

#include "cpu/kernels.h"

namespace meddel {
namespace {

constexpr int kScreenBlocks = 4;
constexpr int32_t kScreenBias = 128;

inline __m512i multiply_add_bytes(__m512i sum, __m512i a, __m512i b) {
  return _mm512_dpbusd_epi32(sum, a, b);
}

#include "cpu/avx512.inl"
#include "cpu/leaf.inl"

}  // namespace

const Kernels kAvx512VnniKernels = make_kernels("avx512vnni");

}  // namespace meddel

// AVX-512 with VNNI (Cascade Lake, Ice Lake, Zen 4 and later).
#include <immintrin.h>

#include "cpu/kernels.h"

namespace meddel {
namespace {

#include "cpu/avx512.inl"
#include "cpu/leaf.inl"

}  // namespace

const Kernels kAvx512VnniKernels = make_kernels("avx512vnni");

}  // namespace meddel

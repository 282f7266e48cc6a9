// AVX-512 F, BW, DQ and VL (x86-64-v4: Skylake-X, Zen 4 and later).
#include <immintrin.h>

#include "cpu/kernels.h"

namespace meddel {
namespace {

#include "cpu/avx512.inl"
#include "cpu/leaf.inl"

}  // namespace

const Kernels kAvx512Kernels = make_kernels("avx512");

}  // namespace meddel

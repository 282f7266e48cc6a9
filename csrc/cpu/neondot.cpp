// NEON with dot products of bytes (ARMv8.2: Cortex-A76, Graviton 2, Apple silicon and later).
#include <arm_neon.h>

#include "cpu/kernels.h"

namespace meddel {
namespace {

int32x4_t multiply_add_bytes(int32x4_t sum, int8x16_t a, int8x16_t b) {
  return vdotq_s32(sum, a, b);
}

#include "cpu/arm.inl"
#include "cpu/leaf.inl"

}  // namespace

const Kernels kNeonDotKernels = make_kernels("neondot");

}  // namespace meddel

// 64-bit ARM as it always is: NEON.
#include <arm_neon.h>

#include "cpu/kernels.h"

namespace meddel {
namespace {

// Codes keep within 127, so two products stay within 16 bits.
int32x4_t multiply_add_bytes(int32x4_t sum, int8x16_t a, int8x16_t b) {
  const int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(b));
  return vpadalq_s16(sum, vpaddq_s16(low, vmull_high_s8(a, b)));
}

#include "cpu/arm.inl"
#include "cpu/leaf.inl"

}  // namespace

const Kernels kNeonKernels = make_kernels("neon");

}  // namespace meddel

// What the 64-bit ARM leaf files share. multiply_add_bytes(sum, a, b), of the leaf file, adds to
// each 32 bits the products of their bytes.
#include "cpu/types.inl"

struct Lanes {
  float64x2_t pair[4];
};

float32x4_t widen4(const Float32* p) { return vld1q_f32(&p->value); }

float32x4_t widen4(const Float16* p) {
  return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(&p->value)));
}

float32x4_t widen4(const BFloat16* p) {
  return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(&p->value), 16));
}

float32x4_t widen4(const Int8* p) {
  uint32_t four;
  __builtin_memcpy(&four, p, sizeof four);
  const int16x8_t words = vmovl_s8(vreinterpret_s8_u32(vdup_n_u32(four)));
  return vcvtq_f32_s32(vmovl_s16(vget_low_s16(words)));
}

Lanes zero_lanes() { return {}; }

template <class T>
Lanes load_lanes(const T* p) {
  const float32x4_t low = widen4(p), high = widen4(p + 4);
  return {{vcvt_f64_f32(vget_low_f32(low)), vcvt_high_f64_f32(low),
           vcvt_f64_f32(vget_low_f32(high)), vcvt_high_f64_f32(high)}};
}

Lanes multiply_add(const Lanes& a, const Lanes& b, const Lanes& sum) {
  return {
      {vfmaq_f64(sum.pair[0], a.pair[0], b.pair[0]), vfmaq_f64(sum.pair[1], a.pair[1], b.pair[1]),
       vfmaq_f64(sum.pair[2], a.pair[2], b.pair[2]), vfmaq_f64(sum.pair[3], a.pair[3], b.pair[3])}};
}

double add_lanes(const Lanes& sum) {
  return vpaddd_f64(
      vaddq_f64(vaddq_f64(sum.pair[0], sum.pair[2]), vaddq_f64(sum.pair[1], sum.pair[3])));
}

Lanes root_lanes(const Lanes& x) {
  return {
      {vsqrtq_f64(x.pair[0]), vsqrtq_f64(x.pair[1]), vsqrtq_f64(x.pair[2]), vsqrtq_f64(x.pair[3])}};
}

using Floats = float32x4_t;

constexpr int kFloats = 4;
constexpr int kTileFloats = 4;
constexpr int kCrossRows = 1;
constexpr int kShortRows = 4;

template <class T>
Floats load_floats(const T* p) {
  return widen4(p);
}

float add_floats(Floats x) { return vaddvq_f32(x); }

Floats round_to_codes(Floats x, int8_t* code) {
  const float32x4_t q = vmaxq_f32(vminq_f32(x, vdupq_n_f32(127.0f)), vdupq_n_f32(-127.0f));
  const int32x4_t integers = vcvtnq_s32_f32(q);
  const int16x4_t words = vmovn_s32(integers);
  const uint32_t bytes =
      vget_lane_u32(vreinterpret_u32_s8(vmovn_s16(vcombine_s16(words, words))), 0);
  __builtin_memcpy(code, &bytes, sizeof bytes);
  return vcvtq_f32_s32(integers);
}

struct Sums {
  int32x4_t part[4];
};
struct Group {
  int8x16_t part[4];
};

constexpr int kScreenBlocks = 1;
constexpr int32_t kScreenBias = 0;

Group load_group(const int8_t* y) {
  return {{vld1q_s8(y), vld1q_s8(y + 16), vld1q_s8(y + 32), vld1q_s8(y + 48)}};
}

Sums start_sums(const int32_t* y_start, int32_t x_start) {
  const int32x4_t start = vdupq_n_s32(x_start);
  return {{vaddq_s32(vld1q_s32(y_start), start), vaddq_s32(vld1q_s32(y_start + 4), start),
           vaddq_s32(vld1q_s32(y_start + 8), start), vaddq_s32(vld1q_s32(y_start + 12), start)}};
}

Sums add_products(const Sums& sums, int32_t four, const Group& b) {
  const int8x16_t a = vreinterpretq_s8_s32(vdupq_n_s32(four));
  return {{multiply_add_bytes(sums.part[0], a, b.part[0]),
           multiply_add_bytes(sums.part[1], a, b.part[1]),
           multiply_add_bytes(sums.part[2], a, b.part[2]),
           multiply_add_bytes(sums.part[3], a, b.part[3])}};
}

Sums add_chunk(const Sums& sums, const uint8_t* x, const Group& b) {
  const Group a = load_group(reinterpret_cast<const int8_t*>(x));
  return {{multiply_add_bytes(sums.part[0], a.part[0], b.part[0]),
           multiply_add_bytes(sums.part[1], a.part[1], b.part[1]),
           multiply_add_bytes(sums.part[2], a.part[2], b.part[2]),
           multiply_add_bytes(sums.part[3], a.part[3], b.part[3])}};
}

int32_t add_sums(const Sums& sums) {
  return vaddvq_s32(
      vaddq_s32(vaddq_s32(sums.part[0], sums.part[1]), vaddq_s32(sums.part[2], sums.part[3])));
}

Sums common_bits(const Sums& a, const Sums& b) {
  return {{vandq_s32(a.part[0], b.part[0]), vandq_s32(a.part[1], b.part[1]),
           vandq_s32(a.part[2], b.part[2]), vandq_s32(a.part[3], b.part[3])}};
}

uint32_t survivors(const Sums& sums) {
  const uint16x8_t low =
      vcombine_u16(vmovn_u32(vcgezq_s32(sums.part[0])), vmovn_u32(vcgezq_s32(sums.part[1])));
  const uint16x8_t high =
      vcombine_u16(vmovn_u32(vcgezq_s32(sums.part[2])), vmovn_u32(vcgezq_s32(sums.part[3])));
  const uint16x8_t bits = {1, 2, 4, 8, 16, 32, 64, 128};
  return vaddvq_u16(vorrq_u16(vandq_u16(low, bits), vandq_u16(high, vshlq_n_u16(bits, 8))));
}

int32_t list_survivors(const Sums& sums, int32_t first, uint16_t* to) {
  return list_bits(survivors(sums), first, to);
}

void store_sums(const Sums& sums, int32_t* out) {
  for (int j = 0; j < 4; ++j) vst1q_s32(out + 4 * j, sums.part[j]);
}

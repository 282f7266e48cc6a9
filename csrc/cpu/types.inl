// The element types, each a name for its bits, so that overloads tell fp16 from bf16; and one
// element as fp32, exactly.
struct Float32 {
  float value;
};
struct Float16 {
  uint16_t value;
};
struct BFloat16 {
  uint16_t value;
};
struct Int8 {
  int8_t value;
};

// Writes `first` and more for each bit of a mask, rising; returns their number.
[[maybe_unused]] int32_t list_bits(uint32_t mask, int32_t first, uint16_t* to) {
  const int32_t count = __builtin_popcount(mask);
  for (; mask != 0; mask &= mask - 1) *to++ = static_cast<uint16_t>(first + __builtin_ctz(mask));
  return count;
}

float widen(Float32 x) { return x.value; }

float widen(BFloat16 x) {
  const uint32_t bits = static_cast<uint32_t>(x.value) << 16;
  float value;
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}

float widen(Int8 x) { return static_cast<float>(x.value); }

float widen(Float16 x) {
  const uint32_t sign = static_cast<uint32_t>(x.value & 0x8000) << 16;
  const uint32_t exponent = (x.value >> 10) & 0x1f;
  const uint32_t fraction = x.value & 0x3ff;
  float value;
  if (exponent == 0) {  // zero and subnormals: fraction * 2^-24, exact in fp32
    value = static_cast<float>(fraction) * 5.9604644775390625e-8f;
    return sign ? -value : value;
  }
  const uint32_t widened = exponent == 31 ? 255 : exponent + 112;
  const uint32_t bits = sign | (widened << 23) | (fraction << 13);
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}

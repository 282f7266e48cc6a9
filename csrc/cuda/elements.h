// Rows in global memory, on GPUs and, for tests, on the host: the element types of matrix.h, eight
// elements of a row at a time, each widened to fp32 exactly.
#pragma once

#include <cstdint>
#include <cstring>

#include "base/truth.h"

namespace meddel::cuda {

// Names for bits, so that overloads tell fp16 from bf16.
struct Float16 {
  uint16_t value;
};
struct BFloat16 {
  uint16_t value;
};

MEDDEL_HD inline float float_of(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

MEDDEL_HD inline float widen(float x) { return x; }
MEDDEL_HD inline float widen(int8_t x) { return static_cast<float>(x); }
MEDDEL_HD inline float widen(BFloat16 x) { return float_of(static_cast<uint32_t>(x.value) << 16); }

// For finite ones. In place, exponents are too small by 112; the product that sets them right is
// exact, for subnormals as well.
MEDDEL_HD inline float widen(Float16 x) {
  const uint32_t sign = static_cast<uint32_t>(x.value & 0x8000) << 16;
  return float_of(sign | static_cast<uint32_t>(x.value & 0x7fff) << 13) * 0x1p112f;
}

// Sums and products of the truth, each rounded as written: a product here is exact, so that one
// fused instruction gives the same bits.
MEDDEL_HD inline double multiply_add(double x, double y, double sum) {
#if defined(__CUDA_ARCH__)
  return __fma_rn(x, y, sum);
#else
  return sum + x * y;
#endif
}

constexpr int kEight = 8;  // elements at a time, and lanes of the truth

struct alignas(16) Floats {
  float value[kEight];
};

// Eight elements as they lie in memory; loads and stores of Words take one instruction of 16 bytes
// (8 for int8) each.
template <class T>
struct Eight {
  static constexpr int kBytes = kEight * static_cast<int>(sizeof(T));
  static constexpr int kAlignment = kBytes < 16 ? kBytes : 16;

  struct alignas(kAlignment) Words {
    uint32_t word[kAlignment / 4];
  };

  union {
    Words words[kBytes / kAlignment];
    T element[kEight];
  };

  MEDDEL_HD Floats widened() const {
    Floats out;
    for (int e = 0; e < kEight; ++e) out.value[e] = widen(element[e]);
    return out;
  }
};

// A matrix of rows of T.
template <class T>
struct Rows {
  const T* data;
  int64_t d;
  int64_t ld;
  bool aligned;  // whether every eighth element stands at a multiple of Eight<T>::kAlignment bytes

  // Elements [begin, begin + 8) of a row, zeros beyond its end (which leave every sum as it is).
  MEDDEL_HD Eight<T> eight(int64_t row, int64_t begin) const {
    Eight<T> out{};
    const T* from = data + row * ld + begin;
    if (aligned && begin + kEight <= d) {
      for (int w = 0; w < Eight<T>::kBytes / Eight<T>::kAlignment; ++w) {
        out.words[w] = reinterpret_cast<const typename Eight<T>::Words*>(from)[w];
      }
      return out;
    }
    for (int e = 0; e < kEight; ++e) {
      if (begin + e < d) out.element[e] = from[e];
    }
    return out;
  }
};

}  // namespace meddel::cuda

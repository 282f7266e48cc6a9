// Plain C++ for any architecture: the fallback, and what the compiler's own vectors make of it.
#include "cpu/kernels.h"

namespace meddel {
namespace {

struct Lanes {
  double lane[8];
};

#include "cpu/types.inl"

Lanes zero_lanes() { return {}; }

template <class T>
Lanes load_lanes(const T* p) {
  Lanes out;
  for (int j = 0; j < 8; ++j) out.lane[j] = static_cast<double>(widen(p[j]));
  return out;
}

template <class T>
Floats widen16(const T* p) {
  Floats out;
  for (int j = 0; j < 16; ++j) out[j] = widen(p[j]);
  return out;
}

Lanes multiply_add(const Lanes& a, const Lanes& b, const Lanes& sum) {
  Lanes out;
  for (int j = 0; j < 8; ++j) out.lane[j] = sum.lane[j] + a.lane[j] * b.lane[j];
  return out;
}

double add_lanes(const Lanes& s) {
  const double a = s.lane[0] + s.lane[4], b = s.lane[1] + s.lane[5];
  const double c = s.lane[2] + s.lane[6], e = s.lane[3] + s.lane[7];
  return (a + c) + (b + e);
}

constexpr int kTileVectors = 1;
constexpr int kScreenBlocks = 1;
constexpr int32_t kScreenBias = 0;

inline void append_columns(uint32_t mask, int64_t block, uint16_t* columns, int32_t& count);

template <int kBlocks>
void screen_tile(const uint8_t* x, const int32_t* x_start, const int8_t* y, const int32_t* y_start,
                 int64_t width, int64_t block, uint16_t* columns, int64_t stride, int32_t* counts) {
  static_assert(kBlocks == 1, "one block at a time");
  for (int r = 0; r < 4; ++r) {
    int32_t sum[16];
    for (int c = 0; c < 16; ++c) sum[c] = x_start[r] + y_start[c];
    for (int64_t g = 0; g < width; g += 4) {
      const uint8_t* a = x + r * width + g;
      const int8_t* b = y + g * 16;
      for (int c = 0; c < 16; ++c) {
        for (int k = 0; k < 4; ++k) sum[c] += static_cast<int8_t>(a[k]) * b[c * 4 + k];
      }
    }
    uint32_t mask = 0;
    for (int c = 0; c < 16; ++c) mask |= static_cast<uint32_t>(sum[c] >= 0) << c;
    append_columns(mask, block, columns + r * stride, counts[r]);
  }
}

#include "cpu/leaf.inl"

}  // namespace

const Kernels kScalarKernels = make_kernels("scalar");

}  // namespace meddel

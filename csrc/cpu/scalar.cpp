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

Lanes root_lanes(Lanes x) {
  for (double& lane : x.lane) lane = __builtin_sqrt(lane);
  return x;
}

// What every 64-bit CPU has in one register.
typedef float Floats __attribute__((vector_size(16)));

constexpr int kFloats = 4;
constexpr int kTileFloats = 4;
constexpr int kCrossRows = 1;
constexpr int kShortRows = 4;

template <class T>
Floats load_floats(const T* p) {
  return Floats{widen(p[0]), widen(p[1]), widen(p[2]), widen(p[3])};
}

float add_floats(Floats x) { return (x[0] + x[2]) + (x[1] + x[3]); }

Floats round_to_codes(Floats x, int8_t* code) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves no fraction
  for (int j = 0; j < kFloats; ++j) {
    float q = x[j];
    q = q < -127.0f ? -127.0f : q;
    q = q > 127.0f ? 127.0f : q;
    x[j] = (q + kRound) - kRound;
    code[j] = static_cast<int8_t>(static_cast<int32_t>(x[j]));
  }
  return x;
}

typedef int32_t Ints __attribute__((vector_size(16)));
typedef int16_t Shorts __attribute__((vector_size(16)));

struct Sums {
  Ints part[4];
};

// The codes of even and of odd place, widened.
struct Group {
  Shorts even[4];
  Shorts odd[4];
};

constexpr int kScreenBlocks = 1;
constexpr int32_t kScreenBias = 0;

Group load_group(const int8_t* y) {
  Group out;
  for (int j = 0; j < 4; ++j) {
    __builtin_memcpy(&out.odd[j], y + 16 * j, sizeof(Shorts));
    out.even[j] = out.odd[j] << 8 >> 8;
    out.odd[j] >>= 8;
  }
  return out;
}

Sums start_sums(const int32_t* y_start, int32_t x_start) {
  Sums out;
  __builtin_memcpy(&out, y_start, sizeof out);
  typedef uint32_t Unsigned __attribute__((vector_size(sizeof(Ints))));  // may wrap: `highest`
  for (int j = 0; j < 4; ++j) {
    out.part[j] = reinterpret_cast<Ints>(reinterpret_cast<Unsigned>(out.part[j]) +
                                         static_cast<uint32_t>(x_start));
  }
  return out;
}

// Codes keep within 127, so two products stay within 16 bits.
Ints multiply_add_words(const Ints& sum, Shorts even, Shorts odd, const Group& b, int j) {
  const Ints pairs = reinterpret_cast<Ints>(even * b.even[j] + odd * b.odd[j]);
  return sum + ((pairs << 16 >> 16) + (pairs >> 16));
}

Sums add_products(const Sums& sums, int32_t four, const Group& b) {
  const Shorts bytes = reinterpret_cast<Shorts>(Ints{four, four, four, four});
  const Shorts even = bytes << 8 >> 8, odd = bytes >> 8;
  Sums out;
  for (int j = 0; j < 4; ++j) out.part[j] = multiply_add_words(sums.part[j], even, odd, b, j);
  return out;
}

Sums add_chunk(const Sums& sums, const uint8_t* x, const Group& b) {
  const Group a = load_group(reinterpret_cast<const int8_t*>(x));
  Sums out;
  for (int j = 0; j < 4; ++j) {
    out.part[j] = multiply_add_words(sums.part[j], a.even[j], a.odd[j], b, j);
  }
  return out;
}

int32_t add_sums(const Sums& sums) {
  const Ints all = (sums.part[0] + sums.part[1]) + (sums.part[2] + sums.part[3]);
  return (all[0] + all[1]) + (all[2] + all[3]);
}

Sums common_bits(const Sums& a, const Sums& b) {
  Sums out;
  for (int j = 0; j < 4; ++j) out.part[j] = a.part[j] & b.part[j];
  return out;
}

uint32_t survivors(const Sums& sums) {
  uint32_t mask = 0;
  for (int c = 0; c < 16; ++c) mask |= static_cast<uint32_t>(sums.part[c / 4][c % 4] >= 0) << c;
  return mask;
}

int32_t list_survivors(const Sums& sums, int32_t first, uint16_t* to) {
  return list_bits(survivors(sums), first, to);
}

void store_sums(const Sums& sums, int32_t* out) { __builtin_memcpy(out, &sums, sizeof sums); }

#include "cpu/leaf.inl"

}  // namespace

const Kernels kScalarKernels = make_kernels("scalar");

}  // namespace meddel

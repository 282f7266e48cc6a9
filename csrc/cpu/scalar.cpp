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

#include "cpu/leaf.inl"

}  // namespace

const Kernels kScalarKernels = make_kernels("scalar");

}  // namespace meddel

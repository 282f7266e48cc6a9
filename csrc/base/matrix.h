// A read-only view of n rows of d elements, ld elements apart; the elements of a row are adjacent.
#pragma once

#include <cstdint>

namespace meddel {

// The order is that of the tables in cpu/kernels.h.
enum class DType : int { kFloat32 = 0, kFloat16 = 1, kBFloat16 = 2, kInt8 = 3 };
constexpr int kDTypes = 4;

inline int64_t item_size(DType dtype) {
  return dtype == DType::kFloat32 ? 4 : dtype == DType::kInt8 ? 1 : 2;
}

class Known;

struct Matrix {
  const void* data;
  int64_t n;
  int64_t d;
  int64_t ld;
  DType dtype;
  Known* known = nullptr;  // what is known of all its rows, where somebody keeps it

  int64_t row_bytes() const { return d * item_size(dtype); }
  const void* row(int64_t i) const {
    return static_cast<const char*>(data) + i * ld * item_size(dtype);
  }
};

// Begins to load what may lie anywhere, so that nothing else foresees it.
inline void fetch(const void* from, int64_t bytes) {
  constexpr int64_t kLine = 64;
  for (int64_t at = 0; at < bytes; at += kLine) {
    __builtin_prefetch(static_cast<const char*>(from) + at);
  }
}

}  // namespace meddel

// From matrices whose element type is known when the program runs to kernels of that type.
#pragma once

#include <cstdint>

#include "base/matrix.h"
#include "cuda/elements.h"

namespace meddel::cuda {

template <class T>
Rows<T> typed(const Matrix& x) {
  constexpr uintptr_t kAlignment = Eight<T>::kAlignment;
  const uintptr_t row_bytes = static_cast<uintptr_t>(x.ld) * sizeof(T);
  const bool aligned =
      reinterpret_cast<uintptr_t>(x.data) % kAlignment == 0 && row_bytes % kAlignment == 0;
  return {static_cast<const T*>(x.data), x.d, x.ld, aligned};
}

// Calls visit with a value of the matrix's element type.
template <class Visit>
void with_type(DType dtype, const Visit& visit) {
  switch (dtype) {
    case DType::kFloat32:
      return visit(float{});
    case DType::kFloat16:
      return visit(Float16{});
    case DType::kBFloat16:
      return visit(BFloat16{});
    case DType::kInt8:
      return visit(int8_t{});
  }
}

}  // namespace meddel::cuda

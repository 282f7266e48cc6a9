// cuda/launch.h for Python: memory comes as addresses, so that this is tied to no version of torch,
// and is trusted to be what meddel_fast.kernels.cuda says of it. Nothing here waits for the device,
// so the GIL is kept.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <tuple>
#include <utility>

#include "base/check.h"
#include "cuda/launch.h"

namespace py = pybind11;

namespace meddel::cuda {
namespace {

using Address = uintptr_t;
using MatrixTuple = std::tuple<Address, int64_t, int64_t, int64_t, std::string>;

template <class T>
T* pointer(Address address) {
  return reinterpret_cast<T*>(address);
}

// From (address, rows, columns, elements between rows, type).
Matrix matrix(const MatrixTuple& x) {
  const auto& [address, n, d, ld, type] = x;
  MEDDEL_CHECK(n > 0 && d > 0 && ld >= d, "expected at least one row and one column");
  constexpr std::pair<const char*, DType> kTypes[] = {{"float32", DType::kFloat32},
                                                      {"float16", DType::kFloat16},
                                                      {"bfloat16", DType::kBFloat16},
                                                      {"int8", DType::kInt8}};
  for (const auto& [name, dtype] : kTypes) {
    if (type == name) return {pointer<const void>(address), n, d, ld, dtype};
  }
  throw std::invalid_argument("expected float32, float16, bfloat16 or int8, got " + type);
}

Metric metric(bool cosine_metric) { return cosine_metric ? Metric::kCosine : Metric::kEuclidean; }

void inner_products_py(const MatrixTuple& x, Address i, const MatrixTuple& y, Address j,
                       int64_t count, Address out, Address stream) {
  const Matrix left = matrix(x), right = matrix(y);
  MEDDEL_CHECK(left.d == right.d && left.dtype == right.dtype,
               "x and y must agree in width and type");
  inner_products(left, pointer<const int64_t>(i), right, pointer<const int64_t>(j), count,
                 pointer<double>(out), pointer<void>(stream));
}

void distance_matrix_py(const MatrixTuple& x, Address squares, bool cosine_metric, Address out,
                        Address stream) {
  distance_matrix(matrix(x), pointer<const double>(squares), metric(cosine_metric),
                  pointer<double>(out), pointer<void>(stream));
}

void kcenter_select_py(Address distances, Address rows, int64_t count, Address nearest, double tau,
                       int64_t border, double radius, int64_t most, bool cosine_metric,
                       Address centres, Address radii, Address selected, Address stream) {
  MEDDEL_CHECK(count >= 1 && count <= KCenterSelect::kMost,
               "count must be from 1 to " << KCenterSelect::kMost << ", got " << count);
  kcenter_select({pointer<const double>(distances), pointer<const int64_t>(rows), count,
                  pointer<double>(nearest), tau, border, radius, most, metric(cosine_metric),
                  pointer<int64_t>(centres), pointer<double>(radii), pointer<Selected>(selected)},
                 pointer<void>(stream));
}

void components_py(Address i, Address j, int64_t count, int64_t n, Address roots, Address stream) {
  components(pointer<const int64_t>(i), pointer<const int64_t>(j), count, n,
             pointer<int64_t>(roots), pointer<void>(stream));
}

}  // namespace

PYBIND11_MODULE(MEDDEL_CUDA_MODULE, m) {
  m.def("device_names", &device_names);
  m.def("inner_products", &inner_products_py);
  m.def("distance_matrix", &distance_matrix_py);
  m.def("kcenter_select", &kcenter_select_py);
  m.def("components", &components_py);
}

}  // namespace meddel::cuda

#include "cuda/common.cuh"
#include "cuda/inner_products.h"
#include "cuda/launch.h"
#include "cuda/typed.h"

namespace meddel::cuda {
namespace {

template <class T>
__global__ void __launch_bounds__(InnerProducts::kThreads)
    inner_products_kernel(const InnerProducts::Arguments<T> arguments) {
  __shared__ alignas(16) float shared[InnerProducts::kShared];
  InnerProducts::run(DeviceBlock{}, arguments, shared);
}

template <class T>
__global__ void __launch_bounds__(DistanceMatrix::kThreads, 2)
    distance_matrix_kernel(const DistanceMatrix::Arguments<T> arguments) {
  __shared__ alignas(16) double shared[DistanceMatrix::kShared];
  DistanceMatrix::run(DeviceBlock{}, arguments, shared);
}

}  // namespace

void inner_products(const Matrix& x, const int64_t* i, const Matrix& y, const int64_t* j,
                    int64_t count, double* out, Stream stream) {
  if (count == 0) return;
  with_type(x.dtype, [&](auto element) {
    using T = decltype(element);
    const auto blocks = (count + InnerProducts::kPairs - 1) / InnerProducts::kPairs;
    inner_products_kernel<T>
        <<<static_cast<unsigned>(blocks), InnerProducts::kThreads, 0,
           static_cast<cudaStream_t>(stream)>>>({typed<T>(x), typed<T>(y), i, j, count, out});
    CUDA_CHECK(cudaGetLastError());
  });
}

void distance_matrix(const Matrix& x, const double* squares, Metric metric, double* out,
                     Stream stream) {
  with_type(x.dtype, [&](auto element) {
    using T = decltype(element);
    const auto tiles =
        static_cast<unsigned>((x.n + DistanceMatrix::kTile - 1) / DistanceMatrix::kTile);
    distance_matrix_kernel<T>
        <<<dim3(tiles, tiles), DistanceMatrix::kThreads, 0, static_cast<cudaStream_t>(stream)>>>(
            {typed<T>(x), x.n, squares, metric, out});
    CUDA_CHECK(cudaGetLastError());
  });
}

}  // namespace meddel::cuda

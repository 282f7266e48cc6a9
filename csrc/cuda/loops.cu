// Loops that live on the device: k-center's selection and union-find.
#include "cuda/common.cuh"
#include "cuda/components.h"
#include "cuda/launch.h"

namespace meddel::cuda {
namespace {

constexpr int64_t kMostBlocks = 4096;  // of loops over a grid: a GPU holds at most 8 x 160 or so

__global__ void __launch_bounds__(KCenterSelect::kThreads)
    kcenter_select_kernel(const KCenterSelect::Arguments arguments) {
  __shared__ KCenterSelect::Shared shared;
  KCenterSelect::run(DeviceBlock{}, arguments, shared);
}

__global__ void __launch_bounds__(Components::kThreads) start_kernel(int64_t* parent, int64_t n) {
  Components::start(DeviceBlock{}, parent, n);
}

__global__ void __launch_bounds__(Components::kThreads)
    join_kernel(int64_t* parent, const int64_t* i, const int64_t* j, int64_t count) {
  Components::join(DeviceBlock{}, parent, i, j, count);
}

__global__ void __launch_bounds__(Components::kThreads) finish_kernel(int64_t* parent, int64_t n) {
  Components::finish(DeviceBlock{}, parent, n);
}

unsigned blocks_for(int64_t count) {
  const int64_t blocks = (count + Components::kThreads - 1) / Components::kThreads;
  return static_cast<unsigned>(blocks < kMostBlocks ? blocks : kMostBlocks);
}

}  // namespace

std::vector<std::string> device_names() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) {
    cudaGetLastError();  // no driver, or no device: not an error of a later call
    return {};
  }
  std::vector<std::string> names;
  for (int device = 0; device < count; ++device) {
    cudaDeviceProp properties;
    CUDA_CHECK(cudaGetDeviceProperties(&properties, device));
    names.emplace_back(properties.name);
  }
  return names;
}

void kcenter_select(const KCenterSelect::Arguments& arguments, Stream stream) {
  kcenter_select_kernel<<<1, KCenterSelect::kThreads, 0, static_cast<cudaStream_t>(stream)>>>(
      arguments);
  CUDA_CHECK(cudaGetLastError());
}

void components(const int64_t* i, const int64_t* j, int64_t count, int64_t n, int64_t* roots,
                Stream stream) {
  const auto on = static_cast<cudaStream_t>(stream);
  if (n == 0) return;
  start_kernel<<<blocks_for(n), Components::kThreads, 0, on>>>(roots, n);
  CUDA_CHECK(cudaGetLastError());
  if (count > 0) {
    join_kernel<<<blocks_for(count), Components::kThreads, 0, on>>>(roots, i, j, count);
    CUDA_CHECK(cudaGetLastError());
  }
  finish_kernel<<<blocks_for(n), Components::kThreads, 0, on>>>(roots, n);
  CUDA_CHECK(cudaGetLastError());
}

}  // namespace meddel::cuda

// What every .cu file needs: errors as exceptions, and a thread's view of its block.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <sstream>
#include <stdexcept>

#include "base/matrix.h"
#include "cuda/elements.h"

// After a launch, CUDA_CHECK(cudaGetLastError()).
#define CUDA_CHECK(call)                                                                       \
  do {                                                                                         \
    const cudaError_t meddel_cuda_error = (call);                                              \
    if (meddel_cuda_error != cudaSuccess) {                                                    \
      std::ostringstream meddel_cuda_stream;                                                   \
      meddel_cuda_stream << "CUDA: " << cudaGetErrorString(meddel_cuda_error) << " (" << #call \
                         << ")"; /* NOLINT */                                                  \
      throw std::runtime_error(meddel_cuda_stream.str());                                      \
    }                                                                                          \
  } while (false)

namespace meddel::cuda {

// A thread's view of its block, of one dimension, all of whose warps are full.
struct DeviceBlock {
  __device__ int thread() const { return static_cast<int>(threadIdx.x); }
  __device__ int64_t index_x() const { return blockIdx.x; }
  __device__ int64_t index_y() const { return blockIdx.y; }

  // Among all threads of all blocks, for grids of one dimension.
  __device__ int64_t first() const {
    return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  }
  __device__ int64_t all() const { return static_cast<int64_t>(gridDim.x) * blockDim.x; }

  __device__ void sync() const { __syncthreads(); }
  __device__ void sync_warp() const { __syncwarp(); }

  // The value of the warp's thread whose number differs in the bits of mask; all threads call it.
  template <class T>
  __device__ T shuffle_xor(T value, int mask) const {
    return __shfl_xor_sync(0xffffffffu, value, mask);
  }

  // Of words that other threads change meanwhile.
  __device__ int64_t load(const int64_t* from) const {
    return *static_cast<const volatile int64_t*>(from);
  }
  __device__ void store(int64_t* to, int64_t value) const {
    *static_cast<volatile int64_t*>(to) = value;
  }
  // Stores `value` where `expected` stands; returns what stood there.
  __device__ int64_t compare_and_swap(int64_t* at, int64_t expected, int64_t value) const {
    return static_cast<int64_t>(atomicCAS(reinterpret_cast<unsigned long long*>(at),
                                          static_cast<unsigned long long>(expected),
                                          static_cast<unsigned long long>(value)));
  }
};

}  // namespace meddel::cuda

// What the GPU does for meddel_fast, as plain C++ functions: each puts its kernels on a stream of
// the current device and returns; nothing here synchronises but device_names. Pointers are to that
// device's memory, and sizes were checked by the caller (cuda_bindings.cpp). Errors of CUDA are
// thrown as std::runtime_error.
//
// The .cu files define these for GPUs, tests/native/cuda_on_host.cpp for the host.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/matrix.h"
#include "base/truth.h"
#include "cuda/kcenter_select.h"

namespace meddel::cuda {

// Opaque: a cudaStream_t.
using Stream = void*;

// The names of the devices; empty if there is no driver or none.
std::vector<std::string> device_names();

// out[p] = <row i[p] of x, row j[p] of y> in fp64, the truth's bits; without i or j, row p. x and y
// have the same d and type.
void inner_products(const Matrix& x, const int64_t* i, const Matrix& y, const int64_t* j,
                    int64_t count, double* out, Stream stream);

// out (n x n): distances of all pairs of the n rows of x: the truth's cosine distances, or its
// squared distances, given their squared norms.
void distance_matrix(const Matrix& x, const double* squares, Metric metric, double* out,
                     Stream stream);

// See kcenter_select.h.
void kcenter_select(const KCenterSelect::Arguments& arguments, Stream stream);

// roots[p] = the lowest position of p's component in the graph of n positions and the listed pairs.
void components(const int64_t* i, const int64_t* j, int64_t count, int64_t n, int64_t* roots,
                Stream stream);

}  // namespace meddel::cuda

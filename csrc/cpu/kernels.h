// The few primitives that differ by instruction set: one table a set, filled by its leaf file.
//
// The leaf files include this header and intrinsics, nothing else: inline code of other headers,
// compiled with their flags, could be merged by the linker into what older CPUs run.
#pragma once

#include <cstddef>
#include <cstdint>

namespace meddel {

// The truth: <x, y> of d elements in fp64, in the order that truth.h states.
using DotFn = double (*)(const void* x, const void* y, int64_t d);

// out[c] = <x, row rows[c] of y>, the same bits as DotFn; y's rows are ld elements apart. Without
// rows, the first count ones.
using DotsFn = void (*)(const void* x, const void* y, int64_t ld, const int64_t* rows,
                        int64_t count, int64_t d, double* out);

// The d elements as fp32, exactly.
using WidenFn = void (*)(const void* x, int64_t d, float* out);

// Whether all d elements are finite.
using FiniteFn = bool (*)(const void* x, int64_t d);

// Every array of four is indexed by DType: fp32, fp16, bf16, int8.
struct Kernels {
  const char* name;
  DotFn dot[4];
  DotsFn dots[4];
  WidenFn widen[4];
  FiniteFn finite[4];
};

// Tables of the leaf files; defined only for the architecture they belong to.
extern const Kernels kScalarKernels;
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;
extern const Kernels kAvx512VnniKernels;

}  // namespace meddel

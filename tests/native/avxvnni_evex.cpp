// The AVX-VNNI leaf with the same instruction as AVX-512 encodes it, for CPUs that have only that.
#include <immintrin.h>

#define _mm256_dpbusd_avx_epi32 _mm256_dpbusd_epi32
#define kAvxVnniKernels kAvxVnniEvexKernels

#include "cpu/avxvnni.cpp"

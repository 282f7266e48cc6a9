// Eight or sixteen elements to fp32, exactly; needs AVX2 and F16C.
__m256 widen8(const Float32* p) { return _mm256_loadu_ps(&p->value); }

__m256 widen8(const Float16* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

__m256 widen8(const BFloat16* p) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}

__m256 widen8(const Int8* p) {
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
}

template <class T>
Floats widen16(const T* p) {
  const __m256 halves[2] = {widen8(p), widen8(p + 8)};
  Floats out;
  __builtin_memcpy(&out, halves, sizeof out);
  return out;
}

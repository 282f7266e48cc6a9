// The floating-point state that the truth needs: rounding to nearest, and subnormals. A caller may
// have switched either off for its thread (torch.set_flush_denormal, fesetround, or loading a
// library built with -ffast-math), and new threads inherit it.
#pragma once

#include <cstdint>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace meddel {

#if defined(__SSE2__)
constexpr uint64_t kDefaultFloatingPoint = 0x1f80;
inline uint64_t floating_point() { return _mm_getcsr(); }
inline void set_floating_point(uint64_t state) { _mm_setcsr(static_cast<unsigned>(state)); }
#elif defined(__aarch64__)
constexpr uint64_t kDefaultFloatingPoint = 0;
inline uint64_t floating_point() {
  uint64_t state;
  __asm__ volatile("mrs %0, fpcr" : "=r"(state));
  return state;
}
inline void set_floating_point(uint64_t state) {
  __asm__ volatile("msr fpcr, %0" : : "r"(state) : "memory");
}
#else
constexpr uint64_t kDefaultFloatingPoint = 0;
inline uint64_t floating_point() { return 0; }
inline void set_floating_point(uint64_t) {}
#endif

// Sets it for a thread, for as long as this lives.
class DefaultFloatingPoint {
 public:
  DefaultFloatingPoint() : saved_(floating_point()) { set_floating_point(kDefaultFloatingPoint); }
  ~DefaultFloatingPoint() { set_floating_point(saved_); }
  DefaultFloatingPoint(const DefaultFloatingPoint&) = delete;
  DefaultFloatingPoint& operator=(const DefaultFloatingPoint&) = delete;

 private:
  const uint64_t saved_;
};

}  // namespace meddel

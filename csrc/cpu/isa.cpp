#include "cpu/isa.h"

#include <atomic>
#include <cstdlib>
#include <stdexcept>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace meddel {
namespace {

struct Row {
  const Kernels* kernels;
  bool (*supported)();
};

bool always() { return true; }

#if defined(__x86_64__)

// Read from the CPU itself: __builtin_cpu_supports answered 0 for everything under one compiler.
struct Cpu {
  uint32_t leaf1_ecx = 0, leaf7_ebx = 0, leaf7_ecx = 0, leaf7_1_eax = 0, xcr0 = 0;

  Cpu() {
    uint32_t eax, ebx, ecx, edx;
    if (__get_cpuid(1, &eax, &ebx, &ecx, &edx)) leaf1_ecx = ecx;
    if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) {
      leaf7_ebx = ebx;
      leaf7_ecx = ecx;
      if (eax >= 1 && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx)) leaf7_1_eax = eax;
    }
    if (leaf1_ecx >> 27 & 1) {  // OSXSAVE: the system tells which registers it saves
      __asm__("xgetbv" : "=a"(xcr0), "=d"(edx) : "c"(0));
    }
  }
};

const Cpu& cpu() {
  static const Cpu found;
  return found;
}

bool has(uint32_t word, std::initializer_list<int> bits) {
  for (int bit : bits) {
    if (!(word >> bit & 1)) return false;
  }
  return true;
}

bool has_avx2() {  // FMA, F16C, AVX2; YMM saved
  return has(cpu().leaf1_ecx, {12, 29}) && has(cpu().leaf7_ebx, {5}) && has(cpu().xcr0, {1, 2});
}

#if defined(MEDDEL_AVXVNNI)
bool has_avxvnni() { return has_avx2() && has(cpu().leaf7_1_eax, {4}); }
#endif

bool has_avx512() {  // F, DQ, BW, VL; ZMM and masks saved
  return has_avx2() && has(cpu().leaf7_ebx, {16, 17, 30, 31}) && has(cpu().xcr0, {5, 6, 7});
}

bool has_avx512vnni() { return has_avx512() && has(cpu().leaf7_ecx, {11}); }

#elif defined(__aarch64__)

bool has_neondot() {
#if defined(__APPLE__)
  return true;
#elif defined(__linux__)
  return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#else
  return false;
#endif
}

#endif

// Best first; the first supported one is the default.
constexpr Row kTable[] = {
#if defined(__x86_64__)
    {&kAvx512VnniKernels, has_avx512vnni},
    {&kAvx512Kernels, has_avx512},
#if defined(MEDDEL_AVXVNNI)
    {&kAvxVnniKernels, has_avxvnni},
#endif
    {&kAvx2Kernels, has_avx2},
#elif defined(__aarch64__)
    {&kNeonDotKernels, has_neondot},
    {&kNeonKernels, always},
#endif
    {&kScalarKernels, always},
};

const Kernels& find(const std::string& name, const char* source) {
  std::string names;
  for (const Row& row : kTable) {
    if (!row.supported()) continue;
    if (name.empty() || name == row.kernels->name) return *row.kernels;
    names += names.empty() ? "" : ", ";
    names += row.kernels->name;
  }
  throw std::invalid_argument(std::string(source) + " must be one of " + names + ", got '" + name +
                              "'");
}

const Kernels& default_kernels() {
  const char* name = std::getenv("MEDDEL_ISA");
  return find(name == nullptr ? "" : name, "MEDDEL_ISA");
}

std::atomic<const Kernels*> in_use{nullptr};

}  // namespace

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (const Row& row : kTable) {
    if (row.supported()) names.emplace_back(row.kernels->name);
  }
  return names;
}

const Kernels& kernels() {
  const Kernels* current = in_use.load();
  if (current == nullptr) {
    current = &default_kernels();
    in_use = current;
  }
  return *current;
}

void use_isa(const std::string& name) {
  in_use = name.empty() ? &default_kernels() : &find(name, "isa");
}

}  // namespace meddel

#pragma once

#include <cstdint>

namespace meddel {

// Numbers that only have to look random (splitmix64): no answer depends on them.
class Scatter {
 public:
  double next() {
    state_ += 0x9e3779b97f4a7c15u;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return static_cast<double>(z >> 11) * 0x1p-53 - 0.5;
  }

 private:
  uint64_t state_ = 1;
};

}  // namespace meddel

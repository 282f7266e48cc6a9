// How the host runs what launch.h declares.
#pragma once

#include <cstdint>

namespace meddel::cuda {

// Of the order in which threads run.
void use_seed(uint32_t seed);

}  // namespace meddel::cuda

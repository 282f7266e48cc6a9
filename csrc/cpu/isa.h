// The one place that picks an instruction set.
#pragma once

#include <string>
#include <vector>

#include "cpu/kernels.h"

namespace meddel {

// Names of what was compiled in and this CPU (and its system) can run, best first.
std::vector<std::string> available_isas();

// The set in use: MEDDEL_ISA if it is set, else the best. Throws std::invalid_argument, listing
// what is available, when MEDDEL_ISA names another.
const Kernels& kernels();

// Use the named set from now on; "" goes back to the default. For tests and measurements.
void use_isa(const std::string& name);

}  // namespace meddel

// The basis B of a prefix screen: the directions in which a sample's points vary most, turned at
// random.
#pragma once

#include <cstdint>
#include <vector>

#include "base/parallel.h"
#include "screen/points.h"

namespace meddel {

// d x padded, of which the first `kept` columns are nearly orthonormal and the others zero.
std::vector<float> learn_basis(Team& team, const Sample& sample, int64_t kept, int64_t padded);

}  // namespace meddel

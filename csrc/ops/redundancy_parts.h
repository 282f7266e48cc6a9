// redundancy on parts of a set (see parts.h).
#pragma once

#include "base/parallel.h"
#include "ops/parts.h"
#include "ops/redundancy.h"

namespace meddel {

// Takes the samples of y that are earlier than a row of x and of its group into account
// of the row's best, which starts at -infinity and -1, or at a bar that samples have to exceed.
Redundancy earlier_in_part(const Part& x, const Part& y, Redundancy best, const Context& context);

}  // namespace meddel

// Rows of k-center that catch up with many centres at a time, by the screens of kcenter_codes.h.
#pragma once

#include <cstdint>

#include "base/parallel.h"
#include "base/sides.h"
#include "ops/catch_up.h"
#include "ops/kcenter_codes.h"

namespace meddel {

// Makes the rows take account of all centres. Those that have seen as many stand side by side, in
// rising order. Requires that `screens` has a first one.
void catch_up_by_screens(Team& team, const ScanSide& rows, const ScanSide& centres, Metric metric,
                         CentreScreens& screens, Bounds& bounds);

}  // namespace meddel

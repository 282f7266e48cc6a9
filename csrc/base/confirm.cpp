#include "base/confirm.h"

#include <algorithm>

namespace meddel::scan {

void best_first(std::vector<Candidate>::iterator begin, std::vector<Candidate>::iterator end,
                int64_t count) {
  std::nth_element(begin, begin + count - 1, end);
}

}  // namespace meddel::scan

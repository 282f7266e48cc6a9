// Candidates put in order.
#pragma once

#include <cstdint>
#include <vector>

#include "base/best_heap.h"

namespace meddel {

// Sorts many candidates in time that grows with their number: by where their similarity lies
// between the lowest and the highest in 2^16 steps, a byte at a time, and those of one step by
// comparison.
class CandidateOrder {
 public:
  // Leaves the best `most` of the candidates, best first.
  void operator()(std::vector<Candidate>& candidates, int64_t most);

 private:
  void by_steps(std::vector<Candidate>& candidates);

  std::vector<Candidate> other_;
  std::vector<uint16_t> steps_;
  std::vector<uint16_t> other_steps_;
};

}  // namespace meddel

#include "ops/candidate_order.h"

#include <algorithm>
#include <array>
#include <utility>

namespace meddel {
namespace {

constexpr size_t kFew = 64;  // candidates that are sorted by comparison alone
constexpr double kSteps = 65535.0;

}  // namespace

void CandidateOrder::operator()(std::vector<Candidate>& candidates, int64_t most) {
  if (candidates.size() > kFew) {
    by_steps(candidates);
  } else {
    std::sort(candidates.begin(), candidates.end());
  }
  if (static_cast<int64_t>(candidates.size()) > most) {
    candidates.resize(static_cast<size_t>(most));
  }
}

void CandidateOrder::by_steps(std::vector<Candidate>& candidates) {
  const size_t size = candidates.size();
  double highest = candidates[0].similarity, lowest = highest;
  for (const Candidate& candidate : candidates) {
    highest = std::max(highest, candidate.similarity);
    lowest = std::min(lowest, candidate.similarity);
  }
  if (highest == lowest) {
    std::sort(candidates.begin(), candidates.end());
    return;
  }
  // Rounded operations keep the order: no lower similarity has a lower step.
  const double scale = kSteps / (highest - lowest);
  other_.resize(size);
  steps_.resize(size);
  other_steps_.resize(size);
  std::array<uint32_t, 256> low{}, high{};
  for (size_t c = 0; c < size; ++c) {
    const double step = std::min((highest - candidates[c].similarity) * scale, kSteps);
    steps_[c] = static_cast<uint16_t>(step);
    ++low[steps_[c] & 255];
    ++high[steps_[c] >> 8];
  }
  uint32_t low_before = 0, high_before = 0;
  for (size_t byte = 0; byte < 256; ++byte) {
    low_before += std::exchange(low[byte], low_before);
    high_before += std::exchange(high[byte], high_before);
  }
  for (size_t c = 0; c < size; ++c) {
    const uint32_t to = low[steps_[c] & 255]++;
    other_[to] = candidates[c];
    other_steps_[to] = steps_[c];
  }
  for (size_t c = 0; c < size; ++c) {
    const uint32_t to = high[other_steps_[c] >> 8]++;
    candidates[to] = other_[c];
    steps_[to] = other_steps_[c];
  }
  for (size_t begin = 0, end = 1; begin < size; begin = end++) {
    while (end < size && steps_[end] == steps_[begin]) ++end;
    if (end - begin > 1) {
      std::sort(candidates.begin() + static_cast<int64_t>(begin),
                candidates.begin() + static_cast<int64_t>(end));
    }
  }
}

}  // namespace meddel

// The k best columns that a row of a scan has met.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

namespace meddel {

struct Candidate {
  double similarity;
  int64_t index;

  // Better ones come first: higher similarity, then lower index.
  bool operator<(const Candidate& other) const {
    return similarity > other.similarity || (similarity == other.similarity && index < other.index);
  }
};

// A heap of at most k, the worst of them on top.
class BestHeap {
 public:
  // What a similarity must reach to be among them.
  double bar(int64_t k) const {
    return size() < k ? -std::numeric_limits<double>::infinity() : heap_.front().similarity;
  }

  // The index of the worst; asked for where there is one.
  int64_t last() const { return heap_.front().index; }

  // Returns whether it is one of them.
  bool offer(const Candidate& candidate, int64_t k) {
    if (size() < k) {
      heap_.push_back(candidate);
    } else if (candidate < heap_.front()) {
      std::pop_heap(heap_.begin(), heap_.end());
      heap_.back() = candidate;
    } else {
      return false;
    }
    std::push_heap(heap_.begin(), heap_.end());
    return true;
  }

  // Puts the best first; nothing can be offered afterwards.
  void sort() { std::sort_heap(heap_.begin(), heap_.end()); }

  const std::vector<Candidate>& candidates() const { return heap_; }

 private:
  int64_t size() const { return static_cast<int64_t>(heap_.size()); }

  std::vector<Candidate> heap_;
};

}  // namespace meddel

#include "ops/facility.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace meddel {
namespace {

// Tells the caller several times a second how far an operation is, between pieces of work.
class Pulse {
 public:
  Pulse(const Context& context, int64_t steps) : context_(context), steps_(steps) {}

  // After so many edges were looked at, with so many steps done.
  void operator()(int64_t edges, int64_t done) {
    constexpr int64_t kEdges = 1 << 20;  // some milliseconds
    edges_ += edges;
    if (edges_ < kEdges) return;
    edges_ = 0;
    const auto now = Clock::now();
    if (now - last_ < std::chrono::milliseconds(50)) return;
    last_ = now;
    if (context_.poll) context_.poll();
    tell(done);
  }

  void tell(int64_t done) const {
    if (context_.progress) context_.progress(done, steps_);
  }

 private:
  using Clock = std::chrono::steady_clock;

  const Context& context_;
  const int64_t steps_;
  int64_t edges_ = 0;
  Clock::time_point last_ = Clock::now();
};

// How well the kept samples represent all.
class Coverage {
 public:
  explicit Coverage(const Graph& graph) : graph_(graph) {
    state_.best.assign(static_cast<size_t>(graph.n), 0.0);
    state_.by.assign(static_cast<size_t>(graph.n), -1);
  }

  int64_t edges(int64_t j) const { return graph_.start[j + 1] - graph_.start[j]; }

  void add(int64_t j) {
    for (int64_t e = graph_.start[j]; e < graph_.start[j + 1]; ++e) {
      const int64_t i = graph_.source[e];
      if (graph_.value[e] <= state_.best[i] && state_.by[i] >= 0) continue;
      state_.best[i] = graph_.value[e];
      state_.by[i] = j;
    }
  }

  double gain(int64_t j) const {
    double sum = 0.0;
    for (int64_t e = graph_.start[j]; e < graph_.start[j + 1]; ++e) {
      const int64_t i = graph_.source[e];
      const double term = std::max(graph_.value[e] - state_.best[i], 0.0);
      sum += graph_.weights == nullptr ? term : term * graph_.weights[i];
    }
    return sum;
  }

  // With the gains of all samples.
  const Represented& state() {
    state_.gains.resize(state_.best.size());
    for (int64_t j = 0; j < graph_.n; ++j) state_.gains[j] = gain(j);
    return state_;
  }

 private:
  const Graph& graph_;
  Represented state_;
};

struct Entry {
  double gain;
  int64_t sample;
  int64_t step;  // in which the gain was worked out

  // Below is what is to be chosen later: a lower gain, or a higher number.
  bool operator<(const Entry& other) const {
    return gain < other.gain || (gain == other.gain && sample > other.sample);
  }
};

}  // namespace

Facility facility(const Graph& graph, const std::vector<int64_t>& selected,
                  const std::vector<int64_t>& counts, const Context& context) {
  Coverage coverage(graph);
  std::vector<bool> taken(static_cast<size_t>(graph.n), false);
  for (const int64_t j : selected) {
    coverage.add(j);
    taken[j] = true;
  }
  const int64_t before = static_cast<int64_t>(selected.size()), steps = counts.back() - before;
  Pulse pulse(context, steps);
  std::vector<Entry> heap;
  for (int64_t j = 0; j < graph.n; ++j) {
    if (!taken[j]) heap.push_back({coverage.gain(j), j, 0});
    pulse(coverage.edges(j), 0);
  }
  std::make_heap(heap.begin(), heap.end());
  Facility out;
  auto count = counts.begin();
  for (int64_t step = 0; step < steps; ++step) {
    std::pop_heap(heap.begin(), heap.end());
    while (heap.back().step < step) {
      const int64_t j = heap.back().sample;
      heap.back() = {coverage.gain(j), j, step};
      std::push_heap(heap.begin(), heap.end());
      std::pop_heap(heap.begin(), heap.end());
      pulse(coverage.edges(j), step);
    }
    const Entry best = heap.back();
    heap.pop_back();
    out.order.push_back(best.sample);
    out.won.push_back(best.gain);
    coverage.add(best.sample);
    pulse(coverage.edges(best.sample), step + 1);
    if (before + step + 1 != *count) continue;
    out.at.push_back(coverage.state());
    ++count;
  }
  pulse.tell(steps);
  return out;
}

Facility stochastic_facility(const Graph& graph, const std::vector<int64_t>& selected,
                             std::vector<int64_t> left, const double* draws, int64_t steps,
                             int64_t size, const Context& context) {
  Coverage coverage(graph);
  for (const int64_t j : selected) coverage.add(j);
  Pulse pulse(context, steps);
  Facility out;
  for (int64_t step = 0; step < steps; ++step) {
    int64_t place = -1;
    double highest = 0.0;
    for (int64_t s = 0; s < size; ++s) {
      const double drawn = draws[step * size + s] * static_cast<double>(left.size());
      const auto at = static_cast<int64_t>(drawn);
      const double gain = coverage.gain(left[at]);
      pulse(coverage.edges(left[at]), step);
      if (place >= 0 && (gain < highest || (gain == highest && left[at] >= left[place]))) continue;
      place = at;
      highest = gain;
    }
    out.order.push_back(left[place]);
    out.won.push_back(highest);
    coverage.add(left[place]);
    left[place] = left.back();
    left.pop_back();
  }
  out.at.push_back(coverage.state());
  pulse.tell(steps);
  return out;
}

}  // namespace meddel

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

// What a thread works out a sample's column with, where that is not at hand.
class Walk {
 public:
  // The edges that lead to a sample, over one step or two.
  struct Column {
    const int64_t* source;
    const double* value;
    int64_t size;
    int64_t looked_at;  // edges, for it
  };

  Column column(const Graph& graph, int64_t j) {
    const int64_t first = graph.start[j], last = graph.start[j + 1];
    if (graph.hops == 1) {
      return {graph.source + first, graph.value + first, last - first, last - first};
    }
    if (most_.empty()) most_.assign(static_cast<size_t>(graph.n), kUnseen);
    source_.clear();
    int64_t looked_at = last - first;
    for (int64_t e = first; e < last; ++e) visit(graph.source[e], graph.value[e]);
    for (int64_t e = first; e < last; ++e) {
      const int64_t m = graph.source[e];
      if (m == j) continue;
      for (int64_t f = graph.start[m]; f < graph.start[m + 1]; ++f) {
        visit(graph.source[f], graph.value[f] * graph.value[e]);
      }
      looked_at += graph.start[m + 1] - graph.start[m];
    }
    value_.clear();
    for (const int64_t i : source_) {
      value_.push_back(most_[i]);
      most_[i] = kUnseen;
    }
    return {source_.data(), value_.data(), static_cast<int64_t>(source_.size()), looked_at};
  }

 private:
  static constexpr double kUnseen = -1.0;  // below all values

  void visit(int64_t i, double value) {
    if (most_[i] == kUnseen) source_.push_back(i);
    most_[i] = std::max(most_[i], value);
  }

  std::vector<double> most_;  // by sample
  std::vector<int64_t> source_;
  std::vector<double> value_;
};

// How well the kept samples represent all.
class Coverage {
 public:
  explicit Coverage(const Graph& graph) : graph_(graph) {
    state_.best.assign(static_cast<size_t>(graph.n), 0.0);
    state_.by.assign(static_cast<size_t>(graph.n), -1);
  }

  // Both return how many edges they looked at.
  int64_t add(int64_t j) {
    const Walk::Column column = walk_.column(graph_, j);
    for (int64_t e = 0; e < column.size; ++e) {
      const int64_t i = column.source[e];
      if (column.value[e] <= state_.best[i] && state_.by[i] >= 0) continue;
      state_.best[i] = column.value[e];
      state_.by[i] = j;
    }
    return column.looked_at;
  }

  int64_t gain(int64_t j, double* sum) { return gain(j, walk_, sum); }

  // Those of all samples.
  std::vector<double> gains(const Context& context) const {
    constexpr int64_t kGrain = 256;
    std::vector<double> out(static_cast<size_t>(graph_.n));
    Team team(context);
    std::vector<Walk> walks(static_cast<size_t>(team.most()));
    team.run_range(graph_.n, kGrain, [&](int64_t begin, int64_t end, int worker) {
      for (int64_t j = begin; j < end; ++j) {
        gain(j, walks[worker], &out[j]);
        team.checkpoint(worker);
      }
    });
    return out;
  }

  Represented state(const Context& context) {
    state_.gains = gains(context);
    return state_;
  }

 private:
  int64_t gain(int64_t j, Walk& walk, double* out) const {
    const Walk::Column column = walk.column(graph_, j);
    double sum = 0.0;
    for (int64_t e = 0; e < column.size; ++e) {
      const int64_t i = column.source[e];
      const double term = std::max(column.value[e] - state_.best[i], 0.0);
      sum += graph_.weights == nullptr ? term : term * graph_.weights[i];
    }
    *out = sum;
    return column.looked_at;
  }

  const Graph& graph_;
  Walk walk_;
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
  const std::vector<double> gains = coverage.gains(context);
  for (int64_t j = 0; j < graph.n; ++j) {
    if (!taken[j]) heap.push_back({gains[j], j, 0});
  }
  std::make_heap(heap.begin(), heap.end());
  Facility out;
  auto count = counts.begin();
  if (*count == before) {
    out.at.push_back(coverage.state(context));
    ++count;
  }
  for (int64_t step = 0; step < steps; ++step) {
    std::pop_heap(heap.begin(), heap.end());
    while (heap.back().step < step) {
      const int64_t j = heap.back().sample;
      double gain = 0.0;
      pulse(coverage.gain(j, &gain), step);
      heap.back() = {gain, j, step};
      std::push_heap(heap.begin(), heap.end());
      std::pop_heap(heap.begin(), heap.end());
    }
    const Entry best = heap.back();
    heap.pop_back();
    out.order.push_back(best.sample);
    out.won.push_back(best.gain);
    pulse(coverage.add(best.sample), step + 1);
    if (before + step + 1 != *count) continue;
    out.at.push_back(coverage.state(context));
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
      double gain = 0.0;
      pulse(coverage.gain(left[at], &gain), step);
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
  out.at.push_back(coverage.state(context));
  pulse.tell(steps);
  return out;
}

}  // namespace meddel

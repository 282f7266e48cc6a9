#include "ops/kcenter_boxes.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/truth.h"
#include "cpu/isa.h"
#include "ops/catch_up.h"
#include "screen/plan.h"

namespace meddel {
namespace {

// 100 to 100,000 rows of 1 to 8 elements: of 2 centres rows of 8 take up to twice as long as in
// GreedyByBounds, of 4 all take at most .8 of its time, of 100 at most .7, mostly .03 to .2.
constexpr int64_t kLeastCentres = 3;
constexpr int64_t kBlock = 16;       // centres, of Kernels::next_near
constexpr int64_t kChecked = 4096;   // centres that buckets look at between two checkpoints
constexpr int64_t kBoxesATime = 16;  // for a thread

}  // namespace

bool boxes_pay(const Matrix& x, int64_t k) {
  if (x.d > kNarrow || x.n > std::numeric_limits<int32_t>::max()) return false;
  return boxes_forced() || (k >= kLeastCentres && !screens_forced() && !near_forced());
}

GreedyInBoxes::GreedyInBoxes(const Matrix& x, const std::vector<int64_t>& first,
                             const Context& context)
    : x_(x),
      team_(context),
      boxes_(team_, x),
      states_(static_cast<size_t>(boxes_.size())),
      nearest_(new double[static_cast<size_t>(boxes_.positions)]) {
  std::vector<bool> taken(static_cast<size_t>(x.n), false);
  for (const int64_t row : first) taken[row] = true;
  for (int64_t b = 0; b < boxes_.size(); ++b) {
    const Box& box = boxes_.boxes[b];
    double farthest = kTaken;
    for (int64_t p = box.begin; p < box.begin + box.count; ++p) {
      const int32_t row = boxes_.rows[p];
      nearest_[p] = row < 0 || taken[row] ? kTaken : kInfinity;
      farthest = std::max(farthest, nearest_[p]);
    }
    states_[b] = {farthest, box.begin, 0};
    find_lowest(b);
  }
}

void GreedyInBoxes::add(int64_t centre) {
  const int64_t d = x_.d, count = static_cast<int64_t>(squares_.size()), lane = count % kBlock;
  float row[kNarrow];
  if (!heap_.empty() && heap_[0].row == centre) {
    const Box& box = boxes_.boxes[heap_[0].box];
    const int64_t at = states_[heap_[0].box].at;
    for (int64_t e = 0; e < d; ++e) row[e] = boxes_.points(box)[e * box.count + at - box.begin];
    squares_.push_back(boxes_.squares[at]);
    nearest_[at] = kTaken;
  } else {
    const int type = static_cast<int>(x_.dtype);
    kernels().widen[type](x_.row(centre), d, row);
    squares_.push_back(kernels().dot[type](x_.row(centre), x_.row(centre), d));
  }
  elements_.insert(elements_.end(), row, row + d);
  if (lane == 0) centres_.resize(centres_.size() + static_cast<size_t>(kBlock * d), 0.0f);
  float* const block = &centres_[(count - lane) * d];
  for (int64_t e = 0; e < d; ++e) block[kBlock * e + lane] = row[e];
}

void GreedyInBoxes::announce(int64_t done, int64_t total, int64_t span) {
  team_.announce(done, total, span);
  team_.checkpoint(0);
}

bool GreedyInBoxes::covered() {
  farthest();
  return heap_[0].farthest <= 0.0;
}

int64_t GreedyInBoxes::farthest() {
  if (heap_.empty()) {
    catch_up_all();
    for (int64_t b = 0; b < boxes_.size(); ++b) heap_.push_back(place(b));
    std::sort(heap_.begin(), heap_.end(), before);
  }
  while (true) {
    const int64_t b = heap_[0].box, left = static_cast<int64_t>(squares_.size()) - states_[b].seen;
    if (left == 0) return heap_[0].row;
    catch_up(b);
    heap_[0] = place(b);
    sift_down();
    looked_at_ += left;
    if (looked_at_ < kChecked) continue;
    looked_at_ = 0;
    team_.checkpoint(0);
  }
}

double GreedyInBoxes::distance(int64_t) const {
  return squares_.empty() ? kInfinity : std::sqrt(std::max(0.0, heap_[0].farthest));
}

std::vector<double> GreedyInBoxes::distances() {
  catch_up_all();
  std::vector<double> out(static_cast<size_t>(x_.n));
  for (int64_t p = 0; p < boxes_.positions; ++p) {
    if (boxes_.rows[p] >= 0) out[boxes_.rows[p]] = std::sqrt(std::max(0.0, nearest_[p]));
  }
  return out;
}

bool GreedyInBoxes::before(const Place& a, const Place& b) {
  return a.farthest > b.farthest || (a.farthest == b.farthest && a.row < b.row);
}

void GreedyInBoxes::catch_up(int64_t b) {
  const Box& box = boxes_.boxes[b];
  State& state = states_[b];
  const NearerFn nearer = kernels().nearer[x_.d - 1];
  const NextNearFn next_near = kernels().next_near[x_.d - 1];
  const auto count = static_cast<int64_t>(squares_.size());
  bool changed = false;
  // Where the farthest is 0, or there are centres alone, no distance can fall any more.
  for (int64_t c = state.seen; state.farthest > 0.0; ++c) {
    c = next_near(box.low, box.high, centres_.data(), c, count, limit_of(box, state.farthest));
    if (c == count) break;
    state.farthest = nearer(boxes_.points(box), &boxes_.squares[box.begin], box.count,
                            &elements_[c * x_.d], squares_[c], &nearest_[box.begin]);
    changed = true;
  }
  state.seen = static_cast<int32_t>(count);
  if (changed) find_lowest(b);
}

void GreedyInBoxes::catch_up_all() {
  team_.run_range(boxes_.size(), kBoxesATime, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t b = begin; b < end; ++b) {
      catch_up(b);
      team_.checkpoint(worker);
    }
  });
}

void GreedyInBoxes::find_lowest(int64_t b) {
  const Box& box = boxes_.boxes[b];
  State& state = states_[b];
  state.at = box.begin + kernels().lowest(&nearest_[box.begin], &boxes_.rows[box.begin], box.count,
                                          state.farthest);
}

GreedyInBoxes::Place GreedyInBoxes::place(int64_t b) const {
  return {states_[b].farthest, boxes_.rows[states_[b].at], static_cast<int32_t>(b)};
}

void GreedyInBoxes::sift_down() {
  const Place moved = heap_[0];
  const size_t size = heap_.size();
  size_t at = 0;
  for (size_t child = 1; child < size; child = 2 * at + 1) {
    if (child + 1 < size && before(heap_[child + 1], heap_[child])) ++child;
    if (!before(heap_[child], moved)) break;
    heap_[at] = heap_[child];
    at = child;
  }
  heap_[at] = moved;
}

}  // namespace meddel

// The all-pairs loop of pair_scan.h where blocks.h has the scores: for few rows, or small groups.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "base/confirm.h"
#include "base/parallel.h"
#include "base/sides.h"
#include "cpu/isa.h"
#include "screen/blocks.h"

namespace meddel {
namespace scan {

constexpr int64_t kBand = 32;        // rows whose scores are worked out at once,
constexpr int64_t kPanel = 2048;     // with so many columns at most: 256 KiB of scores
constexpr int64_t kLeastTask = 512;  // rows of whole groups that make a task

// What one thread works in.
template <class Operation>
struct BlockWork {
  BlockWork(const BlockScreen& screen, const ScanSide& x, const ScanSide& y, Operation& operation)
      : own(screen, x, y), confirmer(x, y, operation) {}

  Block own;  // of the thread's task
  std::vector<int32_t> scores;
  std::vector<uint16_t> found;
  std::vector<int32_t> products;
  std::vector<double> bounds;
  std::vector<std::pair<int64_t, int32_t>> aside;
  Confirmer<Operation> confirmer;
};

// Operations are those of scan_pairs; where bars do not rise, they offer also
//   void take_all(int64_t p, const int64_t* q, const double* inner, int64_t count)
template <class Operation>
class BlockScanner {
 public:
  BlockScanner(const BlockScreen& screen, Operation& operation)
      : screen_(screen), operation_(operation) {}

  // The rows [begin, end) of a block, at most kBand, of which `begin` is such a multiple.
  void band(const Block& block, int64_t begin, int64_t end, BlockWork<Operation>& work) {
    ColumnRange all{block.columns().end, block.columns().begin};
    for (int64_t p = begin; p < end; ++p) {
      const ColumnRange range = operation_.range(p);
      if (range.begin >= range.end) continue;
      all = {std::min(all.begin, range.begin), std::max(all.end, range.end)};
    }
    const int64_t origin = block.columns().begin;
    all.begin = origin + (all.begin - origin) / Block::kPart * Block::kPart;
    const int64_t stride = std::min(kPanel, round_up(all.end - all.begin, Block::kPart));
    if (all.begin < all.end) {
      work.scores.resize(std::max(work.scores.size(), static_cast<size_t>(kBand * stride)));
      work.found.resize(std::max(work.found.size(), static_cast<size_t>(stride)));
    }
    for (int64_t first = all.begin; first < all.end; first += kPanel) {
      const int64_t last = std::min(all.end, first + kPanel);
      block.scores(begin, end, first, last, work.scores.data(), stride);
      for (int64_t p = begin; p < end; ++p) {
        const ColumnRange range = operation_.range(p);
        const ColumnRange some{std::max(first, range.begin), std::min(last, range.end)};
        if (some.begin < some.end) {
          row(block, p, some, first, &work.scores[(p - begin) * stride], round_up(last - first, 16),
              work);
        }
      }
    }
    operation_.finish_band(begin, end);
  }

 private:
  // Hands over what may reach the row's bar, of columns with scores from `first` on. Where bars
  // rise, the best of them gives it one, or raises it.
  void row(const Block& block, int64_t p, const ColumnRange& range, int64_t first, int32_t* scores,
           int64_t columns, BlockWork<Operation>& work) {
    const int32_t out = screen_.out();
    std::fill(scores, scores + (range.begin - first), out);
    std::fill(scores + (range.end - first), scores + columns, out);
    double bar = operation_.bar(p);
    int64_t settled = -1;
    if constexpr (Operation::kRising) {
      const bool itself = block.one_side() && p >= range.begin && p < range.end;
      if (itself && !operation_.counts(p, p)) scores[p - first] = out;
      const int64_t best = best_known(p, range, first, scores, columns, work);
      if (best < 0) return;
      if (bar > -kInfinity && work.aside.empty() && scores[best - first] + screen_.start(bar) < 0) {
        return;
      }
      work.found[0] = static_cast<uint16_t>(best - first);
      const double least = raise(block, p, first, scores, 1, work);
      if (least == -kInfinity) {
        settled = best;
        work.confirmer.add(best);
        work.confirmer.settle(p, 1, false);
        bar = operation_.bar(p);
      }
      bar = std::max(bar, least);
    }
    const int32_t count =
        kernels().at_least(scores, columns, screen_.start(bar), work.found.data());
    if constexpr (!Operation::kRising) {
      if (!screen_.fine()) {
        work.confirmer.take_all(p, first, work.found.data(), count);
        return;
      }
    }
    if (screen_.fine()) {
      const double least = raise(block, p, first, scores, count, work);
      if constexpr (Operation::kRising) bar = std::max(bar, least);
    }
    for (int32_t done = 0; done < count;) {
      done = add(p, first, scores, done, count, settled, bar, work);
      work.confirmer.settle(p, 1, false);
    }
  }

  // Adds the next of the columns found that may reach the bar, in their order, a handful at a time:
  // the truth of some may leave the others out. Returns how many are done.
  int32_t add(int64_t p, int64_t first, const int32_t* scores, int32_t done, int32_t count,
              int64_t settled, double bar, BlockWork<Operation>& work) const {
    constexpr int32_t kHandful = 64;
    const bool most = Operation::kRising && operation_.bar(p) == 1.0;
    for (int32_t added = 0; done < count && added < kHandful; ++done) {
      const int64_t q = first + work.found[done];
      if (screen_.fine() && work.bounds[done] < bar) continue;
      if (q == settled || !operation_.counts(p, q)) continue;
      if (most && loses_tie(operation_, p, q, 0)) continue;
      work.confirmer.add(q, screen_.fine() ? work.bounds[done] : screen_.bound(scores[q - first]));
      ++added;
    }
    return done;
  }

  // Bounds of the columns found, and what the best of those that count has at least.
  double raise(const Block& block, int64_t p, int64_t first, const int32_t* scores, int32_t count,
               BlockWork<Operation>& work) const {
    block.bounds(p, first, work.found.data(), scores, count, work.products, work.bounds);
    double most = -kInfinity;
    for (int32_t c = 0; c < count; ++c) {
      if (work.bounds[c] > most && work.bounds[c] <= BlockScreen::kKnown &&
          operation_.counts(p, first + work.found[c])) {
        most = work.bounds[c];
      }
    }
    return most - screen_.width();
  }

  // The best column of which its score tells something, as rows that no screen takes have higher
  // ones, but no bar to give; these are found aside. If there are none but such, or too many, the
  // first of them.
  int64_t best_known(int64_t p, const ColumnRange& range, int64_t first, int32_t* scores,
                     int64_t columns, BlockWork<Operation>& work) const {
    constexpr size_t kMost = 32;
    work.aside.clear();
    int64_t best = best_of(p, range, first, scores, columns);
    while (best >= 0 && work.aside.size() < kMost &&
           screen_.bound(scores[best - first]) > BlockScreen::kKnown) {
      work.aside.push_back({best, scores[best - first]});
      scores[best - first] = screen_.out();
      best = best_of(p, range, first, scores, columns);
    }
    for (const auto& [q, score] : work.aside) scores[q - first] = score;
    if (work.aside.size() == kMost || (best < 0 && !work.aside.empty())) {
      best = work.aside.front().first;
    }
    return best;
  }

  // The column of the highest score that counts, or -1.
  int64_t best_of(int64_t p, const ColumnRange& range, int64_t first, int32_t* scores,
                  int64_t columns) const {
    int64_t best = kernels().highest(scores, columns);
    if (scores[best] != screen_.out() && !operation_.counts(p, first + best)) {
      for (int64_t q = range.begin; q < range.end; ++q) {
        if (!operation_.counts(p, q)) scores[q - first] = screen_.out();
      }
      best = kernels().highest(scores, columns);
    }
    return scores[best] == screen_.out() ? -1 : first + best;
  }

  const BlockScreen& screen_;
  Operation& operation_;
};

template <class Operation>
BlockWork<Operation>& work_of(std::vector<std::unique_ptr<BlockWork<Operation>>>& works, int worker,
                              const BlockScreen& screen, const ScanSide& x, const ScanSide& y,
                              Operation& operation) {
  auto& work = works[static_cast<size_t>(worker)];
  if (!work) work = std::make_unique<BlockWork<Operation>>(screen, x, y, operation);
  return *work;
}

}  // namespace scan

// Scans x against y as scan_pairs does. Progress is told of `units`.
template <class Operation>
void scan_block(Team& team, const BlockScreen& screen, const ScanSide& x, const ScanSide& y,
                int64_t units, Operation& operation) {
  Block block(screen, x, y);
  block.reset({0, x.size()}, {0, y.size()});
  team.run(block.parts(), [&](int64_t part, int) { block.fill(part); });
  team.announce(0, units, units);
  scan::BlockScanner<Operation> scanner(screen, operation);
  std::vector<std::unique_ptr<scan::BlockWork<Operation>>> works(static_cast<size_t>(team.most()));
  team.run_range(x.size(), scan::kBand, [&](int64_t begin, int64_t end, int worker) {
    scanner.band(block, begin, end, scan::work_of(works, worker, screen, x, y, operation));
  });
}

// The same of a side against itself where columns are of a row's own group: given, by position,
// where its group begins, in one piece each.
template <class Operation>
void scan_grouped_block(Team& team, const BlockScreen& screen, const ScanSide& side,
                        const std::vector<int64_t>& group, int64_t units, Operation& operation) {
  std::vector<int64_t> tasks{0};
  for (int64_t p = 1; p < side.size(); ++p) {
    if (group[p] == p && p - tasks.back() >= scan::kLeastTask) tasks.push_back(p);
  }
  const auto count = static_cast<int64_t>(tasks.size());
  tasks.push_back(side.size());
  team.announce(0, units, units);
  scan::BlockScanner<Operation> scanner(screen, operation);
  std::vector<std::unique_ptr<scan::BlockWork<Operation>>> works(static_cast<size_t>(team.most()));
  team.run(count, [&](int64_t task, int worker) {
    auto& work = scan::work_of(works, worker, screen, side, side, operation);
    const ColumnRange all{tasks[task], tasks[task + 1]};
    work.own.reset(all, all);
    for (int64_t part = 0; part < work.own.parts(); ++part) work.own.fill(part);
    for (int64_t begin = all.begin; begin < all.end; begin += scan::kBand) {
      team.checkpoint(worker);
      scanner.band(work.own, begin, std::min(all.end, begin + scan::kBand), work);
    }
  });
}

}  // namespace meddel

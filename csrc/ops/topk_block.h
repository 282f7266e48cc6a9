// The k best of the rows of a small set, by the scores of screen/blocks.h.
//
// A bar comes first: of columns of which something is known, each cosine is at least its bound less
// BlockScreen::width(). So is the k-th best of all columns at least the k-th best bound of any of
// them less that width, and what has a lower bound is none of the k best. The k are the highest of
// as many disjoint lots of columns as it takes, which are nearly the k best. What may reach the bar
// is worked out as the truth says, in the order of the columns: once the k-th best has a cosine of
// 1, the most there is, nothing that follows is among them, as ties go to the lowest index.
#pragma once

#include <cstdint>
#include <vector>

#include "base/parallel.h"
#include "base/sides.h"
#include "ops/best_rows.h"
#include "ops/topk.h"
#include "screen/blocks.h"

namespace meddel {

class BlockBest {
 public:
  BlockBest(const BlockScreen& screen, const ScanSide& x, const ScanSide& y, const BestRows& rows);

  // Called once.
  TopK scan(Team& team);

 private:
  struct Work;
  struct Panel {
    int64_t first, last;  // columns
    int64_t padded;       // how many have scores
  };

  void band(const Block& block, int64_t begin, int64_t end, Work& work);
  void row(const Block& block, int64_t p, const Panel& panel, int32_t* scores, Work& work);
  double first_bar(const Block& block, int64_t p, const Panel& panel, const int32_t* scores,
                   Work& work) const;
  int32_t kth_score(int64_t wanted, const Panel& panel, const int32_t* scores, Work& work) const;
  double fine_bar(const Block& block, int64_t p, const Panel& panel, const int32_t* scores,
                  int32_t count, Work& work) const;
  int64_t list(const Block& block, int64_t p, const Panel& panel, const int32_t* scores, double bar,
               Work& work) const;
  void confirm(int64_t p, const Panel& panel, int64_t count, Work& work);
  void confirm_some(int64_t p, const Panel& panel, int64_t done, int64_t some, Work& work) const;
  void rank(int64_t p, int64_t count, Work& work);

  const BlockScreen& screen_;
  const ScanSide& x_;
  const ScanSide& y_;
  const BestRows& rows_;
  const int32_t least_score_;   // of columns that count
  const int32_t most_known_;    // higher scores tell nothing
  TopK best_;                   // rows.most() of each row, or fewer yet
  std::vector<int64_t> count_;  // by row
};

}  // namespace meddel

#include "ops/topk.h"

#include <vector>

#include "base/best_heap.h"
#include "base/copies.h"
#include "base/truth.h"
#include "ops/best_rows.h"
#include "ops/topk_block.h"
#include "ops/two_sides.h"
#include "screen/pair_scan.h"
#include "screen/scan_screens.h"

namespace meddel {
namespace {

class BestK {
 public:
  static constexpr bool kRising = true;

  BestK(const ScanSide& x, const ScanSide& y, const BestRows& rows)
      : x_(x), y_(y), rows_(rows), heaps_(static_cast<size_t>(x.x->n)) {}

  Metric metric() const { return Metric::kCosine; }
  ColumnRange range(int64_t) const { return {0, y_.size()}; }
  bool counts(int64_t p, int64_t q) const { return rows_.counts(p, q); }
  int64_t wanted(int64_t p) const { return rows_.wanted(p); }
  double bar(int64_t p) const { return heaps_[x_.rows[p]].bar(wanted(p)); }
  bool loses(int64_t p, int64_t q) const {
    return heaps_[x_.rows[p]].last() < y_.rows[q];  // nor do copies of it, which follow
  }

  void take(int64_t p, int64_t q, double inner) {
    const double similarity = cosine(inner, x_.square(p), y_.square(q));
    const int64_t most = wanted(p);
    BestHeap& heap = heaps_[x_.rows[p]];
    rows_.each(q, most, [&](int64_t row) { heap.offer({similarity, row}, most); });
  }

  void finish_band(int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) heaps_[x_.rows[p]].sort();
  }

  const Candidate& of(int64_t row, int64_t c) const { return heaps_[row].candidates()[c]; }

 private:
  const ScanSide& x_;
  const ScanSide& y_;
  const BestRows& rows_;
  std::vector<BestHeap> heaps_;  // by row
};

// Leaves the first row of each kind in a side.
void keep_first(ScanSide& side, const Copies& copies) {
  if (copies.any()) side.rows = copies.distinct;
}

}  // namespace

TopK topk_similarity(const Matrix& x, const Matrix* y, int64_t k, const Context& context) {
  Team team(context);
  TwoSides sides(team, x, y);
  const Copies copies(team, x, nullptr, &sides.left.squares),
      others(team, y == nullptr ? x : *y, nullptr, &sides.right().squares);
  keep_first(sides.left, copies);
  if (y != nullptr) keep_first(sides.right(), others);
  const auto rows = static_cast<double>(sides.left.size());
  const auto columns = static_cast<double>(sides.right().size());
  const BestRows wanted(sides.left, copies, sides.right(), y == nullptr ? copies : others, k);
  const BlockKind kind =
      plan_block(rows * columns, columns, x.d, k > 1 ? Asked::kSeveral : Asked::kBest);
  if (kind != BlockKind::kNone) {
    const BlockScreen screen(kind, sides.left, sides.right());
    return BlockBest(screen, sides.left, sides.right(), wanted).scan(team);
  }
  const ScanScreens screens(team, Metric::kCosine, sides.left, sides.right(), rows * columns,
                            kRegroup, std::nullopt, {k > 1 ? scan::kOpened : 0, k > 1});
  BestK best(sides.left, sides.right(), wanted);
  team.announce(0, x.n, x.n);
  scan_pairs(team, sides.left, sides.right(), screens.screening(), best);
  return wanted.result([&](int64_t row, int64_t c) { return best.of(row, c); });
}

}  // namespace meddel

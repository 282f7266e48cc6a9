#include "ops/topk.h"

#include <vector>

#include "base/best_heap.h"
#include "base/copies.h"
#include "base/truth.h"
#include "ops/two_sides.h"
#include "screen/block_scan.h"
#include "screen/pair_scan.h"
#include "screen/scan_screens.h"

namespace meddel {
namespace {

// The k best of each row. Where rows have copies, the sides hold the first of each kind, for which
// all of its kind are offered. Rows of one set that have copies may take k + 1, themselves
// included: without the one that asks, these are the k best of each of them.
class BestK {
 public:
  static constexpr bool kRising = true;

  BestK(const ScanSide& x, const Copies& x_copies, const ScanSide& y, const Copies& y_copies,
        int64_t k)
      : x_(x),
        x_copies_(x_copies),
        y_(y),
        y_copies_(y_copies),
        k_(k),
        heaps_(static_cast<size_t>(x.x->n)) {}

  Metric metric() const { return Metric::kCosine; }
  ColumnRange range(int64_t) const { return {0, y_.size()}; }
  bool counts(int64_t p, int64_t q) const {
    return &x_ != &y_ || p != q || with_itself(x_.rows[p]);
  }

  int64_t wanted(int64_t p) const { return wanted_by(x_.rows[p]); }
  double bar(int64_t p) const { return heaps_[x_.rows[p]].bar(wanted(p)); }

  void take(int64_t p, int64_t q, double inner) {
    const int64_t row = x_.rows[p], other = y_.rows[q], most = wanted_by(row);
    const double similarity = cosine(inner, x_.square(p), y_.square(q));
    BestHeap& heap = heaps_[row];
    if (!y_copies_.any()) {
      heap.offer({similarity, other}, most);
      return;
    }
    const int64_t kind = y_copies_.kind[other];
    for (int64_t m = y_copies_.begin[kind]; m < y_copies_.begin[kind + 1]; ++m) {
      if (!heap.offer({similarity, y_copies_.members[m]}, most)) break;  // nor those that follow
    }
  }

  void finish_band(int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) heaps_[x_.rows[p]].sort();
  }

  TopK result() const {
    TopK out;
    for (int64_t i = 0; i < x_.x->n; ++i) {
      const int64_t first = x_copies_.any() ? x_copies_.first(i) : i;
      int64_t left = k_;
      for (const Candidate& candidate : heaps_[first].candidates()) {
        if (left == 0 || (&x_ == &y_ && candidate.index == i)) continue;
        out.similarity.push_back(candidate.similarity);
        out.indices.push_back(candidate.index);
        --left;
      }
    }
    return out;
  }

 private:
  bool with_itself(int64_t row) const {
    return x_copies_.any() && x_copies_.count(x_copies_.kind[row]) > 1;
  }
  int64_t wanted_by(int64_t row) const { return k_ + (&x_ == &y_ && with_itself(row) ? 1 : 0); }

  const ScanSide& x_;
  const Copies& x_copies_;
  const ScanSide& y_;
  const Copies& y_copies_;
  const int64_t k_;
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
  const BlockKind kind = k > 1 ? BlockKind::kNone : plan_block(rows * columns, columns, x.d);
  if (kind != BlockKind::kNone) {
    const BlockScreen screen(kind, sides.left, sides.right());
    BestK best(sides.left, copies, sides.right(), y == nullptr ? copies : others, k);
    scan_block(team, screen, sides.left, sides.right(), x.n, best);
    return best.result();
  }
  const ScanScreens screens(team, Metric::kCosine, sides.left, sides.right(), rows * columns,
                            kRegroup, std::nullopt, {k > 1 ? scan::kOpened : 0, k > 1});
  BestK best(sides.left, copies, sides.right(), y == nullptr ? copies : others, k);
  team.announce(0, x.n, x.n);
  scan_pairs(team, sides.left, sides.right(), screens.screening(), best);
  return best.result();
}

}  // namespace meddel

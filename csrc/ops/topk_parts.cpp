#include "ops/topk_parts.h"

#include <optional>
#include <vector>

#include "base/best_heap.h"
#include "base/copies.h"
#include "base/truth.h"
#include "screen/pair_scan.h"
#include "screen/scan_screens.h"

namespace meddel {
namespace {

// The k best of each row, going on from what is known.
class BestOfParts {
 public:
  static constexpr bool kRising = true;

  // y holds the first of its rows that are equal, for which all of them are offered.
  BestOfParts(const ScanSide& x, int64_t x_first, const ScanSide& y, const Copies& copies,
              int64_t y_first, int64_t k, const TopK& known)
      : x_(x),
        shift_(x_first < 0 ? std::nullopt : std::optional<int64_t>(x_first - y_first)),
        y_(y),
        copies_(copies),
        y_first_(y_first),
        k_(k),
        heaps_(static_cast<size_t>(x.size())) {
    for (int64_t i = 0; i < x.size(); ++i) {
      for (int64_t e = i * k; e < (i + 1) * k && known.indices[e] >= 0; ++e) {
        heaps_[i].offer({known.similarity[e], known.indices[e]}, k);
      }
    }
  }

  Metric metric() const { return Metric::kCosine; }
  ColumnRange range(int64_t) const { return {0, y_.size()}; }
  bool counts(int64_t p, int64_t q) const {
    return !is_itself(p, y_.rows[q]) ||
           (copies_.any() && copies_.count(copies_.kind[y_.rows[q]]) > 1);
  }

  int64_t wanted(int64_t) const { return k_; }
  double bar(int64_t p) const { return heaps_[x_.rows[p]].bar(k_); }

  void take(int64_t p, int64_t q, double inner) {
    const double similarity = cosine(inner, x_.square(p), y_.square(q));
    BestHeap& heap = heaps_[x_.rows[p]];
    if (!copies_.any()) {
      heap.offer({similarity, y_first_ + y_.rows[q]}, k_);
      return;
    }
    const int64_t kind = copies_.kind[y_.rows[q]];
    for (int64_t m = copies_.begin[kind]; m < copies_.begin[kind + 1]; ++m) {
      const int64_t row = copies_.members[m];
      if (is_itself(p, row)) continue;
      if (!heap.offer({similarity, y_first_ + row}, k_)) break;  // nor those that follow
    }
  }

  void finish_band(int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) heaps_[x_.rows[p]].sort();
  }

  TopK result() const {
    const size_t total = heaps_.size() * static_cast<size_t>(k_);
    TopK out{std::vector<double>(total, -kInfinity), std::vector<int64_t>(total, -1)};
    for (size_t i = 0; i < heaps_.size(); ++i) {
      size_t at = i * static_cast<size_t>(k_);
      for (const Candidate& candidate : heaps_[i].candidates()) {
        out.similarity[at] = candidate.similarity;
        out.indices[at++] = candidate.index;
      }
    }
    return out;
  }

 private:
  bool is_itself(int64_t p, int64_t row) const { return shift_ && x_.rows[p] + *shift_ == row; }

  const ScanSide& x_;
  const std::optional<int64_t> shift_;  // from a row of x to the same sample's row of y
  const ScanSide& y_;
  const Copies& copies_;
  const int64_t y_first_;
  const int64_t k_;
  std::vector<BestHeap> heaps_;  // by row
};

}  // namespace

TopK topk_in_part(const Matrix& x, int64_t x_first, const Matrix& y, int64_t y_first, TopK best,
                  int64_t k, const Context& context) {
  Team team(context);
  ScanSide left = all_rows(team, x), right = all_rows(team, y);
  const Copies copies(team, y);
  if (copies.any()) right.rows = copies.distinct;
  BestOfParts operation(left, x_first, right, copies, y_first, k, best);
  const double pairs = static_cast<double>(x.n) * static_cast<double>(right.size());
  const ScanScreens screens(team, Metric::kCosine, left, right, pairs, kRegroup, std::nullopt,
                            {k > 1 ? scan::kOpened : 0, k > 1});
  scan_pairs(team, left, right, screens.screening(), operation);
  return operation.result();
}

}  // namespace meddel

#include "pairs.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <memory>
#include <numeric>

#include "pair_scan.h"
#include "truth.h"

namespace meddel {
namespace {

constexpr double kNone = -std::numeric_limits<double>::infinity();

// One set against itself (y null: both sides are the same object), or two sets.
struct TwoSides {
  TwoSides(Team& team, const Matrix& x, const Matrix* y) : left(all_rows(team, x)) {
    if (y != nullptr) other.reset(new ScanSide(all_rows(team, *y)));
  }

  const ScanSide& right() const { return other ? *other : left; }

  ScanSide left;
  std::unique_ptr<ScanSide> other;
};

class CollectPairs {
 public:
  // With an ordering (x and y are one), the columns of a row are the earlier ones of its group;
  // without, the later ones (x and y are one) or all.
  CollectPairs(const ScanSide& x, const ScanSide& y, const Ordering* ordering, double threshold,
               int64_t max_pairs)
      : x_(x),
        y_(y),
        ordering_(ordering),
        threshold_(threshold),
        max_pairs_(max_pairs),
        found_(static_cast<size_t>(x.size())) {}

  ColumnRange range(int64_t p) const {
    if (ordering_ != nullptr) return {ordering_->begin[p], p};
    return {&x_ == &y_ ? p + 1 : 0, y_.size()};
  }
  double bar(int64_t) const { return threshold_; }

  void take(int64_t p, int64_t q, double inner) {
    const double similarity = cosine(inner, x_.norm(p), y_.norm(q));
    if (similarity < threshold_) return;
    found_[p].push_back({q, similarity});
    if (found_[p].size() % kCounted == 0) add(kCounted);
  }

  void finish_band(int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      std::sort(found_[p].begin(), found_[p].end());
      add(static_cast<int64_t>(found_[p].size()) % kCounted);
    }
  }

  Pairs result() {
    Pairs out;
    const size_t total = static_cast<size_t>(count_.load());
    out.i.reserve(total);
    out.j.reserve(total);
    out.similarity.reserve(total);
    for (size_t p = 0; p < found_.size(); ++p) {
      for (const auto& [q, cosine] : found_[p]) {
        out.i.push_back(static_cast<int64_t>(p));
        out.j.push_back(q);
        out.similarity.push_back(cosine);
      }
      std::vector<std::pair<int64_t, double>>().swap(found_[p]);
    }
    return out;
  }

 private:
  // Pairs of a row are counted by so many, so that a flood of them is noticed early.
  static constexpr int64_t kCounted = 1024;

  void add(int64_t fresh) {
    const int64_t total = count_.fetch_add(fresh) + fresh;
    if (total > max_pairs_) throw TooManyPairs(total);
  }

  const ScanSide& x_;
  const ScanSide& y_;
  const Ordering* const ordering_;
  const double threshold_;
  const int64_t max_pairs_;
  std::vector<std::vector<std::pair<int64_t, double>>> found_;
  std::atomic<int64_t> count_{0};
};

class HighestEarlier {
 public:
  HighestEarlier(const ScanSide& x, const Ordering& ordering, Redundancy& out)
      : x_(x), ordering_(ordering), out_(out) {}

  ColumnRange range(int64_t p) const { return {ordering_.begin[p], p}; }
  double bar(int64_t p) const { return out_.similarity[ordering_.rows[p]]; }

  void take(int64_t p, int64_t q, double inner) {
    const double similarity = cosine(inner, x_.norm(p), x_.norm(q));
    const int64_t row = ordering_.rows[p], neighbor = ordering_.rows[q];
    double& best = out_.similarity[row];
    if (similarity > best || (similarity == best && neighbor < out_.neighbor[row])) {
      best = similarity;
      out_.neighbor[row] = neighbor;
    }
  }

  void finish_band(int64_t, int64_t) {}

 private:
  const ScanSide& x_;
  const Ordering& ordering_;
  Redundancy& out_;
};

struct Candidate {
  double similarity;
  int64_t index;

  // Better ones come first: higher similarity, then lower index.
  bool operator<(const Candidate& other) const {
    return similarity > other.similarity || (similarity == other.similarity && index < other.index);
  }
};

// A heap of the k best per row, the worst of them on top.
class BestK {
 public:
  BestK(const ScanSide& x, const ScanSide& y, int64_t k)
      : x_(x), y_(y), k_(k), heaps_(static_cast<size_t>(x.size())) {}

  ColumnRange range(int64_t) const { return {0, y_.size()}; }

  double bar(int64_t p) const {
    const auto& heap = heaps_[p];
    return static_cast<int64_t>(heap.size()) < k_ ? kNone : heap.front().similarity;
  }

  void take(int64_t p, int64_t q, double inner) {
    if (&x_ == &y_ && p == q) return;
    auto& heap = heaps_[p];
    const Candidate candidate{cosine(inner, x_.norm(p), y_.norm(q)), q};
    if (static_cast<int64_t>(heap.size()) < k_) {
      heap.push_back(candidate);
      std::push_heap(heap.begin(), heap.end());
    } else if (candidate < heap.front()) {
      std::pop_heap(heap.begin(), heap.end());
      heap.back() = candidate;
      std::push_heap(heap.begin(), heap.end());
    }
  }

  void finish_band(int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) std::sort_heap(heaps_[p].begin(), heaps_[p].end());
  }

  TopK result() const {
    TopK out;
    for (const auto& heap : heaps_) {
      for (const Candidate& candidate : heap) {
        out.similarity.push_back(candidate.similarity);
        out.indices.push_back(candidate.index);
      }
    }
    return out;
  }

 private:
  const ScanSide& x_;
  const ScanSide& y_;
  const int64_t k_;
  std::vector<std::vector<Candidate>> heaps_;
};

}  // namespace

Pairs similar_pairs(const Matrix& x, const Matrix* y, double threshold, int64_t max_pairs,
                    const Context& context) {
  Team team(context);
  const TwoSides sides(team, x, y);
  CollectPairs collect(sides.left, sides.right(), nullptr, threshold, max_pairs);
  scan_pairs(team, sides.left, sides.right(), collect);
  return collect.result();
}

Ordering make_ordering(int64_t n, const int64_t* order, const int64_t* labels) {
  Ordering out{std::vector<int64_t>(static_cast<size_t>(n)),
               std::vector<int64_t>(static_cast<size_t>(n), 0)};
  if (order == nullptr) {
    std::iota(out.rows.begin(), out.rows.end(), int64_t{0});
  } else {
    std::copy(order, order + n, out.rows.begin());
  }
  if (labels == nullptr) return out;
  std::stable_sort(out.rows.begin(), out.rows.end(),
                   [labels](int64_t a, int64_t b) { return labels[a] < labels[b]; });
  for (int64_t p = 1; p < n; ++p) {
    const bool same = labels[out.rows[p]] == labels[out.rows[p - 1]];
    out.begin[p] = same ? out.begin[p - 1] : p;
  }
  return out;
}

Redundancy redundancy(const Matrix& x, const Ordering& ordering, const Context& context) {
  Team team(context);
  const ScanSide side = make_side(team, x, ordering.rows);
  Redundancy out{std::vector<double>(static_cast<size_t>(x.n), kNone),
                 std::vector<int64_t>(static_cast<size_t>(x.n), -1)};
  HighestEarlier highest(side, ordering, out);
  scan_pairs(team, side, side, highest);
  return out;
}

Pairs earlier_pairs(const Matrix& x, double threshold, const Ordering& ordering, int64_t max_pairs,
                    const Context& context) {
  Team team(context);
  const ScanSide side = make_side(team, x, ordering.rows);
  CollectPairs collect(side, side, &ordering, threshold, max_pairs);
  scan_pairs(team, side, side, collect);
  return collect.result();
}

TopK topk_similarity(const Matrix& x, const Matrix* y, int64_t k, const Context& context) {
  Team team(context);
  const TwoSides sides(team, x, y);
  BestK best(sides.left, sides.right(), k);
  scan_pairs(team, sides.left, sides.right(), best);
  return best.result();
}

}  // namespace meddel

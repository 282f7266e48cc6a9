#include "pairs.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <memory>
#include <numeric>
#include <tuple>

#include "best_heap.h"
#include "pair_scan.h"
#include "truth.h"

namespace meddel {
namespace {

constexpr double kNone = -std::numeric_limits<double>::infinity();

// One set against itself (y null: both sides are the same object), or two sets. A range of one set
// is compared with itself and all that follows: two sides unless nothing follows.
struct TwoSides {
  TwoSides(Team& team, const Matrix& x, const Matrix* y) : TwoSides(team, x, y, {0, x.n}) {}

  TwoSides(Team& team, const Matrix& x, const Matrix* y, const RowRange& range)
      : left(make_side(team, x, rows_of(range))) {
    if (y != nullptr) {
      other.reset(new ScanSide(all_rows(team, *y)));
    } else if (range.end < x.n) {
      other.reset(new ScanSide{&x, rows_of({range.begin, x.n}), left.squares, left.norms});
    }
  }

  static std::vector<int64_t> rows_of(const RowRange& range) {
    std::vector<int64_t> rows(static_cast<size_t>(range.end - range.begin));
    std::iota(rows.begin(), rows.end(), range.begin);
    return rows;
  }

  ScanSide& right() { return other ? *other : left; }

  ScanSide left;
  std::unique_ptr<ScanSide> other;
};

class CollectPairs {
 public:
  static constexpr bool kRising = false;

  // With an ordering, the columns of a row are the earlier ones of its group. Without, they are all
  // of y, or, in one set, those of later rows: y then holds the rows of x and all that follow.
  CollectPairs(const ScanSide& x, const ScanSide& y, bool one_set, const Ordering* ordering,
               double threshold, int64_t max_pairs)
      : x_(x),
        y_(y),
        one_set_(one_set),
        triangle_(one_set && std::equal(x.rows.begin(), x.rows.end(), y.rows.begin())),
        ordering_(ordering),
        threshold_(threshold),
        max_pairs_(max_pairs),
        found_(static_cast<size_t>(x.size())) {}

  Metric metric() const { return Metric::kCosine; }
  ColumnRange range(int64_t p) const {
    if (ordering_ != nullptr) return {ordering_->begin[p], p};
    return {triangle_ ? p + 1 : 0, y_.size()};
  }
  bool counts(int64_t p, int64_t q) const {
    return !one_set_ || triangle_ || x_.rows[p] < y_.rows[q];
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
      add(static_cast<int64_t>(found_[p].size()) % kCounted);
      found_[p].shrink_to_fit();
    }
  }

  // The pairs of positions, or of rows (the lower first in one set), sorted.
  Pairs positions() {
    return result([](int64_t p, int64_t q) { return std::pair<int64_t, int64_t>(p, q); });
  }
  Pairs rows() {
    return result([this](int64_t p, int64_t q) {
      const int64_t i = x_.rows[p], j = y_.rows[q];
      return one_set_ && j < i ? std::pair<int64_t, int64_t>(j, i)
                               : std::pair<int64_t, int64_t>(i, j);
    });
  }

 private:
  using Row = std::vector<std::pair<int64_t, double>>;

  // Pairs of a row are counted by so many, so that a flood of them is noticed early.
  static constexpr int64_t kCounted = 1024;

  void add(int64_t fresh) {
    const int64_t total = count_.fetch_add(fresh) + fresh;
    if (total > max_pairs_) throw TooManyPairs(total);
  }

  // Sorts the pairs by counting their first index, then those of one by the second. Little is held
  // twice: what was collected is freed before the first indices are written.
  template <class Name>
  Pairs result(const Name& name) {
    std::vector<int64_t> begin(static_cast<size_t>(x_.x->n) + 1, 0);
    each([&](int64_t p, int64_t q, double) { ++begin[name(p, q).first + 1]; });
    std::partial_sum(begin.begin(), begin.end(), begin.begin());
    std::vector<int64_t> next(begin.begin(), begin.end() - 1);
    const size_t total = static_cast<size_t>(begin.back());
    Pairs out{{}, std::vector<int64_t>(total), std::vector<double>(total)};
    for (size_t p = 0; p < found_.size(); ++p) {
      for (const auto& [q, similarity] : found_[p]) {
        const auto [i, j] = name(static_cast<int64_t>(p), q);
        out.j[next[i]] = j;
        out.similarity[next[i]++] = similarity;
      }
      Row().swap(found_[p]);
    }
    out.i.reserve(total);
    Row row;
    for (int64_t i = 0; i < x_.x->n; ++i) {
      row.clear();
      for (int64_t k = begin[i]; k < begin[i + 1]; ++k)
        row.push_back({out.j[k], out.similarity[k]});
      std::sort(row.begin(), row.end());
      for (size_t k = 0; k < row.size(); ++k) {
        std::tie(out.j[begin[i] + k], out.similarity[begin[i] + k]) = row[k];
      }
      out.i.insert(out.i.end(), row.size(), i);
    }
    return out;
  }

  template <class Take>
  void each(const Take& take) const {
    for (size_t p = 0; p < found_.size(); ++p) {
      for (const auto& [q, similarity] : found_[p]) take(static_cast<int64_t>(p), q, similarity);
    }
  }

  const ScanSide& x_;
  const ScanSide& y_;
  const bool one_set_;
  const bool triangle_;  // x and y begin with the same rows: each pair is looked at once
  const Ordering* const ordering_;
  const double threshold_;
  const int64_t max_pairs_;
  std::vector<Row> found_;  // by position of x
  std::atomic<int64_t> count_{0};
};

// The highest earlier sample of a row. Positions follow the ordering, or, where there is but one
// group and the screens have put them into an order of their own, `place` tells what is earlier.
class HighestEarlier {
 public:
  static constexpr bool kRising = true;

  HighestEarlier(const ScanSide& x, const Ordering& ordering, const std::vector<int64_t>& place,
                 Redundancy& out)
      : x_(x), ordering_(ordering), place_(place), out_(out) {}

  Metric metric() const { return Metric::kCosine; }
  ColumnRange range(int64_t p) const {
    return place_.empty() ? ColumnRange{ordering_.begin[p], p} : ColumnRange{0, x_.size()};
  }
  bool counts(int64_t p, int64_t q) const {
    return place_.empty() || place_[x_.rows[q]] < place_[x_.rows[p]];
  }
  double bar(int64_t p) const { return out_.similarity[x_.rows[p]]; }

  void take(int64_t p, int64_t q, double inner) {
    const double similarity = cosine(inner, x_.norm(p), x_.norm(q));
    const int64_t row = x_.rows[p], neighbor = x_.rows[q];
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
  const std::vector<int64_t>& place_;  // by row, or empty
  Redundancy& out_;
};

// The k best of each row.
class BestK {
 public:
  static constexpr bool kRising = true;

  BestK(const ScanSide& x, const ScanSide& y, int64_t k)
      : x_(x), y_(y), k_(k), heaps_(static_cast<size_t>(x.size())) {}

  Metric metric() const { return Metric::kCosine; }
  ColumnRange range(int64_t) const { return {0, y_.size()}; }
  bool counts(int64_t p, int64_t q) const { return &x_ != &y_ || p != q; }

  double bar(int64_t p) const { return heaps_[x_.rows[p]].bar(k_); }

  void take(int64_t p, int64_t q, double inner) {
    heaps_[x_.rows[p]].offer({cosine(inner, x_.norm(p), y_.norm(q)), y_.rows[q]}, k_);
  }

  void finish_band(int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) heaps_[x_.rows[p]].sort();
  }

  TopK result() const {
    TopK out;
    for (const BestHeap& heap : heaps_) {
      for (const Candidate& candidate : heap.candidates()) {
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
  std::vector<BestHeap> heaps_;  // by row
};

double pairs_of(const Ordering& ordering) {
  double pairs = 0.0;
  for (size_t p = 0; p < ordering.begin.size(); ++p) {
    pairs += static_cast<double>(p) - static_cast<double>(ordering.begin[p]);
  }
  return pairs;
}

}  // namespace

Pairs similar_pairs(const Matrix& x, const Matrix* y, const RowRange& range, double threshold,
                    int64_t max_pairs, const Context& context) {
  Team team(context);
  TwoSides sides(team, x, y, range);
  const double n = static_cast<double>(sides.left.size());
  const double pairs =
      n * static_cast<double>(sides.right().size()) - (y == nullptr ? 0.5 * n * (n + 1.0) : 0.0);
  const ScanScreens screens(team, Metric::kCosine, sides.left, sides.right(), pairs, kRegroup,
                            threshold);
  CollectPairs collect(sides.left, sides.right(), y == nullptr, nullptr, threshold, max_pairs);
  team.announce(0, sides.left.size(), sides.left.size());
  scan_pairs(team, sides.left, sides.right(), screens.screening(), collect);
  return collect.rows();
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

Redundancy redundancy(const Matrix& x, const Ordering& ordering, double above,
                      const Context& context) {
  Team team(context);
  ScanSide side = make_side(team, x, ordering.rows);
  Redundancy out{std::vector<double>(static_cast<size_t>(x.n), above),
                 std::vector<int64_t>(static_cast<size_t>(x.n), -1)};
  const double pairs = pairs_of(ordering);
  const bool one_group = ordering.begin.back() == 0;
  const ScanScreens screens(team, Metric::kCosine, side, side, pairs,
                            one_group ? kRegroupEarlier : 0.0,
                            above > kNone ? std::optional<double>(above) : std::nullopt);
  std::vector<int64_t> place;
  if (screens.screening().groups > 0) {
    place.resize(static_cast<size_t>(x.n));
    for (int64_t p = 0; p < x.n; ++p) place[ordering.rows[p]] = p;
  }
  HighestEarlier highest(side, ordering, place, out);
  team.announce(0, x.n, x.n);
  scan_pairs(team, side, side, screens.screening(), highest);
  return out;
}

Pairs earlier_pairs(const Matrix& x, double threshold, const Ordering& ordering, int64_t max_pairs,
                    const Context& context) {
  Team team(context);
  ScanSide side = make_side(team, x, ordering.rows);
  const ScanScreens screens(team, Metric::kCosine, side, side, pairs_of(ordering), 0.0, threshold);
  CollectPairs collect(side, side, true, &ordering, threshold, max_pairs);
  team.announce(0, x.n, x.n);
  scan_pairs(team, side, side, screens.screening(), collect);
  return collect.positions();
}

TopK topk_similarity(const Matrix& x, const Matrix* y, int64_t k, const Context& context) {
  Team team(context);
  TwoSides sides(team, x, y);
  const double pairs = static_cast<double>(x.n) * static_cast<double>(sides.right().size());
  const ScanScreens screens(team, Metric::kCosine, sides.left, sides.right(), pairs, kRegroup);
  BestK best(sides.left, sides.right(), k);
  team.announce(0, x.n, x.n);
  scan_pairs(team, sides.left, sides.right(), screens.screening(), best);
  return best.result();
}

}  // namespace meddel

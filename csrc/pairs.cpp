#include "pairs.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <memory>
#include <numeric>
#include <tuple>

#include "best_heap.h"
#include "copies.h"
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
    const double similarity = cosine(inner, x_.square(p), y_.square(q));
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

// What stands before a row in an ordering whose rows have copies.
class Earlier {
 public:
  Earlier(const Copies& copies, const Ordering& ordering)
      : copies_(copies),
        ordering_(ordering),
        place_(ordering.rows.size()),
        lowest_(ordering.rows.size()) {
    for (size_t p = 0; p < place_.size(); ++p) {
      const auto at = static_cast<int64_t>(p);
      place_[ordering.rows[p]] = at;
      if (at > ordering.begin[p]) rising_ = rising_ && ordering.rows[p] > ordering.rows[p - 1];
    }
    for (size_t k = 0; k + 1 < copies.begin.size(); ++k) {
      int64_t least = std::numeric_limits<int64_t>::max();
      for (int64_t m = copies.begin[k]; m < copies.begin[k + 1]; ++m) {
        lowest_[m] = least = std::min(least, ordering.rows[copies.members[m]]);
      }
    }
  }

  // Whether rows rise within groups.
  bool rising() const { return rising_; }

  bool has_copies(int64_t row) const { return copies_.count(copies_.kind[place_[row]]) > 1; }

  // The lowest row, of those with the elements of a row, that is earlier than another; -1 of none.
  int64_t lowest(int64_t row, int64_t than) const {
    const int64_t kind = copies_.kind[place_[row]];
    const auto begin = copies_.members.begin() + copies_.begin[kind];
    const auto end = copies_.members.begin() + copies_.begin[kind + 1];
    const auto at = std::lower_bound(begin, end, place_[than]);
    return at == begin ? -1 : lowest_[at - copies_.members.begin() - 1];
  }

  // Calls take(row) for all copies of a row but the first of them.
  template <class Take>
  void each_copy(int64_t row, const Take& take) const {
    const int64_t kind = copies_.kind[place_[row]];
    for (int64_t m = copies_.begin[kind] + 1; m < copies_.begin[kind + 1]; ++m) {
      take(ordering_.rows[copies_.members[m]]);
    }
  }

  // Calls take(begin, end) for the positions of each group.
  template <class Take>
  void each_group(const Take& take) const {
    const auto size = static_cast<int64_t>(ordering_.rows.size());
    for (int64_t begin = 0, end = 0; begin < size; begin = end) {
      while (end < size && ordering_.begin[end] == begin) ++end;
      take(begin, end);
    }
  }

 private:
  const Copies& copies_;
  const Ordering& ordering_;
  std::vector<int64_t> place_;   // by row: its position
  std::vector<int64_t> lowest_;  // by member: the lowest row of the members up to it
  bool rising_ = true;
};

// The highest earlier sample of a row. Positions follow the ordering, or, where there is but one
// group and the screens have put them into an order of their own, `place` tells what is earlier.
// `lowest` gives the lowest sample with the elements of a row that is earlier than another one.
class HighestEarlier {
 public:
  static constexpr bool kRising = true;

  HighestEarlier(const ScanSide& x, const Ordering& ordering, const std::vector<int64_t>& place,
                 const Earlier* lowest, Redundancy& out)
      : x_(x), ordering_(ordering), place_(place), lowest_(lowest), out_(out) {}

  Metric metric() const { return Metric::kCosine; }
  ColumnRange range(int64_t p) const {
    return place_.empty() ? ColumnRange{ordering_.begin[p], p} : ColumnRange{0, x_.size()};
  }
  bool counts(int64_t p, int64_t q) const {
    return place_.empty() || place_[x_.rows[q]] < place_[x_.rows[p]];
  }
  double bar(int64_t p) const { return out_.similarity[x_.rows[p]]; }

  void take(int64_t p, int64_t q, double inner) {
    const double similarity = cosine(inner, x_.square(p), x_.square(q));
    const int64_t row = x_.rows[p];
    double& best = out_.similarity[row];
    if (similarity < best) return;
    const int64_t neighbor = lowest_ ? lowest_->lowest(x_.rows[q], row) : x_.rows[q];
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
  const Earlier* const lowest_;        // null: the row itself
  Redundancy& out_;
};

// Copies of a row have cosine 1 to it, and to all rows to which it has: of these, the operation
// finds the lowest one that is earlier than a copy. It scans the first rows of the kinds that have
// copies.
class LowestOfEqual {
 public:
  static constexpr bool kRising = false;

  LowestOfEqual(const ScanSide& x, const std::vector<ColumnRange>& columns, const ScanSide& y,
                const Earlier& earlier, Redundancy& out)
      : x_(x), columns_(columns), y_(y), earlier_(earlier), out_(out) {}

  Metric metric() const { return Metric::kCosine; }
  ColumnRange range(int64_t p) const { return columns_[p]; }
  bool counts(int64_t p, int64_t q) const { return x_.rows[p] != y_.rows[q]; }
  double bar(int64_t) const { return 1.0; }

  void take(int64_t p, int64_t q, double inner) {
    if (cosine(inner, x_.square(p), y_.square(q)) < 1.0) return;
    earlier_.each_copy(x_.rows[p], [&](int64_t copy) {
      const int64_t lowest = earlier_.lowest(y_.rows[q], copy);
      int64_t& neighbor = out_.neighbor[copy];
      if (lowest >= 0 && lowest < neighbor) neighbor = lowest;
    });
  }

  void finish_band(int64_t, int64_t) {}

 private:
  const ScanSide& x_;
  const std::vector<ColumnRange>& columns_;
  const ScanSide& y_;
  const Earlier& earlier_;
  Redundancy& out_;
};

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

  double bar(int64_t p) const { return heaps_[x_.rows[p]].bar(wanted(x_.rows[p])); }

  void take(int64_t p, int64_t q, double inner) {
    const int64_t row = x_.rows[p], other = y_.rows[q], most = wanted(row);
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
  int64_t wanted(int64_t row) const { return k_ + (&x_ == &y_ && with_itself(row) ? 1 : 0); }

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

Ordering first_of_each(const Copies& copies, const Ordering& ordering) {
  Ordering out;
  for (const int64_t p : copies.distinct) {
    const auto at = static_cast<int64_t>(out.rows.size());
    const bool same = at > 0 && ordering.begin[p] == ordering.begin[copies.distinct[at - 1]];
    out.rows.push_back(ordering.rows[p]);
    out.begin.push_back(same ? out.begin.back() : at);
  }
  return out;
}

namespace {

// The highest earlier one of each of the rows of an ordering, which may be some of x.
void scan_earlier(Team& team, const Ordering& ordering, double above, const Earlier* lowest,
                  ScanSide& side, Redundancy& out) {
  const double pairs = pairs_of(ordering);
  const bool one_group = ordering.begin.back() == 0;
  const ScanScreens screens(team, Metric::kCosine, side, side, pairs,
                            one_group ? kRegroupEarlier : 0.0,
                            above > kNone ? std::optional<double>(above) : std::nullopt);
  std::vector<int64_t> place;
  if (screens.screening().groups > 0) {
    place.resize(out.neighbor.size());
    for (size_t p = 0; p < ordering.rows.size(); ++p) {
      place[ordering.rows[p]] = static_cast<int64_t>(p);
    }
  }
  HighestEarlier highest(side, ordering, place, lowest, out);
  team.announce(0, side.x->n, side.x->n);
  scan_pairs(team, side, side, screens.screening(), highest);
}

// Copies in any order of the rows: a higher one may be of lower index, and so may others to which
// the cosine is 1.
void scan_equal(Team& team, const Ordering& distinct, const Earlier& earlier, const ScanSide& all,
                Redundancy& out) {
  ScanSide rows{all.x, {}, all.squares, all.norms},
      columns{all.x, distinct.rows, all.squares, all.norms};
  std::vector<ColumnRange> ranges;
  double pairs = 0.0;
  const auto size = static_cast<int64_t>(distinct.rows.size());
  for (int64_t p = 0, end = 0; p < size; ++p) {
    if (p == end) {
      while (end < size && distinct.begin[end] == distinct.begin[p]) ++end;
    }
    const int64_t row = distinct.rows[p];
    if (!earlier.has_copies(row) || all.squares[row] == 0.0) continue;
    rows.rows.push_back(row);
    ranges.push_back({distinct.begin[p], end});
    pairs += static_cast<double>(end - distinct.begin[p]);
  }
  if (rows.rows.empty()) return;
  const ScanScreens screens(team, Metric::kCosine, rows, columns, pairs, 0.0, 1.0);
  LowestOfEqual operation(rows, ranges, columns, earlier, out);
  scan_pairs(team, rows, columns, screens.screening(), operation);
}

}  // namespace

Redundancy redundancy(const Matrix& x, const Ordering& ordering, double above,
                      const Context& context) {
  Team team(context);
  ScanSide side = make_side(team, x, ordering.rows);
  Redundancy out{std::vector<double>(static_cast<size_t>(x.n), above),
                 std::vector<int64_t>(static_cast<size_t>(x.n), -1)};
  const Copies copies(team, x, ordering.rows, &ordering.begin);
  if (!copies.any()) {
    scan_earlier(team, ordering, above, nullptr, side, out);
    return out;
  }
  const Earlier earlier(copies, ordering);
  const Ordering distinct = first_of_each(copies, ordering);
  side.rows = distinct.rows;
  scan_earlier(team, distinct, above, earlier.rising() ? nullptr : &earlier, side, out);
  earlier.each_group([&](int64_t begin, int64_t end) {
    int64_t lowest = x.n;  // of all before
    for (int64_t p = begin; p < end; ++p) {
      const int64_t row = ordering.rows[p], first = ordering.rows[copies.first(p)];
      const bool zero = side.squares[row] == 0.0;
      if (row != first && (zero ? 0.0 : 1.0) > above) {
        out.similarity[row] = zero ? 0.0 : 1.0;
        out.neighbor[row] = zero ? lowest : earlier.lowest(first, row);
        // Rows before the first to which it has cosine 1, if any: the lowest of them.
        if (!zero && out.similarity[first] == 1.0) {
          out.neighbor[row] = std::min(out.neighbor[row], out.neighbor[first]);
        }
      }
      lowest = std::min(lowest, row);
    }
  });
  if (!earlier.rising() && above < 1.0) scan_equal(team, distinct, earlier, side, out);
  return out;
}

Pairs earlier_pairs(const Matrix& x, double threshold, const Ordering& ordering,
                    const Copies& copies, int64_t max_pairs, Team& team) {
  const Ordering distinct = first_of_each(copies, ordering);
  const Ordering& scanned = copies.any() ? distinct : ordering;
  ScanSide side = make_side(team, x, scanned.rows);
  const ScanScreens screens(team, Metric::kCosine, side, side, pairs_of(scanned), 0.0, threshold);
  CollectPairs collect(side, side, true, &scanned, threshold, max_pairs);
  team.announce(0, x.n, x.n);
  scan_pairs(team, side, side, screens.screening(), collect);
  Pairs out = collect.positions();
  if (!copies.any()) return out;
  for (int64_t& p : out.i) p = copies.distinct[p];
  for (int64_t& p : out.j) p = copies.distinct[p];
  return out;
}

TopK topk_similarity(const Matrix& x, const Matrix* y, int64_t k, const Context& context) {
  Team team(context);
  TwoSides sides(team, x, y);
  const Copies copies(team, x), others(team, y == nullptr ? x : *y);
  keep_first(sides.left, copies);
  if (y != nullptr) keep_first(sides.right(), others);
  const auto rows = static_cast<double>(sides.left.size());
  const ScanScreens screens(team, Metric::kCosine, sides.left, sides.right(),
                            rows * static_cast<double>(sides.right().size()), kRegroup);
  BestK best(sides.left, copies, sides.right(), y == nullptr ? copies : others, k);
  team.announce(0, x.n, x.n);
  scan_pairs(team, sides.left, sides.right(), screens.screening(), best);
  return best.result();
}

}  // namespace meddel

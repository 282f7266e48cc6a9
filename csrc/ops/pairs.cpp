#include "ops/pairs.h"

#include <algorithm>
#include <atomic>
#include <numeric>
#include <tuple>
#include <utility>

#include "base/truth.h"
#include "ops/earlier_block.h"
#include "ops/two_sides.h"
#include "screen/block_scan.h"
#include "screen/pair_scan.h"
#include "screen/scan_screens.h"

namespace meddel {
namespace {

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

  void take_all(int64_t p, const int64_t* q, const double* inner, int64_t count) {
    Row& row = found_[p];
    const size_t before = row.size();
    size_t size = before;
    row.resize(size + static_cast<size_t>(count));
    for (int64_t c = 0; c < count; ++c) {
      row[size] = {q[c], cosine(inner[c], x_.square(p), y_.square(q[c]))};
      size += row[size].second >= threshold_;
    }
    row.resize(size);
    const size_t lots = size / kCounted - before / kCounted;
    if (lots > 0) add(static_cast<int64_t>(lots) * kCounted);
  }

  void finish_band(int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      Row& row = found_[p];
      add(static_cast<int64_t>(row.size()) % kCounted);
      if (row.capacity() > row.size() + row.size() / 8) row.shrink_to_fit();
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
      out.i.insert(out.i.end(), static_cast<size_t>(begin[i + 1] - begin[i]), i);
      if (std::is_sorted(out.j.begin() + begin[i], out.j.begin() + begin[i + 1])) continue;
      row.clear();
      for (int64_t k = begin[i]; k < begin[i + 1]; ++k)
        row.push_back({out.j[k], out.similarity[k]});
      std::sort(row.begin(), row.end());
      for (size_t k = 0; k < row.size(); ++k) {
        std::tie(out.j[begin[i] + k], out.similarity[begin[i] + k]) = row[k];
      }
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

// The same pairs as positions of an ordering, of which those of the kinds' first rows are given.
Pairs of_all(Pairs pairs, const Copies& copies) {
  if (!copies.any()) return pairs;
  for (int64_t& p : pairs.i) p = copies.distinct[p];
  for (int64_t& p : pairs.j) p = copies.distinct[p];
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
  const BlockKind kind = plan_block(pairs, pairs / n, x.d, Asked::kAll);
  if (kind != BlockKind::kNone) {
    const BlockScreen screen(kind, sides.left, sides.right());
    CollectPairs collect(sides.left, sides.right(), y == nullptr, nullptr, threshold, max_pairs);
    scan_block(team, screen, sides.left, sides.right(), sides.left.size(), collect);
    return collect.rows();
  }
  const ScanScreens screens(team, Metric::kCosine, sides.left, sides.right(), pairs, kRegroup,
                            threshold);
  CollectPairs collect(sides.left, sides.right(), y == nullptr, nullptr, threshold, max_pairs);
  team.announce(0, sides.left.size(), sides.left.size());
  scan_pairs(team, sides.left, sides.right(), screens.screening(), collect);
  return collect.rows();
}

Pairs earlier_pairs(const Matrix& x, double threshold, const Ordering& ordering,
                    const Copies& copies, int64_t max_pairs, Team& team) {
  const Ordering distinct = first_of_each(copies, ordering);
  const Ordering& scanned = copies.any() ? distinct : ordering;
  ScanSide side = make_side(team, x, scanned.rows);
  const BlockKind kind = plan_block(scanned, x.d, Asked::kAll);
  if (kind != BlockKind::kNone) {
    const BlockScreen screen(kind, side, side);
    CollectPairs collect(side, side, true, &scanned, threshold, max_pairs);
    scan_earlier_block(team, screen, side, scanned, x.n, collect);
    return of_all(collect.positions(), copies);
  }
  const ScanScreens screens(team, Metric::kCosine, side, side, pairs_of(scanned), 0.0, threshold);
  CollectPairs collect(side, side, true, &scanned, threshold, max_pairs);
  team.announce(0, x.n, x.n);
  scan_pairs(team, side, side, screens.screening(), collect);
  return of_all(collect.positions(), copies);
}

}  // namespace meddel

#include "pair_parts.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <numeric>
#include <optional>
#include <tuple>

#include "best_heap.h"
#include "copies.h"
#include "pair_scan.h"
#include "truth.h"

namespace meddel {
namespace {

constexpr double kNone = -std::numeric_limits<double>::infinity();

using Key = std::tuple<int64_t, int64_t>;  // label, place

Key key_of(const Part& part, int64_t row) {
  return {part.labels == nullptr ? 0 : part.labels[row], part.places[row]};
}

std::vector<int64_t> in_order(const Part& part) {
  std::vector<int64_t> rows(static_cast<size_t>(part.rows.n));
  std::iota(rows.begin(), rows.end(), int64_t{0});
  std::sort(rows.begin(), rows.end(),
            [&](int64_t a, int64_t b) { return key_of(part, a) < key_of(part, b); });
  return rows;
}

// By position of x: the positions of y with the same label and an earlier place.
std::vector<ColumnRange> earlier_columns(const Part& x, const std::vector<int64_t>& x_rows,
                                         const Part& y, const std::vector<int64_t>& y_rows) {
  std::vector<ColumnRange> out;
  const auto before = [&](const Key& key) {
    const auto at =
        std::lower_bound(y_rows.begin(), y_rows.end(), key,
                         [&](int64_t row, const Key& wanted) { return key_of(y, row) < wanted; });
    return static_cast<int64_t>(at - y_rows.begin());
  };
  for (const int64_t row : x_rows) {
    const Key key = key_of(x, row);
    out.push_back({before({std::get<0>(key), std::numeric_limits<int64_t>::min()}), before(key)});
  }
  return out;
}

// Of rows in order that are equal, leaves the first of each group: where samples rise, it is the
// lowest, and earlier than whatever any of the others is earlier than.
void leave_first(Team& team, const Part& part, std::vector<int64_t>& rows) {
  std::vector<int64_t> groups;
  for (size_t p = 0; p < rows.size(); ++p) {
    groups.push_back(std::get<0>(key_of(part, rows[p])));
    const bool same = p > 0 && groups[p] == groups[p - 1];
    if (same && part.samples[rows[p]] < part.samples[rows[p - 1]]) return;
  }
  const Copies copies(team, part.rows, rows, &groups);
  if (!copies.any()) return;
  std::vector<int64_t> left;
  for (const int64_t p : copies.distinct) left.push_back(rows[p]);
  rows = std::move(left);
}

// The highest earlier sample of a row: by the columns of its position, or, where the screens have
// put rows into an order of their own, by the places alone.
class HighestEarlier {
 public:
  static constexpr bool kRising = true;

  HighestEarlier(const ScanSide& left, const Part& x, const ScanSide& right, const Part& y,
                 const std::vector<ColumnRange>* columns, Redundancy& best)
      : left_(left), x_(x), right_(right), y_(y), columns_(columns), best_(best) {}

  Metric metric() const { return Metric::kCosine; }
  ColumnRange range(int64_t p) const {
    return columns_ == nullptr ? ColumnRange{0, right_.size()} : (*columns_)[p];
  }
  bool counts(int64_t p, int64_t q) const {
    return columns_ != nullptr || y_.places[right_.rows[q]] < x_.places[left_.rows[p]];
  }
  double bar(int64_t p) const { return best_.similarity[left_.rows[p]]; }

  void take(int64_t p, int64_t q, double inner) {
    const double similarity = cosine(inner, left_.square(p), right_.square(q));
    const int64_t row = left_.rows[p], sample = y_.samples[right_.rows[q]];
    double& best = best_.similarity[row];
    if (similarity > best || (similarity == best && sample < best_.neighbor[row])) {
      best = similarity;
      best_.neighbor[row] = sample;
    }
  }

  void finish_band(int64_t, int64_t) {}

 private:
  const ScanSide& left_;
  const Part& x_;
  const ScanSide& right_;
  const Part& y_;
  const std::vector<ColumnRange>* const columns_;
  Redundancy& best_;
};

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
    TopK out{std::vector<double>(total, kNone), std::vector<int64_t>(total, -1)};
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

class CollectGroups {
 public:
  static constexpr bool kRising = false;

  CollectGroups(const ScanSide& x, const ScanSide& y, const std::vector<ColumnRange>& columns,
                double threshold, int64_t max_pairs)
      : x_(x),
        y_(y),
        columns_(columns),
        threshold_(threshold),
        max_pairs_(max_pairs),
        found_(static_cast<size_t>(x.size())) {}

  Metric metric() const { return Metric::kCosine; }
  ColumnRange range(int64_t p) const { return columns_[p]; }
  bool counts(int64_t, int64_t) const { return true; }
  double bar(int64_t) const { return threshold_; }

  void take(int64_t p, int64_t q, double inner) {
    const double similarity = cosine(inner, x_.square(p), y_.square(q));
    if (similarity < threshold_) return;
    found_[x_.rows[p]].push_back({y_.rows[q], similarity});
    const int64_t total = count_.fetch_add(1, std::memory_order_relaxed) + 1;
    if (total > max_pairs_) throw TooManyPairs(total);
  }

  void finish_band(int64_t, int64_t) {}

  Pairs result() const {
    Pairs out;
    for (size_t i = 0; i < found_.size(); ++i) {
      for (const auto& [j, similarity] : found_[i]) {
        out.i.push_back(static_cast<int64_t>(i));
        out.j.push_back(j);
        out.similarity.push_back(similarity);
      }
    }
    return out;
  }

 private:
  const ScanSide& x_;
  const ScanSide& y_;
  const std::vector<ColumnRange>& columns_;
  const double threshold_;
  const int64_t max_pairs_;
  std::vector<std::vector<std::pair<int64_t, double>>> found_;  // by row of x
  std::atomic<int64_t> count_{0};
};

double pairs_in(const std::vector<ColumnRange>& columns) {
  double pairs = 0.0;
  for (const ColumnRange& range : columns) pairs += static_cast<double>(range.end - range.begin);
  return pairs;
}

}  // namespace

Redundancy earlier_in_part(const Part& x, const Part& y, Redundancy best, const Context& context) {
  Team team(context);
  const bool same = x.rows.data == y.rows.data;
  std::vector<int64_t> x_rows = in_order(x), y_rows = same ? x_rows : in_order(y);
  leave_first(team, y, y_rows);
  const bool one_side = same && x_rows.size() == y_rows.size();
  const std::vector<ColumnRange> columns = earlier_columns(x, x_rows, y, y_rows);
  const double pairs = pairs_in(columns);
  if (pairs == 0.0) return best;
  ScanSide left = make_side(team, x.rows, std::move(x_rows));
  std::optional<ScanSide> other;
  if (!one_side) other = make_side(team, y.rows, std::move(y_rows));
  ScanSide& right = one_side ? left : *other;
  const double all = static_cast<double>(left.size()) * static_cast<double>(right.size());
  const double regroup = x.labels != nullptr ? 0.0 : pairs == all ? kRegroup : kRegroupEarlier;
  const double least = *std::min_element(best.similarity.begin(), best.similarity.end());
  const ScanScreens screens(team, Metric::kCosine, left, right, pairs, regroup,
                            least > kNone ? std::optional<double>(least) : std::nullopt);
  const bool moved = screens.screening().groups > 0;
  HighestEarlier highest(left, x, right, y, moved ? nullptr : &columns, best);
  scan_pairs(team, left, right, screens.screening(), highest);
  return best;
}

TopK topk_in_part(const Matrix& x, int64_t x_first, const Matrix& y, int64_t y_first, TopK best,
                  int64_t k, const Context& context) {
  Team team(context);
  ScanSide left = all_rows(team, x), right = all_rows(team, y);
  const Copies copies(team, y);
  if (copies.any()) right.rows = copies.distinct;
  BestOfParts operation(left, x_first, right, copies, y_first, k, best);
  const double pairs = static_cast<double>(x.n) * static_cast<double>(right.size());
  const ScanScreens screens(team, Metric::kCosine, left, right, pairs, kRegroup);
  scan_pairs(team, left, right, screens.screening(), operation);
  return operation.result();
}

Pairs pairs_of_groups(const Matrix& x, const int64_t* x_labels, const Matrix& y,
                      const int64_t* y_labels, double threshold, int64_t max_pairs,
                      const Context& context) {
  Team team(context);
  const std::vector<int64_t> first(static_cast<size_t>(x.n), std::numeric_limits<int64_t>::max());
  const std::vector<int64_t> second(static_cast<size_t>(y.n), 0);
  const Part rows{x, nullptr, first.data(), x_labels};
  const Part others{y, nullptr, second.data(), y_labels};
  std::vector<int64_t> x_rows = in_order(rows), y_rows = in_order(others);
  const std::vector<ColumnRange> columns = earlier_columns(rows, x_rows, others, y_rows);
  const double pairs = pairs_in(columns);
  if (pairs == 0.0) return {};
  ScanSide left = make_side(team, x, std::move(x_rows));
  ScanSide right = make_side(team, y, std::move(y_rows));
  const ScanScreens screens(team, Metric::kCosine, left, right, pairs, 0.0);
  CollectGroups collect(left, right, columns, threshold, max_pairs);
  scan_pairs(team, left, right, screens.screening(), collect);
  return collect.result();
}

}  // namespace meddel

#include "ops/redundancy.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "base/copies.h"
#include "base/truth.h"
#include "ops/earlier_block.h"
#include "screen/pair_scan.h"
#include "screen/scan_screens.h"

namespace meddel {
namespace {

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
  bool loses(int64_t p, int64_t q) const {
    const int64_t neighbor = out_.neighbor[x_.rows[p]];
    return lowest_ == nullptr && neighbor >= 0 && neighbor < x_.rows[q];
  }

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

// The highest earlier one of each of the rows of an ordering, which may be some of x.
void scan_earlier(Team& team, const Ordering& ordering, double above, const Earlier* lowest,
                  ScanSide& side, Redundancy& out) {
  const double pairs = pairs_of(ordering);
  const bool one_group = ordering.begin.back() == 0;
  std::vector<int64_t> place;
  const BlockKind kind = plan_block(ordering, side.x->d, Asked::kEarlier);
  if (kind != BlockKind::kNone) {
    const BlockScreen screen(kind, side, side);
    HighestEarlier highest(side, ordering, place, lowest, out);
    scan_earlier_block(team, screen, side, ordering, side.x->n, highest);
    return;
  }
  const ScanScreens screens(team, Metric::kCosine, side, side, pairs,
                            one_group ? kRegroupEarlier : 0.0,
                            above > -kInfinity ? std::optional<double>(above) : std::nullopt);
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
  const Copies copies(team, x, ordering.rows, &ordering.begin, nullptr, &side.squares);
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

}  // namespace meddel

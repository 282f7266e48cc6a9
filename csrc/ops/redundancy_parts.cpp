#include "ops/redundancy_parts.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/copies.h"
#include "base/truth.h"
#include "screen/pair_scan.h"
#include "screen/scan_screens.h"

namespace meddel {
namespace {

// Of rows in order that are equal, leaves the first of each group: where samples rise, it is the
// lowest, and earlier than whatever any of the others is earlier than.
void leave_first(Team& team, const Part& part, std::vector<int64_t>& rows) {
  std::vector<int64_t> groups;
  for (size_t p = 0; p < rows.size(); ++p) {
    groups.push_back(part.labels == nullptr ? 0 : part.labels[rows[p]]);
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
                            least > -kInfinity ? std::optional<double>(least) : std::nullopt);
  const bool moved = screens.screening().groups > 0;
  HighestEarlier highest(left, x, right, y, moved ? nullptr : &columns, best);
  scan_pairs(team, left, right, screens.screening(), highest);
  return best;
}

}  // namespace meddel

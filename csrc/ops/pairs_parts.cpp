#include "ops/pairs_parts.h"

#include <atomic>
#include <limits>
#include <utility>
#include <vector>

#include "base/truth.h"
#include "ops/parts.h"
#include "screen/pair_scan.h"
#include "screen/scan_screens.h"

namespace meddel {
namespace {

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

}  // namespace

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

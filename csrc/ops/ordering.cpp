#include "ops/ordering.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace meddel {
namespace {

// Stably; by counting where labels are few numbers in a row, as they mostly are.
void sort_by_label(int64_t n, const int64_t* labels, std::vector<int64_t>& rows) {
  const auto [lowest, highest] = std::minmax_element(labels, labels + n);
  const uint64_t span = static_cast<uint64_t>(*highest) - static_cast<uint64_t>(*lowest);
  if (span > static_cast<uint64_t>(n)) {
    std::stable_sort(rows.begin(), rows.end(),
                     [labels](int64_t a, int64_t b) { return labels[a] < labels[b]; });
    return;
  }
  std::vector<int64_t> next(static_cast<size_t>(span) + 2, 0);
  for (int64_t i = 0; i < n; ++i) ++next[labels[i] - *lowest + 1];
  std::partial_sum(next.begin(), next.end(), next.begin());
  std::vector<int64_t> sorted(rows.size());
  for (const int64_t row : rows) sorted[next[labels[row] - *lowest]++] = row;
  rows = std::move(sorted);
}

}  // namespace

Ordering make_ordering(int64_t n, const int64_t* order, const int64_t* labels) {
  Ordering out{std::vector<int64_t>(static_cast<size_t>(n)),
               std::vector<int64_t>(static_cast<size_t>(n), 0)};
  if (order == nullptr) {
    std::iota(out.rows.begin(), out.rows.end(), int64_t{0});
  } else {
    std::copy(order, order + n, out.rows.begin());
  }
  if (labels == nullptr) return out;
  sort_by_label(n, labels, out.rows);
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

double pairs_of(const Ordering& ordering) {
  double pairs = 0.0;
  for (size_t p = 0; p < ordering.begin.size(); ++p) {
    pairs += static_cast<double>(p) - static_cast<double>(ordering.begin[p]);
  }
  return pairs;
}

}  // namespace meddel

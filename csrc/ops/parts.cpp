#include "ops/parts.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <tuple>

namespace meddel {
namespace {

using Key = std::tuple<int64_t, int64_t>;  // label, place

Key key_of(const Part& part, int64_t row) {
  return {part.labels == nullptr ? 0 : part.labels[row], part.places[row]};
}

}  // namespace

std::vector<int64_t> in_order(const Part& part) {
  std::vector<int64_t> rows(static_cast<size_t>(part.rows.n));
  std::iota(rows.begin(), rows.end(), int64_t{0});
  std::sort(rows.begin(), rows.end(),
            [&](int64_t a, int64_t b) { return key_of(part, a) < key_of(part, b); });
  return rows;
}

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

double pairs_in(const std::vector<ColumnRange>& columns) {
  double pairs = 0.0;
  for (const ColumnRange& range : columns) pairs += static_cast<double>(range.end - range.begin);
  return pairs;
}

}  // namespace meddel

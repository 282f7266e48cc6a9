// First bars, where an operation takes several best pairs of a row. A row stays open for some of
// the columns: it keeps those whose cosines, by unit_panel.h, may be among the best, as the least
// that as many others can have tells, and none is worked out before the row is closed. The exact
// scores of what it has kept then make a bar that is near the last one.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <vector>

#include "base/confirm.h"
#include "base/sides.h"
#include "base/truth.h"
#include "screen/scan_screens.h"
#include "screen/unit_panel.h"

namespace meddel::scan {

// Columns that a row looks at before it is closed.
constexpr int64_t kOpened = 1024;

// With fewer open rows, a block of products does not pay for its columns' being turned.
constexpr int64_t kFewRows = 12;

// What an operation's wanted says, and whether it has any.
template <class Operation>
auto wanted_pairs(const Operation& operation, int64_t p, int) -> decltype(operation.wanted(p)) {
  return operation.wanted(p);
}
template <class Operation>
int64_t wanted_pairs(const Operation&, int64_t, long) {
  return 1;
}

// What one open row has kept.
class Opening {
 public:
  struct Column {
    int64_t position;
    int32_t cosine;  // as UnitPanel has it
  };

  void keep(int64_t position, int32_t cosine) { columns_.push_back({position, cosine}); }

  // The least of UnitPanel's cosines that is worth keeping.
  int32_t least() const { return least_; }

  // What the best of the columns kept so far prove: no lower score is wanted.
  double bar() const { return bar_; }

  const std::vector<Column>& columns() const { return columns_; }

  // Counts columns that the row has looked at, all that are worth it kept, of which it wants so
  // many; returns how many it has seen. `cosines` is for its own use.
  int64_t look(int64_t columns, int64_t wanted, int32_t error, std::vector<int32_t>& cosines) {
    seen_ += columns;
    if (static_cast<int64_t>(columns_.size()) >= raised_at_) raise(wanted, error, cosines);
    return seen_;
  }

  // Drops what is not among the `wanted` best.
  void raise(int64_t wanted, int32_t error, std::vector<int32_t>& cosines) {
    cosines.clear();
    for (const Column& column : columns_) {
      if (column.cosine != UnitPanel::kUnknown) cosines.push_back(column.cosine);
    }
    if (static_cast<int64_t>(cosines.size()) >= wanted) {
      const auto last = cosines.begin() + wanted - 1;
      std::nth_element(cosines.begin(), last, cosines.end(), std::greater<int32_t>());
      least_ = *last - 2 * error;
      bar_ = static_cast<double>(*last - error) * UnitPanel::kScale;
      const auto below = [this](const Column& column) { return column.cosine < least_; };
      columns_.erase(std::remove_if(columns_.begin(), columns_.end(), below), columns_.end());
    }
    raised_at_ = 2 * std::max(static_cast<int64_t>(columns_.size()), wanted);
  }

  bool open = false;

 private:
  std::vector<Column> columns_;
  int32_t least_ = -UnitPanel::kUnknown;
  double bar_ = -kInfinity;
  int64_t raised_at_ = 0;  // with so many columns, the next time
  int64_t seen_ = 0;
};

// The open rows of a band, for one thread.
template <class Operation>
class Openings {
 public:
  Openings(const ScanSide& x, const ScanSide& y, Operation& operation,
           Confirmer<Operation>& confirmer)
      : x_(x), y_(y), operation_(operation), confirmer_(confirmer), panel_(x.x->d) {}

  // Opens the rows of a band that want several pairs and have no bar.
  void open(int64_t begin, int64_t end) {
    begin_ = begin;
    rows_.assign(static_cast<size_t>(end - begin), {});
    if (operation_.metric() != Metric::kCosine) return;
    for (int64_t p = begin; p < end; ++p) {
      at(p).open = wanted_pairs(operation_, p, 0) > 1 && operation_.bar(p) == -kInfinity &&
                   UnitPanel::fits(x_, p);
      any_ = any_ || at(p).open;
    }
  }

  bool any() const { return any_; }
  bool is_open(int64_t p) const { return any_ && rows_[p - begin_].open; }
  double bar(int64_t p) const { return rows_[p - begin_].bar(); }

  // Has some open rows look at the columns [from, to), and closes those that have seen enough. Few
  // rows are closed without a look. Returns whether they have looked.
  bool look(const std::vector<int64_t>& rows, int64_t from, int64_t to) {
    if (static_cast<int64_t>(rows.size()) < kFewRows) {
      for (const int64_t p : rows) close(p);
      return false;
    }
    const int64_t d = x_.x->d, count = static_cast<int64_t>(rows.size());
    scaled_.resize(static_cast<size_t>(count * d));
    cosines_.resize(static_cast<size_t>(count * kPanelColumns));
    for (int64_t r = 0; r < count; ++r) panel_.scale(x_, rows[r], &scaled_[r * d]);
    for (int64_t first = from; first < to; first += kPanelColumns) {
      const int64_t last = std::min(to, first + kPanelColumns);
      panel_.set_columns(y_, first, last);
      panel_.multiply(scaled_.data(), count, cosines_.data());
      for (int64_t r = 0; r < count; ++r) {
        keep(rows[r], first, last, &cosines_[r * kPanelColumns]);
      }
    }
    for (const int64_t p : rows) {
      const int64_t wanted = wanted_pairs(operation_, p, 0);
      if (at(p).look(to - from, wanted, panel_.error(), sorted_) >= std::max(kOpened, 4 * wanted)) {
        close(p);
      }
    }
    return true;
  }

  // Works out what an open row has kept.
  void close(int64_t p) {
    Opening& opening = at(p);
    const int64_t wanted = wanted_pairs(operation_, p, 0);
    opening.raise(wanted, panel_.error(), sorted_);
    for (const Opening::Column& column : opening.columns()) {
      const bool known = column.cosine != UnitPanel::kUnknown;
      const double most = static_cast<double>(column.cosine + panel_.error()) * UnitPanel::kScale;
      confirmer_.add(column.position, known ? most : kInfinity);
    }
    opening = {};
    confirmer_.settle(p, wanted);
  }

  void close_all() {
    for (size_t r = 0; r < rows_.size(); ++r) {
      if (rows_[r].open) close(begin_ + static_cast<int64_t>(r));
    }
  }

 private:
  Opening& at(int64_t p) { return rows_[p - begin_]; }

  void keep(int64_t p, int64_t first, int64_t last, const int32_t* cosines) {
    Opening& opening = at(p);
    const ColumnRange range = operation_.range(p);
    uint16_t found[kPanelColumns];
    const int32_t count = kernels().at_least(cosines, kPanelColumns, -opening.least(), found);
    for (int32_t c = 0; c < count; ++c) {
      const int64_t q = first + found[c];
      if (q < range.begin || q >= std::min(last, range.end) || !operation_.counts(p, q)) continue;
      opening.keep(q, cosines[found[c]]);
    }
  }

  const ScanSide& x_;
  const ScanSide& y_;
  Operation& operation_;
  Confirmer<Operation>& confirmer_;
  UnitPanel panel_;
  int64_t begin_ = 0;
  bool any_ = false;
  std::vector<Opening> rows_;
  std::vector<float> scaled_;
  std::vector<int32_t> cosines_;
  std::vector<int32_t> sorted_;
};

}  // namespace meddel::scan

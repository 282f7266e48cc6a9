// What the k best rows are wanted of, where rows have copies, and how they become a result.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/best_heap.h"
#include "base/copies.h"
#include "base/sides.h"
#include "ops/topk.h"

namespace meddel {

// Where rows have copies, the sides hold the first of each kind, for which all of its kind are
// offered. Rows of one set that have copies may take k + 1, themselves included: without the one
// that asks, these are the k best of each of them.
class BestRows {
 public:
  BestRows(const ScanSide& x, const Copies& x_copies, const ScanSide& y, const Copies& y_copies,
           int64_t k)
      : x_(x), x_copies_(x_copies), y_(y), y_copies_(y_copies), k_(k) {}

  bool one_side() const { return &x_ == &y_; }

  // Whether a column may stand for several rows.
  bool copies() const { return y_copies_.any(); }

  // Whether row p of x may have column q.
  bool counts(int64_t p, int64_t q) const {
    return !one_side() || p != q || with_itself(x_.rows[p]);
  }

  // How many candidates row p of x takes, and how many one does at most.
  int64_t wanted(int64_t p) const { return k_ + (one_side() && with_itself(x_.rows[p]) ? 1 : 0); }
  int64_t most() const { return k_ + (one_side() && x_copies_.any() ? 1 : 0); }

  // Calls take(row) for the first of the rows of y that column q stands for, `most` at most,
  // rising.
  template <class Take>
  void each(int64_t q, int64_t most, const Take& take) const {
    const int64_t row = y_.rows[q];
    if (!y_copies_.any()) {
      take(row);
      return;
    }
    const int64_t* member = &y_copies_.members[y_copies_.begin[y_copies_.kind[row]]];
    const int64_t count = std::min(most, y_copies_.count(y_copies_.kind[row]));
    for (int64_t m = 0; m < count; ++m) take(member[m]);
  }

  // Whether the candidates of all rows, one after the other, are the result.
  bool as_they_are() const { return !x_copies_.any(); }

  // The c-th best candidate of the first row of a kind is of(row, c).
  template <class Of>
  TopK result(const Of& of) const {
    const int64_t n = x_.x->n;
    TopK out;
    out.similarity.reserve(static_cast<size_t>(n * k_));
    out.indices.reserve(static_cast<size_t>(n * k_));
    for (int64_t i = 0; i < n; ++i) {
      const int64_t first = x_copies_.any() ? x_copies_.first(i) : i;
      int64_t left = k_;
      for (int64_t c = 0; left > 0; ++c) {
        const Candidate candidate = of(first, c);
        if (one_side() && candidate.index == i) continue;
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

  const ScanSide& x_;
  const Copies& x_copies_;
  const ScanSide& y_;
  const Copies& y_copies_;
  const int64_t k_;
};

}  // namespace meddel

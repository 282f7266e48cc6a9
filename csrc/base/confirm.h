// The end of every scan: what is left of a row's columns is worked out, roughly first and then as
// the truth says.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/matrix.h"
#include "base/sides.h"
#include "base/truth.h"
#include "cpu/isa.h"

namespace meddel {

// What the score of two rows is at most, given their inner product as worked out in fp32.
//
// |fl(<x, y>) - <x, y>| <= gamma_d |x||y| for any order of summation, as long as nothing over- or
// underflows: hence the range of norms. The truth itself is off the real score by what bounds.h
// says of slack; the rest of `off` is for the norms here, roots of the truth's squares, and the
// operations on them.
class RoughScore {
 public:
  RoughScore(Metric metric, int64_t d)
      : cosines_(metric == Metric::kCosine),
        roundings_(static_cast<double>(d + 8) * 0x1p-24),
        off_(static_cast<double>(d + 16) * (cosines_ ? 0x1p-52 : 0x1p-51)) {}

  // Infinite where the product tells nothing.
  double operator()(float product, double xx, double yy, double x_norm, double y_norm) const {
    const double norms = x_norm * y_norm, xy = static_cast<double>(product);
    if (!(norms > 1e-25 && norms < 1e37) || roundings_ > 0.5) {
      return kInfinity;
    }
    const double gamma = roundings_ / (1.0 - roundings_);
    if (cosines_) return xy / norms + (gamma + off_);
    return 2.0 * (xy + gamma * norms) - (xx + yy) + off_ * (xx + yy);
  }

 private:
  const bool cosines_;
  const double roundings_;
  const double off_;
};

namespace scan {

constexpr int64_t kConfirmed = 4;  // candidates before a second look at the bar; then twice as many

// A column that a row has to be worked out with, and an upper bound on their score.
struct Candidate {
  int64_t position;
  double bound;

  bool operator<(const Candidate& other) const { return bound > other.bound; }
};

// Puts the `count` best of some candidates first.
void best_first(std::vector<Candidate>::iterator begin, std::vector<Candidate>::iterator end,
                int64_t count);

// What an operation's loses says, and whether it has any.
template <class Operation>
auto loses_tie(const Operation& operation, int64_t p, int64_t q, int)
    -> decltype(operation.loses(p, q)) {
  return operation.loses(p, q);
}
template <class Operation>
bool loses_tie(const Operation&, int64_t, int64_t, long) {
  return false;
}

// Hands columns of x's rows to an operation (see pair_scan.h), for one thread.
template <class Operation>
class Confirmer {
 public:
  Confirmer(const ScanSide& x, const ScanSide& y, Operation& operation)
      : x_(x),
        y_(y),
        operation_(operation),
        widen_(x.x->dtype == y.x->dtype ? nullptr : kernels().widen[static_cast<int>(x.x->dtype)]),
        dots_(kernels().dots[static_cast<int>(y.x->dtype)]),
        rough_dots_(kernels().rough_dots[static_cast<int>(y.x->dtype)]),
        rough_score_(operation.metric(), x.x->d),
        widened_(static_cast<size_t>(widen_ != nullptr ? x.x->d : 0)) {}

  // A column for the next call of settle, with an upper bound on its score.
  void add(int64_t q, double bound = kInfinity) { candidates_.push_back({q, bound}); }

  // Hands the added columns of row p to the operation, but for those that an fp32 product puts
  // below the bar (where `roughly`: not if the bounds they came with are as good). The most
  // promising ones, by their bounds, come first, as they raise the bar for the others; `first` of
  // them where there is none.
  void settle(int64_t p, int64_t first = 1, bool roughly = true) {
    if (candidates_.empty()) return;
    const size_t size = candidates_.size();
    if (rows_.size() < size) {
      rows_.resize(size);
      rough_.resize(size);
      inner_.resize(size);
    }
    int64_t count = static_cast<int64_t>(size);
    const void* const row = wide(p);
    int64_t done = 0;
    for (int64_t step = first; done < count && operation_.bar(p) == -kInfinity; step *= 2) {
      done = confirm_best(p, row, done, std::min(count, done + step), count);
    }
    count = drop_below(p, done, count);
    if (roughly) count = leave_rough(p, row, done, count);
    if (!Operation::kRising) done = confirm_best(p, row, done, count, count);
    for (int64_t step = kConfirmed; done < count; step *= 2) {
      done = confirm_best(p, row, done, std::min(count, done + step), count);
      count = drop_below(p, done, count);
    }
    candidates_.clear();
  }

  // Hands the truth of the listed columns of a panel that count to the operation, all at once:
  // where the bar is fixed, there is nothing to gain by an order.
  void take_all(int64_t p, int64_t first, const uint16_t* found, int64_t count) {
    if (positions_.size() < static_cast<size_t>(count)) {
      positions_.resize(static_cast<size_t>(count));
      listed_.resize(static_cast<size_t>(count));
      inner_.resize(std::max(inner_.size(), static_cast<size_t>(count)));
    }
    int64_t size = 0;
    for (int64_t c = 0; c < count; ++c) {
      const int64_t q = first + found[c];
      positions_[size] = q;
      listed_[size] = y_.rows[q];
      size += operation_.counts(p, q);
    }
    dots_(wide(p), y_.x->data, y_.x->ld, listed_.data(), size, y_.x->d, inner_.data());
    operation_.take_all(p, positions_.data(), inner_.data(), size);
  }

 private:
  // The elements of row p, of the type of y's.
  const void* wide(int64_t p) {
    if (widen_ == nullptr) return x_.data(p);
    widen_(x_.data(p), x_.x->d, widened_.data());
    return widened_.data();
  }

  // Confirms the best of the candidates [done, count), until `end` are done.
  int64_t confirm_best(int64_t p, const void* row, int64_t done, int64_t end, int64_t count) {
    const auto begin = candidates_.begin();
    if (end < count) best_first(begin + done, begin + count, end - done);
    confirm(p, row, done, end);
    return end;
  }

  // Works out the fp32 products of the candidates [begin, end) and leaves those that they do not
  // put below the bar; returns their end.
  int64_t leave_rough(int64_t p, const void* row, int64_t begin, int64_t end) {
    if (begin == end) return end;
    for (int64_t k = begin; k < end; ++k) {
      rows_[k - begin] = y_.rows[candidates_[k].position];
    }
    rough_dots_(row, y_.x->data, y_.x->ld, rows_.data(), end - begin, y_.x->d, rough_.data());
    for (int64_t k = begin; k < end; ++k) {
      const int64_t q = candidates_[k].position;
      candidates_[k].bound = std::min(
          candidates_[k].bound,
          rough_score_(rough_[k - begin], x_.square(p), y_.square(q), x_.norm(p), y_.norm(q)));
    }
    return drop_below(p, begin, end);
  }

  // Drops those of the candidates [begin, end) whose bound is below the bar, or, as no cosine is
  // more than 1, what ties with a bar of 1 and loses; returns the new end.
  int64_t drop_below(int64_t p, int64_t begin, int64_t end) {
    const double bar = operation_.bar(p);
    const bool most = operation_.metric() == Metric::kCosine && bar == 1.0;
    const auto first = candidates_.begin();
    const auto below = [&](const Candidate& c) {
      return c.bound < bar || (most && loses_tie(operation_, p, c.position, 0));
    };
    return std::remove_if(first + begin, first + end, below) - first;
  }

  // Hands the truth of row p against candidates_ [begin, end) to the operation.
  void confirm(int64_t p, const void* row, int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      rows_[k - begin] = y_.rows[candidates_[k].position];
    }
    dots_(row, y_.x->data, y_.x->ld, rows_.data(), end - begin, y_.x->d, inner_.data());
    for (int64_t k = begin; k < end; ++k) {
      operation_.take(p, candidates_[k].position, inner_[k - begin]);
    }
  }

  const ScanSide& x_;
  const ScanSide& y_;
  Operation& operation_;
  const WidenFn widen_;
  const DotsFn dots_;
  const RoughDotsFn rough_dots_;
  const RoughScore rough_score_;
  std::vector<Candidate> candidates_;
  std::vector<int64_t> rows_;
  std::vector<float> widened_;
  std::vector<float> rough_;
  std::vector<double> inner_;
  std::vector<int64_t> positions_;  // of take_all
  std::vector<int64_t> listed_;
};

}  // namespace scan
}  // namespace meddel

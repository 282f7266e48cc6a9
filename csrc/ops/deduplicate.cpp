#include "ops/deduplicate.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/copies.h"
#include "base/norms.h"
#include "base/truth.h"
#include "cpu/isa.h"
#include "ops/redundancy.h"

namespace meddel {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

Deduplicated keep_all(int64_t n) {
  Deduplicated out{std::vector<int64_t>(static_cast<size_t>(n)),
                   std::vector<double>(static_cast<size_t>(n), kNaN)};
  std::iota(out.representative.begin(), out.representative.end(), int64_t{0});
  return out;
}

Deduplicated semdedup(const Matrix& x, double threshold, const Ordering& ordering,
                      const Context& context) {
  // What is below the threshold need not be known: a bar from the start spares nearly all of it.
  const double above = std::nextafter(threshold, -kInfinity);
  const Redundancy highest = redundancy(x, ordering, above, context);
  Deduplicated out = keep_all(x.n);
  for (int64_t i = 0; i < x.n; ++i) {
    if (highest.neighbor[i] < 0) continue;
    out.representative[i] = highest.neighbor[i];
    out.similarity[i] = highest.similarity[i];
  }
  return out;
}

bool is_zero(const Matrix& x, int64_t row) {
  return kernels().dot[static_cast<int>(x.dtype)](x.row(row), x.row(row), x.d) == 0.0;
}

// Copies of one row have cosine 1, but for zero rows, which are as similar as threshold 0 says.
bool copies_are_similar(const Matrix& x, int64_t row, double threshold) {
  return threshold <= 0.0 || !is_zero(x, row);
}

class Greedy {
 public:
  Greedy(const Ordering& ordering, const int64_t* samples, Deduplicated& out)
      : ordering_(ordering), samples_(samples), out_(out) {}

  bool kept(int64_t row) const { return out_.representative[row] == samples_[row]; }

  // Takes account of a kept row that is similar to another and earlier.
  void cover(int64_t row, int64_t other, double similarity) {
    const int64_t by = samples_[other];
    int64_t& representative = out_.representative[row];
    double& best = out_.similarity[row];
    if (kept(row) || similarity > best || (similarity == best && by < representative)) {
      representative = by;
      best = similarity;
    }
  }

  // Copies of a row that is kept are dropped for it, as all that are more similar would have
  // dropped it. Those of a row that is dropped are dropped for the same row, or for one that was
  // kept after it.
  void settle_copies(const Matrix& x, const Pairs& pairs, const Copies& copies, double threshold) {
    if (!copies.any()) return;
    const auto kinds = static_cast<int64_t>(copies.distinct.size());
    std::vector<std::vector<size_t>> later(static_cast<size_t>(kinds));
    for (size_t e = 0; e < pairs.i.size(); ++e) {
      const int64_t kind = copies.kind[pairs.j[e]];
      const bool dropped = !kept(ordering_.rows[pairs.j[e]]);
      if (dropped && copies.count(kind) > 1 && kept(ordering_.rows[pairs.i[e]])) {
        later[kind].push_back(e);
      }
    }
    for (int64_t kind = 0; kind < kinds; ++kind) {
      const int64_t first = ordering_.rows[copies.distinct[kind]];
      if (copies.count(kind) == 1 || !copies_are_similar(x, first, threshold)) continue;
      const bool covers = kept(first);
      const double own = threshold <= 0.0 && is_zero(x, first) ? 0.0 : 1.0;
      int64_t last = first;
      size_t next = 0;
      for (int64_t m = copies.begin[kind] + 1; m < copies.begin[kind + 1]; ++m) {
        const int64_t at = copies.members[m], row = ordering_.rows[at];
        out_.representative[row] = covers ? samples_[first] : out_.representative[last];
        out_.similarity[row] = covers ? own : out_.similarity[last];
        for (; next < later[kind].size() && pairs.i[later[kind][next]] < at; ++next) {
          const size_t e = later[kind][next];
          cover(row, ordering_.rows[pairs.i[e]], pairs.similarity[e]);
        }
        last = row;
      }
    }
  }

 private:
  const Ordering& ordering_;
  const int64_t* const samples_;
  Deduplicated& out_;
};

// The pairs stand position after position: (later, earlier).
Deduplicated greedy(const Matrix& x, double threshold, const Ordering& ordering,
                    const int64_t* samples, int64_t max_pairs, Deduplicated out,
                    const Context& context) {
  Team team(context);
  const Copies copies(team, x, ordering.rows, &ordering.begin);
  const Pairs pairs = earlier_pairs(x, threshold, ordering, copies, max_pairs, team);
  Greedy rule(ordering, samples, out);
  for (size_t e = 0; e < pairs.i.size(); ++e) {
    const int64_t row = ordering.rows[pairs.i[e]], other = ordering.rows[pairs.j[e]];
    if (rule.kept(other)) rule.cover(row, other, pairs.similarity[e]);  // positions rise
  }
  rule.settle_copies(x, pairs, copies, threshold);
  return out;
}

// Union-find over positions; the root is the lowest position of its component.
class Forest {
 public:
  explicit Forest(std::vector<int64_t> parent) : parent_(std::move(parent)) {}

  int64_t find(int64_t p) {
    while (parent_[p] != p) {
      parent_[p] = parent_[parent_[p]];
      p = parent_[p];
    }
    return p;
  }

  void join(int64_t p, int64_t q) {
    p = find(p);
    q = find(q);
    parent_[std::max(p, q)] = std::min(p, q);
  }

  std::vector<int64_t> roots() {
    for (size_t p = 0; p < parent_.size(); ++p) parent_[p] = find(static_cast<int64_t>(p));
    return std::move(parent_);
  }

 private:
  std::vector<int64_t> parent_;
};

Deduplicated components(const Matrix& x, double threshold, const Ordering& ordering,
                        int64_t max_pairs, const Context& context) {
  Team team(context);
  const Copies copies(team, x, ordering.rows, &ordering.begin);
  const Pairs pairs = earlier_pairs(x, threshold, ordering, copies, max_pairs, team);
  Deduplicated out = keep_all(x.n);
  Forest forest(out.representative);
  for (size_t e = 0; e < pairs.i.size(); ++e) forest.join(pairs.i[e], pairs.j[e]);
  for (int64_t p = 0; copies.any() && p < x.n; ++p) {
    if (copies.is_first(p) || !copies_are_similar(x, ordering.rows[p], threshold)) continue;
    forest.join(p, copies.first(p));
  }
  const DotFn dot = kernels().dot[static_cast<int>(x.dtype)];
  const auto square = [&](int64_t i) { return dot(x.row(i), x.row(i), x.d); };
  for (int64_t p = 0; p < x.n; ++p) {
    const int64_t row = ordering.rows[p], root = ordering.rows[forest.find(p)];
    if (row == root) continue;
    out.representative[row] = root;
    out.similarity[row] = cosine(dot(x.row(row), x.row(root), x.d), square(row), square(root));
  }
  return out;
}

}  // namespace

Deduplicated deduplicate(const Matrix& x, double threshold, Rule rule, const Ordering& ordering,
                         int64_t max_pairs, const Context& context) {
  if (rule == Rule::kSemDeDup) return semdedup(x, threshold, ordering, context);
  if (rule == Rule::kComponents) return components(x, threshold, ordering, max_pairs, context);
  Deduplicated all = keep_all(x.n);
  const std::vector<int64_t> samples = all.representative;
  return greedy(x, threshold, ordering, samples.data(), max_pairs, std::move(all), context);
}

Deduplicated greedy_in_part(const Matrix& x, double threshold, const int64_t* samples,
                            const int64_t* labels, int64_t max_pairs, Deduplicated known,
                            const Context& context) {
  const Ordering ordering = make_ordering(x.n, nullptr, labels);
  return greedy(x, threshold, ordering, samples, max_pairs, std::move(known), context);
}

std::vector<int64_t> join_components(std::vector<int64_t> parent, const int64_t* i,
                                     const int64_t* j, int64_t pairs) {
  Forest forest(std::move(parent));
  for (int64_t e = 0; e < pairs; ++e) forest.join(i[e], j[e]);
  return forest.roots();
}

std::vector<double> row_cosines(const Matrix& x, const Matrix& y, const Context& context) {
  Team team(context);
  const DotFn dot = kernels().dot[static_cast<int>(x.dtype)];
  const std::vector<double> x_squares = squared_norms(team, x);
  const std::vector<double> y_squares = squared_norms(team, y);
  std::vector<double> out(static_cast<size_t>(x.n));
  for (int64_t i = 0; i < x.n; ++i) {
    out[i] = cosine(dot(x.row(i), y.row(i), x.d), x_squares[i], y_squares[i]);
  }
  return out;
}

}  // namespace meddel

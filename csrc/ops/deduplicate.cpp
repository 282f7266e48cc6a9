#include "ops/deduplicate.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "base/copies.h"
#include "base/norms.h"
#include "base/truth.h"
#include "cpu/isa.h"
#include "ops/redundancy.h"
#include "ops/spanning_forest.h"

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
  // kept after it. (Pairs below the threshold are beaten by what a copy is dropped for already.)
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
Deduplicated greedy(const EarlierSimilar& found, const Matrix& x, double threshold,
                    const int64_t* samples, Deduplicated out) {
  const auto& [ordering, copies, pairs] = found;
  Greedy rule(ordering, samples, out);
  for (size_t e = 0; e < pairs.i.size(); ++e) {
    if (pairs.similarity[e] < threshold) continue;
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

Deduplicated components(const EarlierSimilar& found, const Matrix& x, double threshold) {
  const auto& [ordering, copies, pairs] = found;
  Deduplicated out = keep_all(x.n);
  Forest forest(out.representative);
  for (size_t e = 0; e < pairs.i.size(); ++e) {
    if (pairs.similarity[e] >= threshold) forest.join(pairs.i[e], pairs.j[e]);
  }
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
  const EarlierSimilar found = earlier_similar(x, threshold, ordering, max_pairs, context);
  return deduplicate_by(found, x, threshold, rule);
}

EarlierSimilar earlier_similar(const Matrix& x, double floor, Ordering ordering, int64_t max_pairs,
                               const Context& context) {
  Team team(context);
  Copies copies(team, x, ordering.rows, &ordering.begin);
  Pairs pairs = earlier_pairs(x, floor, ordering, copies, max_pairs, team);
  return {std::move(ordering), std::move(copies), std::move(pairs)};
}

void keep_spanning(EarlierSimilar& found) {
  Pairs& pairs = found.pairs;
  std::vector<int64_t> edges = spanning_edges(
      pairs.i.data(), pairs.j.data(), pairs.similarity.data(), static_cast<int64_t>(pairs.i.size()),
      static_cast<int64_t>(found.ordering.rows.size()));
  std::sort(edges.begin(), edges.end());
  Pairs left;
  for (const int64_t e : edges) {
    left.i.push_back(pairs.i[e]);
    left.j.push_back(pairs.j[e]);
    left.similarity.push_back(pairs.similarity[e]);
  }
  pairs = std::move(left);
}

Deduplicated deduplicate_by(const EarlierSimilar& found, const Matrix& x, double threshold,
                            Rule rule) {
  if (rule == Rule::kComponents) return components(found, x, threshold);
  Deduplicated all = keep_all(x.n);
  const std::vector<int64_t> samples = all.representative;
  return greedy(found, x, threshold, samples.data(), std::move(all));
}

Pairs similar_rows(const EarlierSimilar& found, const Matrix& x, double floor) {
  const auto& [ordering, copies, pairs] = found;
  Pairs out;
  const auto add = [&, &rows = ordering.rows](int64_t p, int64_t q, double similarity) {
    out.i.push_back(rows[p]);
    out.j.push_back(rows[q]);
    out.similarity.push_back(similarity);
  };
  for (size_t e = 0; e < pairs.i.size(); ++e) add(pairs.i[e], pairs.j[e], pairs.similarity[e]);
  for (int64_t p = 0; copies.any() && p < x.n; ++p) {
    if (copies.is_first(p) || !copies_are_similar(x, ordering.rows[p], floor)) continue;
    add(p, copies.first(p), is_zero(x, ordering.rows[p]) ? 0.0 : 1.0);
  }
  return out;
}

Deduplicated greedy_in_part(const Matrix& x, double threshold, const int64_t* samples,
                            const int64_t* labels, int64_t max_pairs, Deduplicated known,
                            const Context& context) {
  const EarlierSimilar found =
      earlier_similar(x, threshold, make_ordering(x.n, nullptr, labels), max_pairs, context);
  return greedy(found, x, threshold, samples, std::move(known));
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

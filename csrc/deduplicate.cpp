#include "deduplicate.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "cpu/isa.h"
#include "norms.h"
#include "truth.h"

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
  const double above = std::nextafter(threshold, -std::numeric_limits<double>::infinity());
  const Redundancy highest = redundancy(x, ordering, above, context);
  Deduplicated out = keep_all(x.n);
  for (int64_t i = 0; i < x.n; ++i) {
    if (highest.neighbor[i] < 0) continue;
    out.representative[i] = highest.neighbor[i];
    out.similarity[i] = highest.similarity[i];
  }
  return out;
}

// earlier holds, position after position, the similar pairs (later, earlier position).
Deduplicated greedy(const Pairs& earlier, const Ordering& ordering, const int64_t* samples,
                    Deduplicated out) {
  for (size_t e = 0; e < earlier.i.size(); ++e) {
    const int64_t row = ordering.rows[earlier.i[e]], other = ordering.rows[earlier.j[e]];
    const int64_t cover = samples[other];
    if (out.representative[other] != cover) continue;  // it was dropped: positions rise
    const double similarity = earlier.similarity[e], best = out.similarity[row];
    const bool first = out.representative[row] == samples[row];
    if (first || similarity > best || (similarity == best && cover < out.representative[row])) {
      out.representative[row] = cover;
      out.similarity[row] = similarity;
    }
  }
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

Deduplicated components(const Matrix& x, const Pairs& earlier, const Ordering& ordering) {
  Deduplicated out = keep_all(x.n);
  Forest forest(out.representative);
  for (size_t e = 0; e < earlier.i.size(); ++e) forest.join(earlier.i[e], earlier.j[e]);
  const DotFn dot = kernels().dot[static_cast<int>(x.dtype)];
  const auto norm = [&](int64_t i) { return std::sqrt(dot(x.row(i), x.row(i), x.d)); };
  for (int64_t p = 0; p < x.n; ++p) {
    const int64_t row = ordering.rows[p], root = ordering.rows[forest.find(p)];
    if (row == root) continue;
    out.representative[row] = root;
    out.similarity[row] = cosine(dot(x.row(row), x.row(root), x.d), norm(row), norm(root));
  }
  return out;
}

}  // namespace

Deduplicated deduplicate(const Matrix& x, double threshold, Rule rule, const Ordering& ordering,
                         int64_t max_pairs, const Context& context) {
  if (rule == Rule::kSemDeDup) return semdedup(x, threshold, ordering, context);
  const Pairs earlier = earlier_pairs(x, threshold, ordering, max_pairs, context);
  if (rule == Rule::kComponents) return components(x, earlier, ordering);
  Deduplicated all = keep_all(x.n);
  const std::vector<int64_t> samples = all.representative;
  return greedy(earlier, ordering, samples.data(), std::move(all));
}

Deduplicated greedy_in_part(const Matrix& x, double threshold, const int64_t* samples,
                            const int64_t* labels, int64_t max_pairs, Deduplicated known,
                            const Context& context) {
  const Ordering ordering = make_ordering(x.n, nullptr, labels);
  return greedy(earlier_pairs(x, threshold, ordering, max_pairs, context), ordering, samples,
                std::move(known));
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
  const std::vector<double> x_norms = roots(squared_norms(team, x));
  const std::vector<double> y_norms = roots(squared_norms(team, y));
  std::vector<double> out(static_cast<size_t>(x.n));
  for (int64_t i = 0; i < x.n; ++i) {
    out[i] = cosine(dot(x.row(i), y.row(i), x.d), x_norms[i], y_norms[i]);
  }
  return out;
}

}  // namespace meddel

#include "kcenter.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "cpu/isa.h"
#include "norms.h"
#include "truth.h"

namespace meddel {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kTaken = -1.0;  // below every distance: a centre never wins the argmax
constexpr int64_t kGrain = 1024;

struct Farthest {
  double distance = kTaken;
  int64_t index = -1;

  void offer(double d, int64_t i) {
    if (d > distance || (d == distance && i < index)) {
      distance = d;
      index = i;
    }
  }
};

class Greedy {
 public:
  Greedy(const Matrix& x, Metric metric, const Context& context)
      : x_(x),
        metric_(metric),
        team_(context),
        dots_(kernels().dots[static_cast<int>(x.dtype)]),
        norms_(metric == Metric::kCosine ? roots(squared_norms(team_, x))
                                         : squared_norms(team_, x)),
        nearest_(static_cast<size_t>(x.n), kInfinity) {}

  // Makes row `centre` a centre; returns the row that is then farthest.
  Farthest add(int64_t centre) {
    nearest_[centre] = kTaken;
    std::vector<Farthest> found(static_cast<size_t>(team_.size()));
    team_.run_range(x_.n, kGrain, [&](int64_t begin, int64_t end, int worker) {
      Farthest local = found[worker];
      double inner[kGrain];
      dots_(x_.row(centre), x_.row(begin), x_.ld, nullptr, end - begin, x_.d, inner);
      for (int64_t i = begin; i < end; ++i) {
        const double distance = this->distance(inner[i - begin], centre, i);
        if (distance < nearest_[i]) nearest_[i] = distance;
        local.offer(nearest_[i], i);
      }
      found[worker] = local;
    });
    Farthest best;
    for (const Farthest& local : found) {
      if (local.index >= 0) best.offer(local.distance, local.index);
    }
    return best;
  }

  std::vector<double> distances() const {
    std::vector<double> out(nearest_.size());
    for (size_t i = 0; i < out.size(); ++i) out[i] = public_distance(std::max(0.0, nearest_[i]));
    return out;
  }

  double public_distance(double d) const { return metric_ == Metric::kCosine ? d : std::sqrt(d); }

 private:
  double distance(double inner, int64_t i, int64_t j) const {
    return metric_ == Metric::kCosine ? cosine_distance(cosine(inner, norms_[i], norms_[j]))
                                      : squared_distance(inner, norms_[i], norms_[j]);
  }

  const Matrix& x_;
  const Metric metric_;
  Team team_;
  DotsFn dots_;
  std::vector<double> norms_;
  std::vector<double> nearest_;
};

}  // namespace

KCenter kcenter_greedy(const Matrix& x, int64_t k, Metric metric, int64_t start,
                       const std::vector<int64_t>& selected, const Context& context) {
  Greedy greedy(x, metric, context);
  Farthest next{kInfinity, start};
  for (int64_t centre : selected) next = greedy.add(centre);
  KCenter out;
  for (int64_t i = 0; i < k; ++i) {
    out.indices.push_back(next.index);
    out.radii.push_back(greedy.public_distance(next.distance));
    next = greedy.add(next.index);
  }
  out.distances = greedy.distances();
  return out;
}

}  // namespace meddel

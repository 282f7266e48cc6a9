// Rows as points (bounds.h says which), and a sample of them to learn a screen from.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/known.h"
#include "base/sides.h"
#include "base/truth.h"

namespace meddel {

struct ScreenPlan;

// How rows become points.
struct PointMap {
  // Writes w~ of row i and returns |w~|^2; infinite where the row cannot be screened.
  float operator()(const Positions& side, int64_t i, float* out) const;

  double score(double s) const;     // of S
  double wanted(double bar) const;  // the S of a score

  // S of equal points, the largest there is.
  double most() const { return metric == Metric::kCosine ? 1.0 : 0.0; }

  double kappa(double norm) const { return metric == Metric::kCosine && norm > 0.0 ? 1.0 : 0.0; }

  Metric metric;
  int64_t d;
  float scale = 1.0f;          // alpha of all rows, for distances
  std::vector<float> mean;     // mu
  double mean_norm = 0.0;      // |mu|
  double longest = kInfinity;  // W
};

// The points of some rows, spread evenly over both sides of a scan (one side when they are the same
// object); at least one, of zeros if need be. Where both are of one matrix of which things are
// known, those are rows of all of it, and so is what is learned from them.
struct Sample {
  Sample(Metric metric, const Positions& x, const Positions& y, const ScreenPlan& plan);

  // Whether there is one of all rows of x already.
  static bool is_known(Metric metric, const Matrix& x, const ScreenPlan& plan);

  int64_t count() const { return static_cast<int64_t>(squares.size()); }

  // What Known calls something that is learned from this, by a number.
  std::string name(const char* what, int64_t number) const;

  PointMap map;
  std::vector<float> points;
  std::vector<float> squares;  // their |w~|^2
  Known* known = nullptr;

 private:
  static std::shared_ptr<const Sample> known_of(Metric metric, const Matrix& x,
                                                const ScreenPlan& plan);
  void learn(const Positions& x, const Positions& y, int64_t wanted);
};

template <class T>
T quantile(std::vector<T> values, double share) {
  const auto at =
      values.begin() + static_cast<int64_t>(share * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

}  // namespace meddel

// k-center greedy by a pass over all rows a centre: what kcenter.h promises, with the steps of
// GreedyByBounds, where there are too few centres, or too little to read, for anything but the
// truth's products to pay.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "base/matrix.h"
#include "base/parallel.h"
#include "base/truth.h"

namespace meddel {

// Whether passes serve a choice of k centres, those that there are already included, better than
// what GreedyByBounds does.
bool passes_pay(const Matrix& x, int64_t k, Metric metric, bool distances);

class GreedyByPasses {
 public:
  // Rows with a NaN or an infinity are refused at the first pass.
  GreedyByPasses(const Matrix& x, Metric metric, const Context& context);

  void add(int64_t centre) { pending_.push_back(centre); }
  void announce(int64_t done, int64_t total, int64_t span = 0);
  bool covered();
  int64_t farthest();
  double distance(int64_t row) const;
  std::vector<double> distances();

 private:
  // A row and its distance; or a block of rows, by the first, and the largest of theirs.
  struct Place {
    double distance;
    int64_t row;
  };

  void catch_up();
  Place pass(int64_t begin, int64_t end);
  double lower(int64_t begin, int64_t count, int64_t centre, bool first);

  const Matrix& x_;
  const Metric metric_;
  Team team_;
  const bool kept_;               // squares are
  const int64_t block_;           // rows that stay in L1 while they are compared
  std::vector<double> squares_;   // of all rows, if kept
  std::vector<double> nearest_;   // squared for the Euclidean metric; kTaken of centres
  std::vector<int64_t> pending_;  // centres that no row has seen
  Place farthest_{0.0, -1};
  bool started_ = false;
  std::atomic<bool> finite_{true};
};

}  // namespace meddel

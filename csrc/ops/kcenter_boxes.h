// k-center greedy of rows of few elements, by their Euclidean distance: what kcenter.h promises,
// with the steps of GreedyByBounds.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/matrix.h"
#include "base/parallel.h"
#include "screen/boxes.h"

namespace meddel {

// Whether boxes serve a choice of k centres, those that there are already included, better than
// what GreedyByBounds does.
bool boxes_pay(const Matrix& x, int64_t k);

// A bucket of rows (screen/boxes.h) has seen the first so many centres. What its farthest row was
// then is an upper bound; if the largest of all of these is of a bucket that has seen all centres,
// its row is the farthest. Else that bucket catches up: of the centres that it has not seen, those
// that are near enough to its box are compared with all of its rows.
//
// Of equal distances the lowest row comes first, in a bucket and among buckets. A stale bucket's
// place never rises when it catches up: its largest distance falls, or stays and then fewer rows
// have it, the lowest of which is no lower.
class GreedyInBoxes {
 public:
  // `first` are the centres that will be added before the first call of covered or farthest.
  GreedyInBoxes(const Matrix& x, const std::vector<int64_t>& first, const Context& context);

  void add(int64_t centre);
  void announce(int64_t done, int64_t total, int64_t span = 0);
  bool covered();
  int64_t farthest();
  double distance(int64_t row) const;
  std::vector<double> distances();

 private:
  // What a bucket's rows know.
  struct State {
    double farthest;  // the largest of its rows' distances, kTaken of centres alone
    int64_t at;       // the position of the lowest row that has it
    int32_t seen;     // centres
  };
  struct Place {
    double farthest;
    int32_t row;
    int32_t box;
  };

  static bool before(const Place& a, const Place& b);
  void catch_up(int64_t b);
  void catch_up_all();
  void find_lowest(int64_t b);
  Place place(int64_t b) const;
  void sift_down();

  const Matrix& x_;
  Team team_;
  const Boxes boxes_;
  std::vector<State> states_;          // by bucket
  std::unique_ptr<double[]> nearest_;  // by position: the squared distance, kTaken of a centre
  std::vector<float> centres_;         // as Kernels::next_near wants them
  std::vector<float> elements_;        // of each centre, side by side
  std::vector<double> squares_;        // of each centre
  std::vector<Place> heap_;            // the farthest on top
  int64_t looked_at_ = 0;              // centres, since the last checkpoint
};

}  // namespace meddel

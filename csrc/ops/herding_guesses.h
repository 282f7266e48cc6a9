// Which row has the highest product with a vector, guessed from what rows were worth a few vectors
// before, where each vector is the last one changed by one row and the mean. A wrong guess costs
// time and nothing else: herding.cpp checks them all.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/parallel.h"
#include "base/truth.h"
#include "base/unit_rows.h"
#include "screen/unit_codes.h"

namespace meddel {

struct Best {
  int64_t row = -1;
  double product = -kInfinity;

  // Takes account of another row; of equal ones the lower counts.
  void take(int64_t other, double value) {
    if (row < 0 || value > product || (value == product && other < row)) *this = {other, value};
  }
};

// A row that was far below the best one is not looked at again for some steps: the farther, the
// longer.
class Guesses {
 public:
  static constexpr int64_t kMost = 12;  // steps from what is known

  // Requires that the rows and their codes outlive it.
  Guesses(Team& team, const UnitRows& rows, const CodedRows& coded);

  // Starts from the sums of all rows' codes with a vector (StreamedCodes), of which `unit` is worth
  // so much of its norm, the highest one being about `best`. Rows with a sum of -kDropped / 2 or
  // less, and those that are taken, are none to guess.
  void start(const std::vector<char>& taken, const int32_t* sums, int64_t count, int32_t best,
             double unit);

  // Starts anew, from nothing.
  void forget();

  // Whether there is a row to look at for the step-th vector after that.
  bool any(int64_t step) const { return step < kMost && !due_[step].empty(); }

  // The best row for it, which is not guessed again, and its product.
  Best best(int64_t step, const std::vector<double>& w, const Direction& direction,
            const CodedRows::Probe& probe);

 private:
  int64_t looked_at(int64_t step) const;

  Team& team_;
  const UnitRows& rows_;
  const CodedRows& coded_;
  std::array<std::vector<int64_t>, kMost> due_;  // by step: the rows to be looked at
  std::array<double, kMost> depths_ = {};  // of |w|: how far below the best one such rows were
  double widest_ = 0.0;                    // likewise, of the rows to start with
  std::vector<int32_t> estimates_;
};

}  // namespace meddel

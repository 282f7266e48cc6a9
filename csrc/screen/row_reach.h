// How high the score of one row with any row of a group can be: what groups.h says of two groups,
// with the row's own place on the line between the centres for that of its group's farthest row.
//
// For u in group A, and m_BA that of groups.h, of the rows v of B:
//
//   |w_u - w_v| >= gap = D - m_BA - <w_u - c_A, c_B - c_A> / D
//               >= (D - m_BA - s^2 (q_A'q_A - q_A'q_B) / D) - s^2 / D (q_u'q_B - q_u'q_A) - tau_u,
//
// of which the first part and the factor of the products are the same for all rows of A.
#pragma once

#include <cstdint>
#include <vector>

#include "screen/screen.h"

namespace meddel {

class RowReach {
 public:
  // By [a * centres + b], of `centres` centres, whose codes are `packed`: the first part above
  // (infinite where B has no rows, minus infinity where the line tells nothing) and the factor.
  // There is one more group of rows that are not screened; `others` says whether B's side has any.
  RowReach(const Screen& dense, Codes packed, int64_t centres, std::vector<float> away,
           std::vector<float> factor, bool others);

  // Writes to out[b * stride + r] the S (bounds.h) that row r's scores with group b do not exceed,
  // for `count` rows of given groups.
  void measure(const RowCodes& rows, const int32_t* group, int64_t count, int64_t stride,
               float* out) const;

 private:
  // Of one row, by its products with the centres, which the line is written over.
  void of_row(int64_t group, double tau, const int32_t* products, float* line) const;

  Codes packed_;
  std::vector<float> away_;
  std::vector<float> factor_;
  int64_t centres_;
  int64_t width_;
  bool others_;
  float most_;  // S of points that coincide
};

}  // namespace meddel

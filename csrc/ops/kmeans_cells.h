// Cells of centroids that lie together, of which a row leaves out whole ones: what makes an
// assignment to very many centroids cost less than all pairs.
//
// Points w_u and w_v, codes, steps and errors are those of screen/scaled.h: with u^ = s_u q_u,
// |w_u - u^| <= tau_u. The centre of a cell is a point m = s_m q_m itself, so that products of
// codes are exact. Seen along the line from a centre A to another, B, at a distance D from it, a
// point is at
//
//   along(u) = <u^ - m_A, m_B - m_A> / D
//            = (s_u s_B q_u'q_B - s_u s_A q_u'q_A - <m_A, m_B> + |m_A|^2) / D,
//
// and two points are at least as far apart as their places on a line: with h_AB the least
// along(v) - tau_v of the centroids of cell B, |w_u - w_v| >= h_AB - along(u) - tau_u. (As in
// screen/groups.h, with a step for each row; the row's own cell, A, is that of the nearest centre,
// but would do as any other.)
//
// A score is below a bar where S is below its level, less the slack that level() takes off, and
// S <= most - |w_u - w_v|^2 / 2, where most is S of equal points. So no centroid of the cell
// reaches the bar if h_AB - along(u) > r, r = tau_u + sqrt(2 (most - level)), that is, if
//
//   bound = s_u (s_B / D) q_u'q_B - (s_u s_A q_u'q_A) / D + (|m_A|^2 - <m_A, m_B>) / D - h_AB + r
//
// is below 0, which is what Kernels::reach works out, in fp32. As in scaled.h, what it rounds is
// less than 2^-20 of the sum of the terms' sizes, twice which is added: of the first two, at most
// |u^| (|m_A| + |m_B|) / D, as one term more, of the others to themselves.
#pragma once

#include <cstdint>
#include <vector>

#include "base/parallel.h"
#include "base/sides.h"
#include "base/truth.h"
#include "screen/scaled.h"

namespace meddel {

class Cells {
 public:
  // Whether they may pay for n rows and k centroids.
  static bool may_pay(int64_t n, int64_t k);

  // Learns centres from centroids.
  Cells(Team& team, const Scaled& screen, Metric metric, const ScanSide& centroids);

  int64_t count() const { return static_cast<int64_t>(squares_.size()); }
  int64_t columns() const { return static_cast<int64_t>(centres_.start.size()); }  // filled up

  // The cell of each position of a side; none (-1) where it is not screened.
  std::vector<int32_t> of(Team& team, const Positions& side) const;

  // The centres as columns of Kernels::scores.
  const ScaledColumns& centres() const { return centres_; }

  // The cells of a side's centroids.
  struct Placed {
    std::vector<int32_t> cell;  // by position; what is not screened is in the last
    std::vector<float> lines;   // what Kernels::reach takes of all cells, from each cell
  };
  Placed place(Team& team, const ScanSide& centroids) const;
  const float* line(const Placed& placed, int64_t from) const {
    return &placed.lines[4 * from * columns()];
  }

  // A row of a cell as Kernels::reach wants it for a level, given its product with the centre.
  ScaledRow reaching(const ScaledRow& row, int64_t cell, int32_t product, double level) const;

 private:
  struct Coded {
    ScaledRow row;
    double square;  // |u^|^2; infinite where it is not screened
    const int32_t* products;
  };
  // Hands take(p, coded) the codes of some positions of a side.
  template <class Take>
  void each_coded(const Positions& side, int64_t begin, int64_t end, const Take& take) const;
  void measure(Team& team, const ScanSide& centres);
  void write_column(int64_t from, int64_t to, double least, std::vector<float>& lines) const;

  const Scaled screen_;
  const double most_;
  ScaledColumns centres_;
  std::vector<double> squares_;  // |m|^2, by cell; infinite where it is not screened
  std::vector<double> steps_;    // by cell
  std::vector<double> inner_;    // <m_A, m_B>, [A * count + B]
};

}  // namespace meddel

// Groups of similar rows, and how high the score of two rows of given groups can be: whole groups
// are left out before any pair of their rows is looked at.
//
// Points w are those of bounds.h; the centres c_A of the groups are codes of the dense screen, so
// that they have no rounding. Seen along the line between two centres, at a distance D from each
// other, the rows u of A reach at most m_AB = max <w_u - c_A, c_B - c_A> / D from c_A towards c_B,
// and the rows of B at most m_BA towards c_A. Two points are at least as far apart as their
// projections on a line, so that for all u in A and v in B
//
//   |w_u - w_v| >= gap = D - m_AB - m_BA,   S(u, v) <= kappa - gap^2 / 2  if gap > 0.
//
// With w_u = s q_u + e_u and |e_u| <= tau_u, the products are exact integers but for e_u's:
// <w_u - c_A, c_B - c_A> <= s^2 (q_u'q_B - q_u'q_A - q_A'q_B + q_A'q_A) + tau_u D.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/parallel.h"
#include "cpu/isa.h"
#include "screen/row_reach.h"
#include "screen/screen.h"

namespace meddel {

class Groups {
 public:
  // Learns centres from rows spread evenly over a side. The screen must be a dense one.
  Groups(Team& team, const Screen& dense, const Positions& side);

  // Groups are numbered [0, count()); those of similar centres are near each other, and the last
  // one takes the rows that cannot be screened.
  int64_t count() const { return centres_ + 1; }

  // The rows of a side in groups.
  struct Side {
    std::vector<int32_t> group;  // by position
    // Centres x centres: what is at least the largest q_u'q_B - q_u'q_A + tau_u D / s^2 of A's
    // rows.
    std::vector<float> extent;
    std::vector<int64_t> members;  // by group: their number
  };
  Side assign(Team& team, const Positions& side) const;

  // The highest score of a row of group a of x and a row of group b of y: [a * count() + b].
  std::vector<double> reach(const Side& x, const Side& y) const;

  // The same for single rows and the groups of a side.
  RowReach row_reach(const Side& y) const;

  // The share of all pairs of a row of x and a row of y whose groups reach a bar.
  double left_over(const Side& x, const Side& y, const std::vector<double>& reach,
                   double bar) const;

 private:
  // Calls take(k, products) with the products of row k of some codes and all centres.
  template <class Take>
  void each_row(const RowCodes& rows, int64_t begin, int64_t end, const Take& take) const {
    const int64_t stride = packed_.blocks() * kBlockColumns;
    std::vector<int32_t> products(static_cast<size_t>(4 * stride));
    const int32_t nothing[4] = {};
    for (int64_t k = begin; k < end; k += 4) {
      kernels().scores(&rows.bytes[k * width_], nothing, 4, packed_.packed.data(),
                       packed_.start.data(), packed_.blocks(), width_, products.data(), stride);
      for (int64_t r = k; r < std::min(end, k + 4); ++r) take(r, &products[(r - k) * stride]);
    }
  }

  // No rows; and one more of a group, by its products with all centres and its tau.
  Side nothing() const;
  void include(Side& side, int64_t group, const int32_t* products, double tau) const;

  // What to add to s^2 (products) to get from q_u'q_B - q_u'q_A to <w_u - c_A, c_B - c_A>, negated.
  int64_t offset(int64_t a, int64_t b) const { return inner_[a * centres_ + b] - square_[a]; }

  double length(int64_t a, int64_t b) const;  // D / s

  // m_AB of a side's rows; requires centres at a distance.
  double extent(const Side& side, int64_t a, int64_t b) const;

  void seed(Team& team, const RowCodes& sample);
  void refine(Team& team, const RowCodes& sample);
  void arrange();
  void measure();
  void set_centres(std::vector<int8_t> codes);
  std::vector<int32_t> products() const;  // of all pairs of centres

  // The centre nearest to a row, by its products with all.
  int64_t closest(const int32_t* scores) const;

  const Screen& dense_;
  int64_t width_;
  int64_t centres_;
  std::vector<int8_t> codes_;  // centres x width
  RowCodes rows_;              // the same, as the kernels want them on either side
  Codes packed_;
  std::vector<int64_t> square_;  // by centre: q'q
  std::vector<int32_t> inner_;   // of all pairs of centres, [a * centres + b]: q_A'q_B
  std::vector<float> unit_;      // likewise: at least D / s^2, a distance of 1 in products
};

// Positions sorted by group, as they were within one.
std::vector<int64_t> by_group(const std::vector<int32_t>& group, int64_t groups);

}  // namespace meddel

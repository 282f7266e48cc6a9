// A screen: codes of rows, and the test of a sign that proves a score below a bar. bounds.h derives
// it, and its names are used here.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/parallel.h"
#include "base/sides.h"
#include "screen/codes.h"
#include "screen/held_codes.h"
#include "screen/points.h"

namespace meddel {

class Screen {
 public:
  // Keeps so many dimensions, or all if there are no more.
  static Screen prefix(Team& team, const Sample& sample, int64_t kept);
  static Screen dense(const Sample& sample);
  // With a step that suits the largest coordinate of this share of the sampled rows; holds nothing.
  static Screen dense(const Sample& sample, double share);

  // A prefix that holds the codes of rows of the sample's matrix once they are made, if that is one
  // of which things are known. (Dense codes are as soon made again as fetched.)
  Screen holding(const Sample& sample) const;

  int64_t width() const { return width_; }  // integers a code, a multiple of 4
  int64_t kept() const { return kept_; }    // of these, those that make the point
  double step() const { return step_; }
  double longest() const { return longest_; }                    // P
  double factor() const { return longest_ + 0.5 * remainder_; }  // of tau in a

  Codes encode(Team& team, const Positions& side) const;
  Codes encode(const Positions& side, int64_t begin, int64_t end) const;
  RowCodes encode_rows(Team& team, const Positions& side) const;
  // Both at once, or one of them (the other null), made anew, at the place `at`, where a block
  // begins, of what has room for them.
  void encode(const Positions& side, int64_t begin, int64_t end, int64_t at, RowCodes* rows,
              Codes* columns, FineCodes* fine) const;

  // What a score is at most by the product of two fine codes and the sum of their heights.
  double fine_bound(int32_t product, double heights) const;
  // How far below that a score is at most.
  double fine_width() const;
  RowCodes encode_rows(const Positions& side, int64_t begin, int64_t end) const;

  // The code of one position in two planes; requires a dense screen.
  FineCode encode_fine(const Positions& side, int64_t p) const;

  // The accumulator's start for a row with share a: a pair whose sum stays negative is below bar.
  int32_t start(int32_t a, double bar) const;

  // What a score is at most when the sum of the shares and the product is `sum`.
  double bound(int32_t sum) const;

  // The S (bounds.h) that a score takes.
  double wanted(double bar) const { return map_.wanted(bar); }

  double score(double s) const { return map_.score(s); }

  // What S is at most when two rows' points are at no distance.
  double highest_point() const { return map_.most() + slack_; }

  // What the score of two rows is at most when their points are at least `gap` apart.
  double highest_score(double gap) const;

  // The start of a row that is not to survive with anything.
  static int32_t never();

 private:
  Screen(const Sample& sample, int64_t kept, bool dense);

  int64_t bytes() const;  // for Known

  void measure_basis();
  void learn_step(const Sample& sample);
  void learn_dense_step(const Sample& sample, double share);

  // Calls take(p, code, a, tau) for the positions [begin, end), in any order.
  template <class Take>
  void each_code(const Positions& side, int64_t begin, int64_t end, const Take& take) const;

  // Calls take(p, code, a, tau, point, square) for some positions, kEncodeRows at most, in their
  // order; their codes are made.
  struct Workspace;
  template <class Take>
  void make_codes(const Positions& side, const int64_t* positions, int64_t count, Workspace& work,
                  const Take& take) const;

  struct Share {
    int32_t a;
    double tau;
  };
  Share encode_prefix(const float* projected, double square, double kappa, int8_t* code) const;
  Share encode_dense(const float* point, double square, double kappa, int8_t* code) const;
  void put_fine(const float* point, double square, double kappa, int64_t k, FineCodes& out) const;
  double height(double square, double kappa) const;
  double fine_off() const;
  float fine_step() const { return static_cast<float>(map_.longest / 32000.0); }
  Share share(double tau, double factor, double square, double kappa) const;

  PointMap map_;
  int64_t d_;
  int64_t kept_;    // m
  int64_t padded_;  // m, filled up to what the projection works in
  int64_t width_;   // m and the remainder, filled up to a multiple of 4
  bool dense_;
  double slack_;
  double epsilon_;            // eps
  double off_;                // the share by which |w~|^2 may be off
  std::vector<float> basis_;  // d x padded; empty when dense
  double delta_ = 0.0;
  double eta_ = 0.0;
  double step_ = 0.0;
  double longest_ = 0.0;    // P
  double remainder_ = 0.0;  // rho_max, when dense
  const Known* of_ = nullptr;
  std::shared_ptr<HeldCodes> held_;  // of rows of the matrix with that
};

}  // namespace meddel

// Rows that are equal, bit for bit. What is worked out for one of them holds for all, so that the
// operations look at the first of each kind alone: many equal rows (black frames, say) would cost
// as much as so many different ones otherwise, and more, as no screen tells them apart.
//
// Not what is equal in value only (0 and -0), nor of one direction: these are found as any other
// rows are.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/matrix.h"
#include "base/parallel.h"

namespace meddel {

struct Copies {
  Copies() = default;  // none

  // Among the rows at some positions, by position; given a group for each, within groups. Rows
  // whose entry in `apart` (by row) is 0 are no copies. Given <x, x> of all rows, which equal rows
  // have in common, few others are looked at.
  Copies(Team& team, const Matrix& x, const std::vector<int64_t>& rows,
         const std::vector<int64_t>* groups = nullptr, const std::vector<double>* apart = nullptr,
         const std::vector<double>* squares = nullptr);

  // Among all rows of x.
  Copies(Team& team, const Matrix& x, const std::vector<double>* apart = nullptr,
         const std::vector<double>* squares = nullptr);

  // Whether there are any. If not, all that follows is empty.
  bool any() const { return !kind.empty(); }

  int64_t first(int64_t p) const { return distinct[kind[p]]; }
  bool is_first(int64_t p) const { return first(p) == p; }
  int64_t count(int64_t k) const { return begin[k + 1] - begin[k]; }

  std::vector<int64_t> distinct;  // by kind: its first position; rising
  std::vector<int64_t> kind;      // by position
  std::vector<int64_t> begin;     // by kind, and the end: where its members begin
  std::vector<int64_t> members;   // positions, rising within a kind

 private:
  // Those among all rows of x that x.known keeps.
  static std::shared_ptr<const Copies> known_of(Team& team, const Matrix& x,
                                                const std::vector<double>* apart);

  // The constructor's body. Given those among all rows, the rows need not be looked at.
  void find(Team& team, const Matrix& x, const std::vector<int64_t>& rows,
            const std::vector<int64_t>* groups, const std::vector<double>* apart, const Copies* all,
            const std::vector<double>* squares);

  // Finds distinct and kind, by keys that equal rows of a group share. Returns false, with nothing
  // done, where too many others share them too.
  bool sort_out(const Matrix& x, const std::vector<int64_t>& rows,
                const std::vector<int64_t>* groups, const std::vector<double>* apart,
                const Copies* all, const std::vector<uint64_t>& keys, int64_t most);
};

// Whether two of some numbers that are not negative are equal, which equal rows' squares are.
bool any_equal(const std::vector<double>& values);

// The numbers from 0 to n - 1.
std::vector<int64_t> count_up(int64_t n);

}  // namespace meddel

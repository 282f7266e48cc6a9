// The centres that k-center has chosen, in the groups of groups.h, so that a row is compared only
// with those of groups that may hold one nearer than its nearest.
//
// As in groups.h, but with the row's own place x_u = <w_u - c_A, c_B - c_A> / D on the line between
// the centres of its group A and of B instead of the farthest of all rows of A: no row v among the
// chosen ones of B has a score of bar or more if
//
//   gap = D - x_u - m_BA > the distance beyond which scores are below bar,
//
// m_BA being of B's chosen rows alone. The x_u of all groups cost one dense product each.
#pragma once

#include <cstdint>
#include <vector>

#include "groups.h"
#include "screen.h"

namespace meddel {

class GroupedCentres {
 public:
  // rows: all rows, in groups.
  GroupedCentres(const Screen& dense, Groups groups, const Positions& all, Groups::Side rows);

  int32_t group_of(int64_t row) const { return rows_.group[row]; }

  // Takes up a row as the next centre.
  void add(int64_t row);

  // What one thread works in.
  struct Workspace {
    std::vector<int64_t> near;      // groups that may be in reach of a row
    std::vector<uint8_t> wanted;    // of these: bits of the rows
    std::vector<uint8_t> blocks;    // blocks of groups' centres that are wanted
    std::vector<int32_t> products;  // of the rows with these
    std::vector<uint16_t> columns;  // survivors of one group's chosen rows
    std::vector<int64_t> found[4];  // by row: the centres to look at
  };

  // Up to 4 rows of one group, codes of which (and of 4 rows in any case) stand from `first` on.
  struct Quad {
    const RowCodes& codes;
    int64_t first;
    int64_t rows;
    int64_t group;
    double bar[4];
    int64_t seen[4];  // centres before this one do not matter
  };

  // Puts into work.found the centres, by number, that may reach a row's bar: of the rows' own group
  // (which raises the bar), or of all others.
  void find_own(const Quad& quad, Workspace& work) const;
  void find_others(const Quad& quad, Workspace& work) const;

 private:
  // The chosen rows of one group, in the order in which they were chosen.
  struct Chosen {
    std::vector<int64_t> number;
    RowCodes codes;
    Codes packed;
  };

  void find(const Quad& quad, int64_t group, unsigned wanted, Workspace& work) const;
  void choose_near(const Quad& quad, Workspace& work) const;
  void multiply(const Quad& quad, Workspace& work) const;
  void update_reach(int64_t b);

  const Screen& dense_;
  const Groups groups_;
  const Positions all_;
  Groups::Side rows_;
  Groups::Side chosen_rows_;
  std::vector<Chosen> chosen_;  // by group
  int64_t count_ = 0;
  // By pair of groups, a row's and that of chosen ones: D less what both reach; the place between
  // the centres that the chosen ones reach, as a difference of products; a distance of 1 in these.
  std::vector<float> gap_;
  std::vector<float> place_;
  std::vector<float> slope_;
};

}  // namespace meddel

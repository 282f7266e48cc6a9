// The int8 codes of rows, as the kernels want them: in blocks on one side of a scan, one after the
// other on the other. What they prove is derived in bounds.h.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/kernels.h"

namespace meddel {

constexpr int64_t kBlockColumns = 16;  // positions a block of packed codes
constexpr int kRemainder = 4;          // integers of a prefix code that hold the remainder's length

inline int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// A code's length as Kernels::refine wants it.
inline int64_t chunked(int64_t width) { return round_up(width, kChunk); }

// The codes of one side of a scan, by position, in blocks of kBlockColumns: [group][position][4],
// a group being 4 of the code's integers. Positions beyond the last never survive.
struct Codes {
  std::vector<int8_t> packed;
  std::vector<int32_t> start;  // a, less what the kernels' bias on the other side adds

  int64_t blocks() const { return static_cast<int64_t>(start.size()) / kBlockColumns; }

  // The same codes, of `width` integers each, one after the other as Kernels::refine wants them.
  std::vector<int8_t> unpack(int64_t width) const;
};

// The codes of some rows of the other side, one after the other with the kernels' bias, and their
// a; filled up to a multiple of 4 rows with such as never survive.
struct RowCodes {
  std::vector<uint8_t> bytes;  // and kChunk more, which the kernels may read
  std::vector<int32_t> share;
  std::vector<double> tau;  // by row, where encode_rows made these of a range

  int64_t size() const { return static_cast<int64_t>(share.size()); }

  // Whether row k is screened at all.
  bool fits(int64_t k) const;

  // The codes of the given rows of these, which are `width` integers each, for either side.
  RowCodes gather(const int64_t* rows, int64_t count, int64_t width) const;
  Codes pack(const int64_t* rows, int64_t count, int64_t width) const;
};

// Codes of 16 bits, one after the other, for close calls (screen.h: fine_bound).
struct FineCodes {
  int64_t width = 0;  // integers a code, a multiple of 32: those beyond d are 0
  std::vector<int16_t> integers;
  std::vector<double> height;  // t of each, rounded up; infinite where a row is not screened

  void reset(int64_t d, int64_t count) {
    width = round_up(d, 32);
    integers.resize(static_cast<size_t>(count * width));
    height.resize(static_cast<size_t>(count));
  }
  const int16_t* code(int64_t k) const { return &integers[k * width]; }
};

// The code of one row in two planes (fine.cpp), as Kernels::refine_fine wants it.
struct FineCode {
  std::vector<uint8_t> high;  // with the kernels' bias, if any
  std::vector<uint8_t> low;   // with none
  int32_t share;
  double length;  // at least that of the point that they make
};

// Puts the code of the k-th position, of `width` integers, where the kernels want it.
void put_code(const int8_t* code, int64_t width, int64_t k, int32_t a, Codes& out);

// The same of `count` positions of a block, from its first on: codes stand one after the other.
void put_block(const int8_t* codes, int64_t width, int64_t k, int64_t count, const int32_t* a,
               Codes& out);

}  // namespace meddel

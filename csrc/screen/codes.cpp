#include "screen/codes.h"

#include <algorithm>
#include <cstring>

#include "cpu/isa.h"
#include "screen/bounds.h"

namespace meddel {

namespace {

// The sum of a code's integers, 8 at a time: as bytes from 0 on, in four lanes of 16 bits each.
int32_t sum_of(const int8_t* code, int64_t width) {
  constexpr uint64_t kSigns = 0x8080808080808080u, kEven = 0x00ff00ff00ff00ffu;
  constexpr int64_t kLanes = 1024;  // so many bytes leave them room
  int32_t sum = 0;
  int64_t c = 0;
  while (c + 8 <= width) {
    uint64_t lanes = 0;
    const int64_t last = std::min(width, c + kLanes), begin = c;
    for (; c + 8 <= last; c += 8) {
      uint64_t bytes;
      std::memcpy(&bytes, code + c, 8);
      bytes ^= kSigns;
      lanes += (bytes & kEven) + ((bytes >> 8) & kEven);
    }
    for (; lanes != 0; lanes >>= 16) sum += static_cast<int32_t>(lanes & 0xffff);
    sum -= static_cast<int32_t>(128 * (c - begin));
  }
  for (; c < width; ++c) sum += code[c];
  return sum;
}

}  // namespace

void put_code(const int8_t* code, int64_t width, int64_t k, int32_t a, Codes& out) {
  int8_t* to = &out.packed[k / kBlockColumns * kBlockColumns * width] + k % kBlockColumns * 4;
  for (int64_t c = 0; c < width; c += 4) std::memcpy(to + c * kBlockColumns, code + c, 4);
  out.start[k] = a - kernels().bias * sum_of(code, width);
}

void put_block(const int8_t* codes, int64_t width, int64_t k, int64_t count, const int32_t* a,
               Codes& out) {
  int8_t* to = &out.packed[k * width];
  for (int64_t c = 0; c < width; c += 4) {
    for (int64_t r = 0; r < count; ++r) {
      std::memcpy(to + c * kBlockColumns + 4 * r, codes + r * width + c, 4);
    }
  }
  for (int64_t r = 0; r < count; ++r) {
    out.start[k + r] = a[r] - kernels().bias * sum_of(codes + r * width, width);
  }
}

RowCodes RowCodes::gather(const int64_t* rows, int64_t count, int64_t width) const {
  const int64_t padded = round_up(count, 4);
  RowCodes out{std::vector<uint8_t>(static_cast<size_t>(padded * width + kChunk)),
               std::vector<int32_t>(static_cast<size_t>(padded), -kDropped),
               {}};
  for (int64_t k = 0; k < count; ++k) {
    std::copy_n(&bytes[rows[k] * width], width, &out.bytes[k * width]);
    out.share[k] = share[rows[k]];
  }
  return out;
}

Codes RowCodes::pack(const int64_t* rows, int64_t count, int64_t width) const {
  const int32_t bias = kernels().bias;
  const int64_t padded = round_up(count, kBlockColumns);
  Codes out{std::vector<int8_t>(static_cast<size_t>(padded * width), 0),
            std::vector<int32_t>(static_cast<size_t>(padded), -kDropped)};
  std::vector<int8_t> code(static_cast<size_t>(width));
  for (int64_t k = 0; k < count; ++k) {
    for (int64_t c = 0; c < width; ++c) {
      code[c] = static_cast<int8_t>(bytes[rows[k] * width + c] - bias);
    }
    put_code(code.data(), width, k, share[rows[k]], out);
  }
  return out;
}

std::vector<int8_t> Codes::unpack(int64_t width) const {
  const int64_t stride = chunked(width), count = blocks() * kBlockColumns;
  std::vector<int8_t> out(static_cast<size_t>(count * stride), 0);
  for (int64_t k = 0; k < count; ++k) {
    const int8_t* from = &packed[k / kBlockColumns * kBlockColumns * width + k % kBlockColumns * 4];
    int8_t* to = &out[k * stride];
    for (int64_t c = 0; c < width; c += 4) std::memcpy(to + c, from + c * kBlockColumns, 4);
  }
  return out;
}

bool RowCodes::fits(int64_t k) const { return share[k] != kSurvives && share[k] != -kDropped; }

}  // namespace meddel

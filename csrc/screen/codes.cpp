#include "screen/codes.h"

#include <algorithm>
#include <cstring>

#include "cpu/isa.h"
#include "screen/bounds.h"

namespace meddel {

void put_code(const int8_t* code, int64_t width, int64_t k, int32_t a, Codes& out) {
  int8_t* block = &out.packed[k / kBlockColumns * kBlockColumns * width];
  int32_t sum = 0;
  for (int64_t c = 0; c < width; c += 4) {
    std::copy_n(code + c, 4, block + c * kBlockColumns + k % kBlockColumns * 4);
    sum += code[c] + code[c + 1] + code[c + 2] + code[c + 3];
  }
  out.start[k] = a - kernels().bias * sum;
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

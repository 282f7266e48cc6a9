#include "grouped_centres.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "cpu/isa.h"

namespace meddel {
namespace {

constexpr float kFar = std::numeric_limits<float>::infinity();
constexpr int64_t kStride = 256;  // columns screened at a time

}  // namespace

GroupedCentres::GroupedCentres(const Screen& dense, Groups groups, const Positions& all,
                               Groups::Side rows)
    : dense_(dense),
      groups_(std::move(groups)),
      all_(all),
      rows_(std::move(rows)),
      chosen_rows_(groups_.nothing()),
      chosen_(static_cast<size_t>(groups_.count())),
      gap_(groups_.geometry().distance.size(), kFar),
      place_(groups_.geometry().distance.size(), kFar),
      slope_(groups_.geometry().distance.size(), 0.0f) {}

void GroupedCentres::add(int64_t row) {
  const int64_t b = rows_.group[row], width = dense_.width(), k = groups_.centres();
  Chosen& chosen = chosen_[b];
  chosen.number.push_back(count_++);
  if (b == k) return;
  const std::vector<int64_t> one = {row};
  const RowCodes code = dense_.encode_rows(Positions{all_.x, all_.norms, one}, 0, 1);
  chosen.codes.bytes.insert(chosen.codes.bytes.end(), code.bytes.begin(),
                            code.bytes.begin() + width);
  chosen.codes.share.push_back(code.share[0]);
  std::vector<int64_t> last;  // the rows of the last block, which is packed anew
  const int64_t size = chosen.codes.size(), begin = (size - 1) / kBlockColumns * kBlockColumns;
  for (int64_t c = begin; c < size; ++c) last.push_back(c);
  const Codes tail = chosen.codes.pack(last.data(), size - begin, width);
  chosen.packed.packed.resize(static_cast<size_t>(begin * width));
  chosen.packed.start.resize(static_cast<size_t>(begin));
  chosen.packed.packed.insert(chosen.packed.packed.end(), tail.packed.begin(), tail.packed.end());
  chosen.packed.start.insert(chosen.packed.start.end(), tail.start.begin(), tail.start.end());
  groups_.each_row(code, 0, 1, [&](int64_t, const int32_t* products) {
    groups_.include(chosen_rows_, b, products, code.tau[0]);
  });
  update_reach(b);
}

void GroupedCentres::update_reach(int64_t b) {
  const int64_t k = groups_.centres();
  const double unit = 1.0 / (dense_.step() * dense_.step());
  for (int64_t a = 0; a < k; ++a) {
    const int64_t at = a * k + b;
    const double distance = groups_.geometry().distance[at];
    if (a == b || !(distance > 0.0)) {
      gap_[at] = place_[at] = -kFar;
      continue;
    }
    const double left = distance - groups_.extent(chosen_rows_, b, a);
    const double reach = rows_.members[a] == 0 ? 0.0 : groups_.extent(rows_, a, b);
    const double slope = distance * unit;
    const double place = left * slope + static_cast<double>(groups_.offset(a, b));
    // Room for the rounding to fp32 of these, and of products of up to 127^2 an element.
    const double room =
        4.0 + 2e-3 * static_cast<double>(dense_.width()) + 1e-6 * (std::abs(place) + 8.0 * slope);
    gap_[at] = static_cast<float>(left - reach - 1e-5);
    place_[at] = static_cast<float>(place - room);
    slope_[at] = static_cast<float>(slope);
  }
}

void GroupedCentres::find_own(const Quad& quad, Workspace& work) const {
  for (std::vector<int64_t>& found : work.found) found.clear();
  if (quad.group < groups_.centres()) find(quad, quad.group, 15, work);
}

void GroupedCentres::find_others(const Quad& quad, Workspace& work) const {
  for (std::vector<int64_t>& found : work.found) found.clear();
  const int64_t k = groups_.centres();
  const bool unscreened = quad.group == k;
  for (int64_t r = 0; r < quad.rows; ++r) {
    for (const int64_t number : chosen_[k].number) {
      if (!unscreened && number >= quad.seen[r]) work.found[r].push_back(number);
    }
    for (int64_t number = quad.seen[r]; unscreened && number < count_; ++number) {
      work.found[r].push_back(number);
    }
  }
  if (unscreened) return;
  choose_near(quad, work);
  for (size_t g = 0; g < work.near.size(); ++g) {
    if (work.wanted[g] != 0) find(quad, work.near[g], work.wanted[g], work);
  }
}

// The groups within reach of the quad's rows, and of which.
void GroupedCentres::choose_near(const Quad& quad, Workspace& work) const {
  const int64_t k = groups_.centres(), a = quad.group;
  float limits[4] = {-1.0f, -1.0f, -1.0f, -1.0f};  // how far from a row counts
  for (int64_t r = 0; r < quad.rows; ++r) {
    limits[r] = static_cast<float>(dense_.farthest(quad.bar[r]) * (1.0 + 1e-6));
  }
  const float most = *std::max_element(limits, limits + 4);
  work.near.clear();
  int64_t columns = 0;
  const float* gap = &gap_[a * k];
  for (int64_t b = 0; b < k; ++b) {
    if (gap[b] > most || b == a) continue;
    work.near.push_back(b);
    columns += chosen_[b].packed.blocks();
  }
  work.wanted.assign(work.near.size(), static_cast<uint8_t>((1 << quad.rows) - 1));
  if (columns * kBlockColumns < 2 * static_cast<int64_t>(work.near.size())) return;
  multiply(quad, work);
  for (int64_t r = 0; r < quad.rows; ++r) {
    const int32_t* products = &work.products[r * groups_.packed().blocks() * kBlockColumns];
    const float far = limits[r] + static_cast<float>(quad.codes.tau[quad.first + r] * (1.0 + 1e-6));
    const float *place = &place_[a * k], *slope = &slope_[a * k];
    for (size_t g = 0; g < work.near.size(); ++g) {
      const int64_t b = work.near[g];
      const bool near = static_cast<float>(products[b] - products[a]) >= place[b] - far * slope[b];
      if (!near) work.wanted[g] &= static_cast<uint8_t>(~(1 << r));
    }
  }
}

// The products of the quad's rows with the centres of its own group and of those in work.near, and
// with some others: of whole blocks, in runs.
void GroupedCentres::multiply(const Quad& quad, Workspace& work) const {
  const Codes& packed = groups_.packed();
  const int64_t width = dense_.width(), stride = packed.blocks() * kBlockColumns;
  const int32_t nothing[4] = {};
  work.products.resize(static_cast<size_t>(4 * stride));
  work.blocks.assign(static_cast<size_t>(packed.blocks() + 1), 0);
  work.blocks[quad.group / kBlockColumns] = 1;
  for (const int64_t b : work.near) work.blocks[b / kBlockColumns] = 1;
  for (int64_t block = 0; block < packed.blocks(); ++block) {
    int64_t end = block;
    while (work.blocks[end] != 0) ++end;
    if (end == block) continue;
    kernels().scores(&quad.codes.bytes[quad.first * width], nothing, 4,
                     &packed.packed[block * kBlockColumns * width],
                     &packed.start[block * kBlockColumns], end - block, width,
                     &work.products[block * kBlockColumns], stride);
    block = end;
  }
}

void GroupedCentres::find(const Quad& quad, int64_t group, unsigned wanted, Workspace& work) const {
  const Chosen& chosen = chosen_[group];
  const int64_t width = dense_.width(), size = static_cast<int64_t>(chosen.number.size());
  int32_t starts[4];
  int64_t least = std::numeric_limits<int64_t>::max();
  for (int64_t r = 0; r < 4; ++r) {
    starts[r] = Screen::never();
    if (r >= quad.rows || (wanted >> r & 1) == 0) continue;
    starts[r] = dense_.start(quad.codes.share[quad.first + r], quad.bar[r]);
    least = std::min(least, quad.seen[r]);
  }
  const auto unseen = std::lower_bound(chosen.number.begin(), chosen.number.end(), least);
  work.columns.resize(static_cast<size_t>(4 * kStride));
  int64_t begin = (unseen - chosen.number.begin()) / kBlockColumns * kBlockColumns;
  for (; begin < size; begin += kStride) {
    const int64_t blocks = (std::min(size - begin, kStride) + kBlockColumns - 1) / kBlockColumns;
    int32_t counts[4];
    kernels().screen(&quad.codes.bytes[quad.first * width], starts, 4,
                     &chosen.packed.packed[begin * width], &chosen.packed.start[begin], blocks,
                     width, work.columns.data(), kStride, counts);
    for (int64_t r = 0; r < quad.rows; ++r) {
      for (int32_t c = 0; c < counts[r]; ++c) {
        const int64_t number = chosen.number[begin + work.columns[r * kStride + c]];
        if (number >= quad.seen[r]) work.found[r].push_back(number);
      }
    }
  }
}

}  // namespace meddel

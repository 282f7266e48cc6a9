#include "screen/groups.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <numeric>

#include "cpu/isa.h"
#include "screen/scatter.h"

namespace meddel {
namespace {

constexpr int64_t kLeastCentres = 16, kMostCentres = 4096;
constexpr int64_t kPairBytes = 24;  // of the tables of all pairs of centres
constexpr int64_t kTableBytes = int64_t{1} << 26;
constexpr double kTableShare = 0.12;  // of the input; returned before codes are kept
constexpr int64_t kSampledRows = 16;  // a centre
constexpr int kSeedings = 16;         // rounds in which centres are drawn
constexpr int kRefinements = 2;       // of Lloyd's
constexpr int64_t kGrain = 512;
constexpr float kNothing = -std::numeric_limits<float>::infinity();

// Assigning n rows to K centres costs n K, comparing those that the groups leave some n^2 /
// sqrt(K): hence K as n^(2/3). The factor is measured: on 100,000 to 500,000 rows of walks, twice
// as many centres take .9 to 1.4 times as long, half as many .9 to 1.9 times.
int64_t centres_for(const Positions& side) {
  const auto rows = static_cast<double>(side.rows.size());
  const double input = rows * static_cast<double>(side.x.row_bytes());
  const double bytes = std::max(static_cast<double>(kTableBytes), kTableShare * input);
  const double most = std::min(std::sqrt(bytes / kPairBytes), double{kMostCentres});
  const auto wanted = static_cast<int64_t>(std::min(std::cbrt(rows * rows) / 5.0, most));
  return std::max(wanted, kLeastCentres) / kBlockColumns * kBlockColumns;
}

RowCodes sample_codes(const Screen& dense, const Positions& side, int64_t wanted) {
  const int64_t size = static_cast<int64_t>(side.rows.size());
  const int64_t count = std::min(size, wanted);
  std::vector<int64_t> rows(static_cast<size_t>(count));
  for (int64_t s = 0; s < count; ++s) rows[s] = side.rows[s * size / count];
  return dense.encode_rows(Positions{side.x, side.norms, rows}, 0, count);
}

}  // namespace

Groups::Groups(Team& team, const Screen& dense, const Positions& side)
    : dense_(dense), width_(dense.width()), centres_(centres_for(side)) {
  const RowCodes sample = sample_codes(dense, side, kSampledRows * centres_);
  seed(team, sample);
  refine(team, sample);
  arrange();
  measure();
}

void Groups::set_centres(std::vector<int8_t> codes) {
  codes_ = std::move(codes);
  const int64_t count = static_cast<int64_t>(codes_.size()) / width_;
  const int64_t padded = (count + 3) / 4 * 4;
  rows_ = {std::vector<uint8_t>(static_cast<size_t>(padded * width_), 0),
           std::vector<int32_t>(static_cast<size_t>(padded), 0),
           {}};
  square_.assign(static_cast<size_t>(count), 0);
  for (size_t e = 0; e < codes_.size(); ++e) {
    rows_.bytes[e] = static_cast<uint8_t>(codes_[e] + kernels().bias);
    square_[e / static_cast<size_t>(width_)] += int64_t{codes_[e]} * codes_[e];
  }
  std::vector<int64_t> all(static_cast<size_t>(count));
  std::iota(all.begin(), all.end(), int64_t{0});
  packed_ = rows_.pack(all.data(), count, width_);
}

std::vector<int32_t> Groups::products() const {
  std::vector<int32_t> out(static_cast<size_t>(centres_ * centres_));
  each_row(rows_, 0, centres_, [&](int64_t a, const int32_t* scores) {
    std::copy_n(scores, centres_, &out[a * centres_]);
  });
  return out;
}

// Rows far from the centres so far are drawn more likely, a sixteenth of the centres at a time: by
// the fourth power of the distance, not the square of k-means++, so that hardly a cluster is left
// without a centre, whose rows would stray into other groups and widen them.
void Groups::seed(Team& team, const RowCodes& sample) {
  const int64_t rows = static_cast<int64_t>(sample.tau.size());
  std::vector<int8_t> codes, fresh;
  std::vector<double> distance(static_cast<size_t>(rows), 1.0), running(distance.size());
  Scatter scatter;
  const auto code = [&](int64_t k, int64_t c) {
    return static_cast<int8_t>(sample.bytes[k * width_ + c] - kernels().bias);
  };
  for (int round = 0; round < kSeedings; ++round) {
    double total = 0.0;
    for (int64_t k = 0; k < rows; ++k) running[k] = total += distance[k] * distance[k];
    const int64_t wanted = centres_ * (round + 1) / kSeedings - centres_ * round / kSeedings;
    fresh.clear();
    for (int64_t s = 0; s < wanted; ++s) {
      const double target = (scatter.next() + 0.5) * running.back();
      const int64_t at = std::upper_bound(running.begin(), running.end(), target) - running.begin();
      for (int64_t c = 0; c < width_; ++c) fresh.push_back(code(std::min(at, rows - 1), c));
    }
    codes.insert(codes.end(), fresh.begin(), fresh.end());
    set_centres(fresh);
    team.run_range(rows, kGrain, [&](int64_t begin, int64_t end, int) {
      each_row(sample, begin, end, [&](int64_t k, const int32_t* scores) {
        int64_t own = 0, best = std::numeric_limits<int64_t>::min();
        for (int64_t c = 0; c < width_; ++c) own += int64_t{code(k, c)} * code(k, c);
        for (size_t c = 0; c < square_.size(); ++c) {
          best = std::max(best, 2 * int64_t{scores[c]} - square_[c]);
        }
        const double square = static_cast<double>(std::max(int64_t{0}, own - best));
        distance[k] = round == 0 ? square : std::min(distance[k], square);
      });
    });
    if (*std::max_element(distance.begin(), distance.end()) == 0.0) {
      std::fill(distance.begin(), distance.end(), 1.0);
    }
  }
  set_centres(std::move(codes));
}

void Groups::refine(Team& team, const RowCodes& sample) {
  const int64_t rows = static_cast<int64_t>(sample.tau.size());
  std::vector<int64_t> nearest(static_cast<size_t>(rows));
  for (int pass = 0; pass < kRefinements; ++pass) {
    team.run_range(rows, kGrain, [&](int64_t begin, int64_t end, int) {
      each_row(sample, begin, end,
               [&](int64_t k, const int32_t* scores) { nearest[k] = closest(scores); });
    });
    std::vector<int32_t> sum(codes_.size(), 0), count(square_.size(), 0);
    for (int64_t k = 0; k < rows; ++k) {
      ++count[nearest[k]];
      int32_t* total = &sum[nearest[k] * width_];
      const uint8_t* bytes = &sample.bytes[k * width_];
      for (int64_t c = 0; c < width_; ++c) {
        total[c] += static_cast<int8_t>(bytes[c] - kernels().bias);
      }
    }
    std::vector<int8_t> codes = codes_;
    for (size_t e = 0; e < codes.size(); ++e) {
      const int32_t members = count[e / static_cast<size_t>(width_)];
      if (members == 0) continue;
      const double mean = static_cast<double>(sum[e]) / static_cast<double>(members);
      codes[e] = static_cast<int8_t>(std::lround(mean));
    }
    set_centres(std::move(codes));
  }
}

int64_t Groups::closest(const int32_t* scores) const {
  int64_t best = 0, highest = std::numeric_limits<int64_t>::min();
  for (int64_t c = 0; c < static_cast<int64_t>(square_.size()); ++c) {
    const int64_t value = 2 * int64_t{scores[c]} - square_[c];
    if (value > highest) {
      highest = value;
      best = c;
    }
  }
  return best;
}

// Numbers the centres so that each is followed by the nearest of those that are left.
void Groups::arrange() {
  const std::vector<int32_t> inner = products();
  std::vector<int64_t> left(static_cast<size_t>(centres_));
  std::iota(left.begin(), left.end(), int64_t{0});
  std::vector<int8_t> codes;
  codes.reserve(codes_.size());
  for (int64_t last = 0; !left.empty();) {
    const auto distance = [&](int64_t c) {
      return square_[c] - 2 * int64_t{inner[last * centres_ + c]};
    };
    const auto next = std::min_element(
        left.begin(), left.end(), [&](int64_t a, int64_t b) { return distance(a) < distance(b); });
    last = *next;
    left.erase(next);
    codes.insert(codes.end(), &codes_[last * width_], &codes_[last * width_] + width_);
  }
  set_centres(std::move(codes));
}

Groups::Side Groups::nothing() const {
  return {{},
          std::vector<float>(static_cast<size_t>(centres_ * centres_), kNothing),
          std::vector<int64_t>(static_cast<size_t>(count()), 0)};
}

// The products, of up to 127^2 an element, and the terms here are rounded to fp32 (2^-24 of them),
// for which `extent` makes room.
void Groups::include(Side& side, int64_t group, const int32_t* products, double tau) const {
  ++side.members[group];
  if (group == centres_) return;
  float* extent = &side.extent[group * centres_];
  const float* unit = &unit_[group * centres_];
  const int32_t own = products[group];
  const float rounding = static_cast<float>(tau);
  for (int64_t c = 0; c < centres_; ++c) {
    const float reach = static_cast<float>(products[c] - own) + rounding * unit[c];
    extent[c] = reach > extent[c] ? reach : extent[c];
  }
}

Groups::Side Groups::assign(Team& team, const Positions& side) const {
  const int64_t size = static_cast<int64_t>(side.rows.size());
  Side out = nothing();
  out.group.resize(static_cast<size_t>(size));
  // Two threads rarely have rows of one group at a time.
  std::vector<std::mutex> locks(static_cast<size_t>(count()));
  team.run_range(size, kGrain, [&](int64_t begin, int64_t end, int) {
    const RowCodes rows = dense_.encode_rows(side, begin, end);
    each_row(rows, 0, end - begin, [&](int64_t r, const int32_t* products) {
      const int64_t own = rows.fits(r) ? closest(products) : centres_;
      out.group[begin + r] = static_cast<int32_t>(own);
      const std::lock_guard<std::mutex> lock(locks[own]);
      include(out, own, products, rows.tau[r]);
    });
  });
  return out;
}

void Groups::measure() {
  inner_ = products();
  unit_.reserve(inner_.size());
  for (int64_t a = 0; a < centres_; ++a) {
    for (int64_t b = 0; b < centres_; ++b) {
      const double unit = length(a, b) / dense_.step() * (1.0 + 1e-6);
      unit_.push_back(static_cast<float>(unit));
    }
  }
}

double Groups::length(int64_t a, int64_t b) const {
  const int64_t inner = inner_[a * centres_ + b];
  return std::sqrt(static_cast<double>(square_[a] + square_[b] - 2 * inner));
}

double Groups::extent(const Side& side, int64_t a, int64_t b) const {
  const double reach = static_cast<double>(side.extent[a * centres_ + b]);
  const double room = 1e-6 * (std::abs(reach) + 127.0 * 127.0 * static_cast<double>(width_));
  const double step = dense_.step();
  return step * (reach + room - static_cast<double>(offset(a, b))) / length(a, b);
}

std::vector<double> Groups::reach(const Side& x, const Side& y) const {
  std::vector<double> out(static_cast<size_t>(count() * count()), kInfinity);
  for (int64_t a = 0; a < centres_; ++a) {
    for (int64_t b = 0; b < centres_; ++b) {
      double& reach = out[a * count() + b];
      const double distance = dense_.step() * length(a, b);
      if (x.members[a] == 0 || y.members[b] == 0) {
        reach = -kInfinity;
      } else if (distance > 0.0) {
        const double gap = distance - extent(x, a, b) - extent(y, b, a);
        if (gap > 0.0) reach = dense_.highest_score(gap);
      }
    }
  }
  return out;
}

RowReach Groups::row_reach(const Side& y) const {
  std::vector<float> away(inner_.size()), factor(inner_.size(), 0.0f);
  for (int64_t a = 0; a < centres_; ++a) {
    for (int64_t b = 0; b < centres_; ++b) {
      const int64_t at = a * centres_ + b;
      const double apart = length(a, b);
      if (y.members[b] == 0 || apart == 0.0) {
        away[at] = static_cast<float>(y.members[b] == 0 ? kInfinity : -kInfinity);
        continue;
      }
      const double scale = dense_.step() / apart;
      const double first =
          dense_.step() * apart - extent(y, b, a) + scale * static_cast<double>(offset(a, b));
      away[at] = static_cast<float>(first - 1e-6 * std::abs(first));
      factor[at] = static_cast<float>(scale);
    }
  }
  return {dense_, packed_, centres_, std::move(away), std::move(factor), y.members[centres_] > 0};
}

double Groups::left_over(const Side& x, const Side& y, const std::vector<double>& reach,
                         double bar) const {
  double left = 0.0, all = 0.0;
  for (int64_t a = 0; a < count(); ++a) {
    for (int64_t b = 0; b < count(); ++b) {
      const double pairs = static_cast<double>(x.members[a]) * static_cast<double>(y.members[b]);
      all += pairs;
      if (reach[a * count() + b] >= bar) left += pairs;
    }
  }
  return left / all;
}

std::vector<int64_t> by_group(const std::vector<int32_t>& group, int64_t groups) {
  std::vector<int64_t> begin(static_cast<size_t>(groups) + 1, 0);
  for (const int32_t g : group) ++begin[g + 1];
  std::partial_sum(begin.begin(), begin.end(), begin.begin());
  std::vector<int64_t> out(group.size());
  for (size_t p = 0; p < group.size(); ++p) out[begin[group[p]]++] = static_cast<int64_t>(p);
  return out;
}

}  // namespace meddel

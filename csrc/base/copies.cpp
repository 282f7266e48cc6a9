#include "base/copies.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>

#include "base/known.h"

namespace meddel {
namespace {

constexpr int64_t kGrain = 256;
constexpr uint32_t kFree = std::numeric_limits<uint32_t>::max();
constexpr uint64_t kOdd = 0x9e3779b97f4a7c15u;

// One step: no word is lost, as it can be undone, and high bits reach the low ones.
uint64_t mix(uint64_t hash, uint64_t word) {
  hash = (hash ^ word) * kOdd;
  return hash ^ (hash >> 32);
}

// Four chains at a time, as the steps of one wait for each other.
uint64_t hash_of(const void* data, int64_t bytes, uint64_t start) {
  const char* from = static_cast<const char*>(data);
  uint64_t chain[4] = {start, start + 1, start + 2, start + 3};
  uint64_t words[4];
  for (; bytes >= 32; bytes -= 32, from += 32) {
    std::memcpy(words, from, 32);
    for (int k = 0; k < 4; ++k) chain[k] = mix(chain[k], words[k]);
  }
  std::memset(words, 0, 32);
  std::memcpy(words, from, static_cast<size_t>(bytes));
  for (int k = 0; k < 4; ++k) chain[k] = mix(chain[k], words[k]);
  return mix(mix(mix(chain[0], chain[1]), chain[2]), chain[3]);
}

}  // namespace

bool any_equal(const std::vector<double>& values) {
  size_t size = 16;
  while (size < 2 * values.size()) size *= 2;
  std::vector<double> table(size, -1.0);  // below all squares
  for (const double value : values) {
    uint64_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    bits *= 0x9e3779b97f4a7c15u;
    size_t slot = (bits ^ (bits >> 32)) & (size - 1);
    for (; table[slot] != -1.0; slot = (slot + 1) & (size - 1)) {
      if (table[slot] == value) return true;
    }
    table[slot] = value;
  }
  return false;
}

std::vector<int64_t> count_up(int64_t n) {
  std::vector<int64_t> out(static_cast<size_t>(n));
  std::iota(out.begin(), out.end(), int64_t{0});
  return out;
}

Copies::Copies(Team& team, const Matrix& x, const std::vector<double>* apart,
               const std::vector<double>* squares) {
  if (x.known == nullptr) {
    find(team, x, count_up(x.n), nullptr, apart, nullptr, squares);
  } else {
    *this = *known_of(team, x, apart);
  }
}

Copies::Copies(Team& team, const Matrix& x, const std::vector<int64_t>& rows,
               const std::vector<int64_t>* groups, const std::vector<double>* apart,
               const std::vector<double>* squares) {
  const auto all = x.known == nullptr ? nullptr : known_of(team, x, nullptr);
  if (all == nullptr || all->any()) {
    find(team, x, rows, groups, apart, all.get(), squares);
  }
}

std::shared_ptr<const Copies> Copies::known_of(Team& team, const Matrix& x,
                                               const std::vector<double>* apart) {
  const bool fewer = apart != nullptr && std::count(apart->begin(), apart->end(), 0.0) > 0;
  const char* const name = fewer ? "copies but for rows of norm 0" : "copies";
  if (auto before = x.known->find<Copies>(name)) return before;
  const auto all = fewer ? known_of(team, x, nullptr) : nullptr;
  Copies out;
  if (all == nullptr || all->any()) {
    out.find(team, x, count_up(x.n), nullptr, apart, all.get(), nullptr);
  }
  const auto bytes = static_cast<int64_t>(
      8 * (out.distinct.size() + out.kind.size() + out.begin.size() + out.members.size()));
  return x.known->keep_for_good(name, std::move(out), bytes);
}

void Copies::find(Team& team, const Matrix& x, const std::vector<int64_t>& rows,
                  const std::vector<int64_t>* groups, const std::vector<double>* apart,
                  const Copies* all, const std::vector<double>* squares) {
  const auto n = static_cast<int64_t>(rows.size());
  if (n >= kFree) return;
  const auto group = [groups](int64_t p) {
    return static_cast<uint64_t>(groups == nullptr ? 0 : (*groups)[p]);
  };
  std::vector<uint64_t> keys(rows.size());
  bool done = false;
  if (all == nullptr && squares != nullptr) {
    for (int64_t p = 0; p < n; ++p) {
      uint64_t bits;
      std::memcpy(&bits, &(*squares)[rows[p]], sizeof bits);
      keys[p] = mix(mix(group(p), bits), 0);
    }
    done = sort_out(x, rows, groups, apart, all, keys, n);
  }
  if (!done) {
    const int64_t bytes = x.row_bytes();
    team.run_range(n, kGrain, [&](int64_t from, int64_t to, int) {
      for (int64_t p = from; p < to; ++p) {
        keys[p] = all != nullptr ? mix(group(p), static_cast<uint64_t>(all->kind[rows[p]]))
                                 : hash_of(x.row(rows[p]), bytes, group(p));
      }
    });
    sort_out(x, rows, groups, apart, all, keys, std::numeric_limits<int64_t>::max());
  }
  if (static_cast<int64_t>(distinct.size()) == n) {
    distinct.clear();
    kind.clear();
    return;
  }
  begin.assign(distinct.size() + 1, 0);
  for (const int64_t k : kind) ++begin[k + 1];
  std::partial_sum(begin.begin(), begin.end(), begin.begin());
  members.resize(rows.size());
  std::vector<int64_t> next(begin.begin(), begin.end() - 1);
  for (int64_t p = 0; p < n; ++p) members[next[kind[p]]++] = p;
}

bool Copies::sort_out(const Matrix& x, const std::vector<int64_t>& rows,
                      const std::vector<int64_t>* groups, const std::vector<double>* apart,
                      const Copies* all, const std::vector<uint64_t>& keys, int64_t most) {
  const auto n = static_cast<int64_t>(rows.size());
  const auto bytes = static_cast<size_t>(x.row_bytes());
  int64_t others = 0;
  const auto equal = [&](int64_t p, int64_t q) {
    if (keys[p] != keys[q] || (groups != nullptr && (*groups)[p] != (*groups)[q])) return false;
    const bool same = all != nullptr ? all->kind[rows[p]] == all->kind[rows[q]]
                                     : std::memcmp(x.row(rows[p]), x.row(rows[q]), bytes) == 0;
    others += !same;
    return same;
  };
  size_t size = 16;
  while (size < 2 * rows.size()) size *= 2;
  std::vector<uint32_t> table(size, kFree);  // of kinds
  for (int64_t p = 0; p < n; ++p) {
    if (others > most) {
      distinct.clear();
      kind.clear();
      return false;
    }
    if (apart != nullptr && (*apart)[rows[p]] == 0.0) {
      kind.push_back(static_cast<int64_t>(distinct.size()));
      distinct.push_back(p);
      continue;
    }
    size_t slot = keys[p] & (size - 1);
    while (table[slot] != kFree && !equal(distinct[table[slot]], p)) slot = (slot + 1) & (size - 1);
    if (table[slot] == kFree) {
      table[slot] = static_cast<uint32_t>(distinct.size());
      distinct.push_back(p);
    }
    kind.push_back(table[slot]);
  }
  return true;
}

}  // namespace meddel

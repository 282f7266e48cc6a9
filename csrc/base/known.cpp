#include "base/known.h"

#include <algorithm>
#include <cstring>

namespace meddel {

int64_t Known::most_for(const Matrix& x) {
  constexpr int64_t kFew = int64_t{1} << 26;
  return std::max(kFew, x.n * x.row_bytes() / 4);
}

int64_t Known::bytes() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  int64_t sum = 0;
  for (const auto& [key, entry] : entries_) sum += entry.bytes;
  return sum;
}

std::shared_ptr<const void> Known::find_any(const Key& key) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto at = entries_.find(key);
  if (at == entries_.end()) return nullptr;
  at->second.asked = ++calls_;
  return at->second.value;
}

std::shared_ptr<const void> Known::keep_any(const Key& key, Entry entry) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto at = entries_.find(key);
  if (at != entries_.end()) return at->second.value;
  if (!entry.for_good) {
    if (entry.bytes > most_) return entry.value;
    make_room(entry.bytes);
    held_ += entry.bytes;
  }
  entry.asked = ++calls_;
  return entries_.emplace(key, std::move(entry)).first->second.value;
}

void Known::make_room(int64_t bytes) {
  while (held_ + bytes > most_) {
    auto oldest = entries_.end();
    for (auto at = entries_.begin(); at != entries_.end(); ++at) {
      if (at->second.for_good) continue;
      if (oldest == entries_.end() || at->second.asked < oldest->second.asked) oldest = at;
    }
    held_ -= oldest->second.bytes;
    entries_.erase(oldest);
  }
}

uint64_t fingerprint(const Matrix& x) {
  constexpr int64_t kRows = 64, kMostBytes = 4096;
  const int64_t count = std::min(x.n, kRows);
  const int64_t bytes = std::min(x.row_bytes(), kMostBytes);
  uint64_t hash = 0xcbf29ce484222325u;
  for (int64_t k = 0; k < count; ++k) {
    const auto* row =
        static_cast<const char*>(x.row(k * (x.n - 1) / std::max(count - 1, int64_t{1})));
    for (int64_t at = 0; at < bytes; at += 8) {
      uint64_t word = 0;
      std::memcpy(&word, row + at, static_cast<size_t>(std::min(bytes - at, int64_t{8})));
      hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
      hash ^= hash >> 32;
    }
  }
  return hash;
}

}  // namespace meddel

// What operations have worked out about all rows of a matrix, kept for those that follow. Each asks
// here first, and keeps what it had to work out itself: two that do so at once work it out both,
// and the first one's is kept, so that nobody waits. Nothing here changes a result.
//
// Requires that the rows stay as they are.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <typeindex>
#include <utility>

#include "base/matrix.h"

namespace meddel {

class Known {
 public:
  // May hold so many bytes of what comes with a size; what was asked for least recently goes first.
  Known(const Matrix& x, int64_t most) : rows_(x.n), most_(most) {}
  Known(const Known&) = delete;
  Known& operator=(const Known&) = delete;

  // The quarter of its rows that an operation may take, or 64 MiB of few rows.
  static int64_t most_for(const Matrix& x);

  int64_t rows() const { return rows_; }
  int64_t most() const { return most_; }
  int64_t bytes() const;  // held

  // What is kept by a name, or null.
  template <class T>
  std::shared_ptr<const T> find(const std::string& name) {
    return std::static_pointer_cast<const T>(find_any({typeid(T), name}));
  }

  // Keeps a value, of so many bytes, unless they are more than may be held, or another thread has
  // kept one meanwhile; returns the one that is kept, else the value itself.
  template <class T>
  std::shared_ptr<const T> keep(const std::string& name, T value, int64_t bytes) {
    return keep_one<T>(name, std::move(value), bytes, false);
  }

  // The same of what stays for as long as this does, and does not count as to what may be held.
  template <class T>
  std::shared_ptr<const T> keep_for_good(const std::string& name, T value, int64_t bytes) {
    return keep_one<T>(name, std::move(value), bytes, true);
  }

 private:
  using Key = std::pair<std::type_index, std::string>;
  struct Entry {
    std::shared_ptr<const void> value;
    int64_t bytes;
    bool for_good;
    int64_t asked;  // when, in calls
  };

  template <class T>
  std::shared_ptr<const T> keep_one(const std::string& name, T value, int64_t bytes,
                                    bool for_good) {
    auto shared = std::make_shared<const T>(std::move(value));
    return std::static_pointer_cast<const T>(
        keep_any({typeid(T), name}, {std::move(shared), bytes, for_good, 0}));
  }

  std::shared_ptr<const void> find_any(const Key& key);
  std::shared_ptr<const void> keep_any(const Key& key, Entry entry);
  void make_room(int64_t bytes);

  const int64_t rows_;
  const int64_t most_;
  mutable std::mutex mutex_;
  std::map<Key, Entry> entries_;
  int64_t held_ = 0;  // of what may go
  int64_t calls_ = 0;
};

// A number of some rows spread evenly over a matrix, cheap beside any operation: another one where
// these have changed.
uint64_t fingerprint(const Matrix& x);

}  // namespace meddel

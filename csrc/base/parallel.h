// Threads of one operation. They live as long as it does, so nothing survives into a fork, and
// chunks are handed out by an atomic counter, so that uneven ones balance. No more are started than
// there are chunks for, nor than twice the cores (or 64); where the system refuses one, those that
// there are do the work. No result depends on how many there are.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace meddel {

// What an operation needs from its caller. poll, called from the caller's own thread several times
// a second, may throw to cancel (Ctrl-C); the exception reaches the caller after all threads rest.
// progress, empty where nobody asks, is called from there too, as often, with how much of how much
// is done, and may throw likewise.
struct Context {
  int threads = 1;
  std::function<void()> poll;
  std::function<void(int64_t done, int64_t total)> progress = {};
};

class Team {
 public:
  explicit Team(const Context& context);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  // How many there may be, with the caller's.
  int most() const { return most_; }

  // For an operation that is a step of this one: polls as this does, and tells of no progress.
  Context quiet() const { return {most_, context_.poll}; }

  // Calls body(chunk, worker) for every chunk in [0, chunks), worker in [0, most()); returns when
  // all are done. Cancellation waits for a chunk's end, or for its next call of checkpoint.
  void run(int64_t chunks, const std::function<void(int64_t, int)>& body);

  // The same over [0, n) in pieces of at most `grain`: body(begin, end, worker).
  void run_range(int64_t n, int64_t grain, const std::function<void(int64_t, int64_t, int)>& body);

  // Leaves the chunk by an exception if the operation is cancelled; polls when it is time to. A
  // chunk that may take a second calls this every few milliseconds.
  void checkpoint(int worker);

  // For progress: `done` of `total` units are done, and the next run is worth `span` more, chunk by
  // chunk. Other runs count for nothing. Called by the thread that calls run.
  void announce(int64_t done, int64_t total, int64_t span = 0);

 private:
  // How many there are, with the caller's.
  int size() const { return static_cast<int>(workers_.size()) + 1; }

  void grow(int64_t chunks);
  void serve(int worker, uint64_t seen);
  void work(int worker);
  void fail();
  void report();

  const Context& context_;
  int most_;
  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable done_;
  std::atomic<uint64_t> generation_{0};
  std::atomic<int> busy_{0};
  std::atomic<int64_t> next_{0};
  std::atomic<bool> cancelled_{false};
  bool stop_ = false;
  int64_t chunks_ = 0;
  const std::function<void(int64_t, int)>* body_ = nullptr;
  std::exception_ptr error_;
  int64_t last_poll_ns_ = 0;
  int64_t units_done_ = 0;
  int64_t units_ = 0;
  int64_t span_ = 0;
};

}  // namespace meddel

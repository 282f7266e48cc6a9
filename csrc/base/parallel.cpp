#include "base/parallel.h"

#include <algorithm>
#include <chrono>
#include <new>
#include <system_error>

#include "base/floating_point.h"

namespace meddel {
namespace {

constexpr int64_t kPollNs = 50'000'000;
// About 10 us of spinning before a worker sleeps: k-center hands out thousands of short jobs.
constexpr int kSpins = 2000;

int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// Leaves a chunk of an operation that has failed elsewhere, where the reason is kept.
struct Cancelled {};

// More threads than cores help nobody; some more are allowed, as tests want them on small machines.
int most_threads() {
  constexpr unsigned kLeast = 64;
  static const int most =  // asked once: the system is slow to tell
      static_cast<int>(std::max(kLeast, 2 * std::thread::hardware_concurrency()));
  return most;
}

}  // namespace

Team::Team(const Context& context)
    : context_(context),
      most_(std::min(context.threads, most_threads())),
      last_poll_ns_(now_ns()) {}

void Team::grow(int64_t chunks) {
  workers_.reserve(static_cast<size_t>(most_));
  while (size() < std::min(int64_t{most_}, chunks)) {
    const uint64_t seen = generation_;
    try {
      workers_.emplace_back([this, worker = size(), seen] { serve(worker, seen); });
    } catch (const std::system_error&) {  // no room for another: those that there are do the work
      most_ = size();
    } catch (const std::bad_alloc&) {
      most_ = size();
    }
  }
}

Team::~Team() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
    ++generation_;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void Team::serve(int worker, uint64_t seen) {
  const DefaultFloatingPoint guard;
  while (true) {
    for (int spin = 0; spin < kSpins && generation_.load(std::memory_order_acquire) == seen;
         ++spin) {
      if (spin % 64 == 63) std::this_thread::yield();
    }
    {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [&] { return generation_.load() != seen; });
      seen = generation_.load();
      if (stop_) return;
    }
    work(worker);
    if (busy_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      std::lock_guard<std::mutex> lock(mutex_);
      done_.notify_one();
    }
  }
}

void Team::fail() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (!error_) error_ = std::current_exception();
  cancelled_ = true;
}

void Team::work(int worker) {
  try {
    while (!cancelled_.load(std::memory_order_relaxed)) {
      const int64_t chunk = next_.fetch_add(1, std::memory_order_relaxed);
      if (chunk >= chunks_) break;
      (*body_)(chunk, worker);
      checkpoint(worker);
    }
  } catch (const Cancelled&) {
  } catch (...) {
    fail();
  }
}

void Team::checkpoint(int worker) {
  if (cancelled_.load(std::memory_order_relaxed)) throw Cancelled();
  if (worker != 0 || !context_.poll) return;
  const int64_t now = now_ns();
  if (now - last_poll_ns_ < kPollNs) return;
  last_poll_ns_ = now;
  context_.poll();
  report();
}

void Team::announce(int64_t done, int64_t total, int64_t span) {
  units_done_ = done;
  units_ = total;
  span_ = span;
  if (context_.progress) context_.progress(done, total);
}

void Team::report() {
  if (!context_.progress || units_ == 0) return;
  int64_t done = units_done_;
  if (span_ > 0) {  // chunks that were handed out, but for those that threads may be at
    const int64_t chunks = std::min(chunks_, next_.load(std::memory_order_relaxed));
    done += static_cast<int64_t>(static_cast<double>(span_) *
                                 static_cast<double>(std::max(int64_t{0}, chunks - size())) /
                                 static_cast<double>(chunks_));
  }
  context_.progress(done, units_);
}

void Team::run(int64_t chunks, const std::function<void(int64_t, int)>& body) {
  if (chunks <= 0) return;
  const DefaultFloatingPoint guard;
  grow(chunks);
  {
    std::lock_guard<std::mutex> lock(mutex_);
    chunks_ = chunks;
    body_ = &body;
    next_ = 0;
    cancelled_ = false;
    error_ = nullptr;
    busy_ = static_cast<int>(workers_.size());
    ++generation_;
  }
  if (!workers_.empty()) wake_.notify_all();
  work(0);
  if (!workers_.empty()) {
    for (int spin = 0; spin < kSpins && busy_.load(std::memory_order_acquire) > 0; ++spin) {
      if (spin % 64 == 63) std::this_thread::yield();
    }
    std::unique_lock<std::mutex> lock(mutex_);
    done_.wait(lock, [&] { return busy_.load() == 0; });
  }
  span_ = 0;
  if (error_) std::rethrow_exception(error_);
}

void Team::run_range(int64_t n, int64_t grain,
                     const std::function<void(int64_t, int64_t, int)>& body) {
  const int64_t chunks = (n + grain - 1) / grain;
  run(chunks, [&](int64_t chunk, int worker) {
    body(chunk * grain, std::min(n, (chunk + 1) * grain), worker);
  });
}

}  // namespace meddel

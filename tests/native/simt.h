// Runs the body of a GPU kernel on the host: every thread of a grid has a stack of its own, and one
// runs at a time, in an order drawn at random. A thread gives way where others may come between on
// a GPU: at barriers, in shuffles, and before every access to words that threads share. So a
// missing barrier or an order that is taken for granted shows for some seed, and a barrier that not
// all threads reach ends the program. By the seed, those that became ready last are preferred, so
// that some warps run far ahead of others.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <vector>

namespace meddel::simt {

constexpr int kWarp = 32;
constexpr size_t kStack = 64 * 1024;

struct Shape {
  int64_t blocks_x;
  int64_t blocks_y;
  int threads;  // a block; a multiple of kWarp
};

class Grid;

// What cuda/common.cuh's DeviceBlock is on a GPU.
class Block {
 public:
  int thread() const;
  int64_t index_x() const;
  int64_t index_y() const;
  int64_t first() const;
  int64_t all() const;
  void sync() const;
  void sync_warp() const;

  template <class T>
  T shuffle_xor(T value, int mask) const {
    static_assert(sizeof(T) == sizeof(uint64_t), "eight bytes");
    uint64_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    bits = exchange(bits, mask);
    std::memcpy(&value, &bits, sizeof value);
    return value;
  }

  int64_t load(const int64_t* from) const {
    give_way();
    return *from;
  }
  void store(int64_t* to, int64_t value) const {
    give_way();
    *to = value;
  }
  int64_t compare_and_swap(int64_t* at, int64_t expected, int64_t value) const {
    give_way();
    const int64_t old = *at;
    if (old == expected) *at = value;
    return old;
  }

 private:
  friend class Grid;
  Block(Grid& grid, int fiber) : grid_(grid), fiber_(fiber) {}

  void give_way() const;
  uint64_t exchange(uint64_t bits, int mask) const;

  Grid& grid_;
  int fiber_;
};

// The blocks of a grid that run at once: as many as fit on a GPU.
class Grid {
 public:
  using Body = std::function<void(const Block&)>;

  Grid(Shape shape, int64_t first_block, int64_t blocks, uint32_t seed, const Body& body)
      : shape_(shape),
        first_block_(first_block),
        random_(seed),
        haste_(random_() % 3 * 8),
        body_(body) {
    const int count = static_cast<int>(blocks) * shape.threads;
    fibers_.resize(static_cast<size_t>(count));
    for (int f = 0; f < count; ++f) {
      Fiber& fiber = fibers_[static_cast<size_t>(f)];
      fiber.stack.reset(new char[kStack]);
      getcontext(&fiber.context);
      fiber.context.uc_stack.ss_sp = fiber.stack.get();
      fiber.context.uc_stack.ss_size = kStack;
      const auto self = reinterpret_cast<uintptr_t>(this);
      makecontext(&fiber.context, reinterpret_cast<void (*)()>(&Grid::enter), 3,
                  static_cast<unsigned>(self >> 32), static_cast<unsigned>(self),
                  static_cast<unsigned>(f));
      ready_.push_back(f);
    }
  }

  void run() {
    while (!ready_.empty()) {
      const size_t last = ready_.size() - 1;
      const size_t at = random_() % 17 < haste_ ? last : random_() % ready_.size();
      const int next = ready_[at];
      ready_.erase(ready_.begin() + static_cast<std::ptrdiff_t>(at));
      go_on(fiber(next));
    }
    for (const Fiber& fiber : fibers_) {
      if (fiber.done) continue;
      std::fputs("simt: some threads wait for others that are done or wait elsewhere\n", stderr);
      std::abort();
    }
  }

 private:
  friend class Block;

  enum class At { kRunning, kBarrier, kWarpBarrier };

  struct Fiber {
    ucontext_t context;  // for its start; then jumps, which spare the two system calls of a switch
    std::unique_ptr<char[]> stack;
    jmp_buf place;
    bool started = false;
    At at = At::kRunning;
    bool done = false;
    uint64_t slot[2] = {0, 0};  // what it gives in shuffles, by turns: it may be one ahead
    int shuffles = 0;
  };

  static void enter(unsigned high, unsigned low, unsigned f) {
    auto* self = reinterpret_cast<Grid*>(static_cast<uintptr_t>(high) << 32 | low);
    self->body_(Block(*self, static_cast<int>(f)));
    self->fibers_[f].done = true;
    _longjmp(self->scheduler_, 1);
  }

  Fiber& fiber(int f) { return fibers_[static_cast<size_t>(f)]; }

  void go_on(Fiber& next) {
    if (_setjmp(scheduler_) != 0) return;
    if (next.started) _longjmp(next.place, 1);
    next.started = true;
    setcontext(&next.context);
  }

  void leave(int f) {
    if (_setjmp(fiber(f).place) == 0) _longjmp(scheduler_, 1);
  }

  // Holds a thread until the others of its warp, or block, have come to the same kind of place.
  void wait(int f, At at) {
    fiber(f).at = at;
    const int size = at == At::kBarrier ? shape_.threads : kWarp, begin = f / size * size;
    for (int other = begin; other < begin + size; ++other) {
      if (fiber(other).at != at) return leave(f);
    }
    for (int other = begin; other < begin + size; ++other) {
      fiber(other).at = At::kRunning;
      ready_.push_back(other);
    }
    leave(f);
  }

  const Shape shape_;
  const int64_t first_block_;
  std::mt19937 random_;
  const uint32_t haste_;  // seventeenths of the time that the last one is preferred: 0, 8 or 16
  const Body& body_;
  std::vector<Fiber> fibers_;
  std::vector<int> ready_;
  jmp_buf scheduler_;
};

inline int Block::thread() const { return fiber_ % grid_.shape_.threads; }
inline int64_t Block::index_x() const {
  return (grid_.first_block_ + fiber_ / grid_.shape_.threads) % grid_.shape_.blocks_x;
}
inline int64_t Block::index_y() const {
  return (grid_.first_block_ + fiber_ / grid_.shape_.threads) / grid_.shape_.blocks_x;
}
inline int64_t Block::first() const { return index_x() * grid_.shape_.threads + thread(); }
inline int64_t Block::all() const { return grid_.shape_.blocks_x * grid_.shape_.threads; }
inline void Block::sync() const { grid_.wait(fiber_, Grid::At::kBarrier); }
inline void Block::sync_warp() const { grid_.wait(fiber_, Grid::At::kWarpBarrier); }
inline void Block::give_way() const {
  grid_.ready_.push_back(fiber_);
  grid_.leave(fiber_);
}
inline uint64_t Block::exchange(uint64_t bits, int mask) const {
  Grid::Fiber& mine = grid_.fiber(fiber_);
  const int turn = mine.shuffles++ % 2;
  mine.slot[turn] = bits;
  sync_warp();
  return grid_.fiber(fiber_ ^ mask).slot[turn];
}

// Runs body(block, shared) for every thread, `at_once` blocks at a time; each block has a Shared of
// its own, filled with rubbish.
template <class Shared, class Body>
void launch(Shape shape, uint32_t seed, const Body& body, int64_t at_once = 1) {
  const int64_t blocks = shape.blocks_x * shape.blocks_y;
  for (int64_t first = 0; first < blocks; first += at_once) {
    const int64_t count = first + at_once < blocks ? at_once : blocks - first;
    std::vector<Shared> shared(static_cast<size_t>(count));
    std::memset(static_cast<void*>(shared.data()), 0xff, shared.size() * sizeof(Shared));
    const Grid::Body run = [&](const Block& block) {
      const int64_t index = block.index_y() * shape.blocks_x + block.index_x();
      body(block, shared[static_cast<size_t>(index - first)]);
    };
    Grid(shape, first, count, seed + static_cast<uint32_t>(first), run).run();
  }
}

}  // namespace meddel::simt

// launch.h for the host: the same kernel bodies, thread by thread. For tests; not fast.
#include "cuda_on_host.h"

#include "cuda/components.h"
#include "cuda/inner_products.h"
#include "cuda/launch.h"
#include "cuda/typed.h"
#include "simt.h"

namespace meddel::cuda {
namespace {

uint32_t seed = 1;

struct Nothing {};

template <class T, int kCount>
struct alignas(16) Array {
  T value[kCount];
};

// Of a grid of one dimension over `count` things.
simt::Shape shape_for(int64_t count) {
  const int64_t blocks = (count + Components::kThreads - 1) / Components::kThreads;
  return {blocks < 3 ? blocks : 3, 1, Components::kThreads};
}

}  // namespace

void use_seed(uint32_t value) { seed = value; }

std::vector<std::string> device_names() { return {"host"}; }

void inner_products(const Matrix& x, const int64_t* i, const Matrix& y, const int64_t* j,
                    int64_t count, double* out, Stream) {
  if (count == 0) return;
  with_type(x.dtype, [&](auto element) {
    using T = decltype(element);
    const InnerProducts::Arguments<T> arguments{typed<T>(x), typed<T>(y), i, j, count, out};
    const int64_t blocks = (count + InnerProducts::kPairs - 1) / InnerProducts::kPairs;
    using Shared = Array<float, InnerProducts::kShared>;
    simt::launch<Shared>({blocks, 1, InnerProducts::kThreads}, seed,
                         [&](const simt::Block& block, Shared& shared) {
                           InnerProducts::run(block, arguments, shared.value);
                         });
  });
}

void distance_matrix(const Matrix& x, const double* squares, Metric metric, double* out, Stream) {
  with_type(x.dtype, [&](auto element) {
    using T = decltype(element);
    const DistanceMatrix::Arguments<T> arguments{typed<T>(x), x.n, squares, metric, out};
    const int64_t tiles = (x.n + DistanceMatrix::kTile - 1) / DistanceMatrix::kTile;
    using Shared = Array<double, DistanceMatrix::kShared>;
    simt::launch<Shared>({tiles, tiles, DistanceMatrix::kThreads}, seed,
                         [&](const simt::Block& block, Shared& shared) {
                           DistanceMatrix::run(block, arguments, shared.value);
                         });
  });
}

void kcenter_select(const KCenterSelect::Arguments& arguments, Stream) {
  simt::launch<KCenterSelect::Shared>({1, 1, KCenterSelect::kThreads}, seed,
                                      [&](const simt::Block& block, KCenterSelect::Shared& shared) {
                                        KCenterSelect::run(block, arguments, shared);
                                      });
}

void components(const int64_t* i, const int64_t* j, int64_t count, int64_t n, int64_t* roots,
                Stream) {
  if (n == 0) return;
  const auto run = [](int64_t size, const auto& body) {
    const simt::Shape shape = shape_for(size);
    simt::launch<Nothing>(
        shape, seed, [&](const simt::Block& block, Nothing&) { body(block); }, shape.blocks_x);
  };
  run(n, [&](const simt::Block& block) { Components::start(block, roots, n); });
  if (count > 0) {
    run(count, [&](const simt::Block& block) { Components::join(block, roots, i, j, count); });
  }
  run(n, [&](const simt::Block& block) { Components::finish(block, roots, n); });
}

}  // namespace meddel::cuda

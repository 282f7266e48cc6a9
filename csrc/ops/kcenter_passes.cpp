#include "ops/kcenter_passes.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/norms.h"
#include "cpu/isa.h"
#include "ops/catch_up.h"
#include "screen/plan.h"

namespace meddel {
namespace {

constexpr int64_t kBlockBytes = 1 << 14;  // of rows
constexpr int64_t kBlockRows = 512;       // at most
constexpr int64_t kMadeAnew =
    2;  // up to so many elements have their squares sooner than memory does
// Of up to 8 elements boxes take less for more centres than that. Of more elements it depends on
// how many pairs of rows and centres there are, fewer of wider rows, as measured (100 to 30,000
// rows of 16 to 384 elements): GreedyByBounds looks at most rows' centres once, in the end, or not
// at all.
constexpr int64_t kMostNarrow = 48;
constexpr int64_t kMostWide = 128;
constexpr double kMostWork = 1e9;
constexpr int64_t kGrainBytes = 1 << 20;  // of rows, for one thread at a time

}  // namespace

bool passes_pay(const Matrix& x, int64_t k, Metric metric, bool distances) {
  if (passes_forced()) return true;
  if (screens_forced() || boxes_forced() || near_forced()) return false;
  if (k <= 2) return true;
  if (x.d <= kNarrow && metric == Metric::kEuclidean) return k <= kMostNarrow;
  // A cosine's root and quotient take as long as so many elements.
  const auto width = static_cast<double>(x.d + (metric == Metric::kCosine ? 48 : 0));
  const double pairs = static_cast<double>(x.n) * static_cast<double>(k);
  return x.d <= kMostWide && pairs * width * width < (distances ? kMostWork : kMostWork / 30);
}

GreedyByPasses::GreedyByPasses(const Matrix& x, Metric metric, const Context& context)
    : x_(x),
      metric_(metric),
      team_(context),
      kept_(x.d > kMadeAnew || x.known),
      block_(std::clamp(kBlockBytes / x.row_bytes() / 8 * 8, int64_t{8}, kBlockRows)) {}

void GreedyByPasses::announce(int64_t done, int64_t total, int64_t span) {
  team_.announce(done, total, span);
  team_.checkpoint(0);
}

bool GreedyByPasses::covered() {
  catch_up();
  return farthest_.distance <= 0.0;
}

int64_t GreedyByPasses::farthest() {
  catch_up();
  return farthest_.row;
}

double GreedyByPasses::distance(int64_t) const {
  if (!started_) return kInfinity;
  return metric_ == Metric::kCosine ? farthest_.distance : std::sqrt(farthest_.distance);
}

std::vector<double> GreedyByPasses::distances() {
  catch_up();
  if (metric_ == Metric::kCosine) {
    for (double& value : nearest_) value = std::max(0.0, value);
  } else {
    kernels().roots(nearest_.data(), x_.n);
  }
  return std::move(nearest_);
}

void GreedyByPasses::catch_up() {
  if (pending_.empty()) return;
  if (!started_) {
    nearest_.resize(static_cast<size_t>(x_.n));
    if (x_.known) squares_ = squared_norms(team_, x_);
    if (kept_) squares_.resize(static_cast<size_t>(x_.n));
  }
  const int64_t rows = std::max(int64_t{1}, kGrainBytes / (x_.row_bytes() * block_)) * block_;
  std::vector<Place> farthest(static_cast<size_t>((x_.n - 1) / rows + 1));
  team_.run_range(x_.n, rows, [&](int64_t begin, int64_t end, int) {
    farthest[begin / rows] = pass(begin, end);
  });
  if (!finite_) require_finite(team_, x_);
  started_ = true;
  pending_.clear();
  farthest_ = farthest[0];
  for (const Place& place : farthest) {
    if (place.distance > farthest_.distance) farthest_ = place;
  }
  int64_t& row = farthest_.row;
  while (nearest_[row] != farthest_.distance) ++row;
}

// Makes some rows take account of all centres; returns the first block with the farthest of them.
GreedyByPasses::Place GreedyByPasses::pass(int64_t begin, int64_t end) {
  Place farthest{-kInfinity, begin};
  for (int64_t first = begin; first < end; first += block_) {
    const int64_t count = std::min(block_, end - first);
    if (!started_) std::fill_n(&nearest_[first], count, kInfinity);
    double most = kTaken;
    for (const int64_t& centre : pending_) {
      most = lower(first, count, centre, &centre == &pending_.front());
    }
    if (most > farthest.distance) farthest = {most, first};
  }
  return farthest;
}

// For one centre, the first of those that are pending or another one, and some rows.
double GreedyByPasses::lower(int64_t begin, int64_t count, int64_t centre, bool first) {
  const int type = static_cast<int>(x_.dtype);
  const void* const own = x_.row(centre);
  double* const nearest = &nearest_[begin];
  double inner[kBlockRows], made[kBlockRows];
  double* const squares = kept_ ? &squares_[begin] : made;
  const double square = kernels().dot[type](own, own, x_.d);
  if (!kept_ || (first && !started_ && !x_.known)) {
    kernels().measure[type](own, x_.row(begin), x_.ld, count, x_.d, inner, squares);
    if (!started_ && !all_finite(squares, count)) finite_ = false;
  } else {
    kernels().dots[type](own, x_.row(begin), x_.ld, nullptr, count, x_.d, inner);
  }
  if (centre >= begin && centre < begin + count) nearest[centre - begin] = kTaken;
  if (metric_ == Metric::kEuclidean) {
    return kernels().lower(inner, squares, count, square, nearest);
  }
  double most = kTaken;
  for (int64_t i = 0; i < count; ++i) {
    nearest[i] = std::min(nearest[i], meddel::distance(metric_, inner[i], squares[i], square));
    most = std::max(most, nearest[i]);
  }
  return most;
}

}  // namespace meddel

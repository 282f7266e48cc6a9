#include "ops/kmeans_cells.h"

#include <algorithm>
#include <cmath>

#include "cpu/isa.h"
#include "ops/kmeans.h"
#include "screen/codes.h"
#include "screen/plan.h"
#include "screen/scatter.h"

namespace meddel {
namespace {

constexpr int64_t kRows = 64;         // codes at a time
constexpr int64_t kLeast = 1024;      // fewer centroids are compared as fast as cells are
constexpr int64_t kLeastRows = 8192;  // with fewer rows, finding cells is a large part of it
constexpr int64_t kSampled = 16;      // centroids a cell that its centre is learned from
constexpr int64_t kUpdates = 3;       // of the centres
constexpr float kAlwaysReached = 1e30f, kNeverReached = -3e38f;
constexpr double kRounded = 0x1p-19;  // twice the share by which fp32 may be off

// A row is compared with all centres and with some cells of k / centres columns: so many centres,
// times a factor that is measured.
int64_t centres_for(int64_t k) {
  const auto wanted = static_cast<int64_t>(3.0 * std::sqrt(static_cast<double>(k)));
  return std::max<int64_t>(1, std::min(wanted, k / 4));
}

float up(double value) { return std::nextafter(static_cast<float>(value), 3e38f); }

}  // namespace

bool Cells::may_pay(int64_t n, int64_t k) {
  if (groups_forced()) return k >= 32;
  return k >= kLeast && n >= kLeastRows;
}

Cells::Cells(Team& team, const Scaled& screen, Metric metric, const ScanSide& centroids)
    : screen_(screen), most_(screen.most()) {
  const int64_t size = centroids.size(), d = centroids.x->d, count = centres_for(size);
  const int64_t sampled = std::min(size, kSampled * count);
  std::vector<float> rows(static_cast<size_t>(sampled * d));
  for (int64_t s = 0; s < sampled; ++s) {
    const auto* row = static_cast<const float*>(centroids.data(s * size / sampled));
    std::copy_n(row, d, &rows[s * d]);
  }
  const Matrix sample{rows.data(), sampled, d, d, DType::kFloat32};
  std::vector<double> uniforms;
  Scatter scatter;
  for (int64_t c = 0; c < count; ++c) uniforms.push_back(scatter.next() + 0.5);
  const bool spherical = metric == Metric::kCosine;
  const Context quiet = team.quiet();
  std::vector<float> found;
  for (const int64_t seed : kmeans_plus_plus(sample, spherical, uniforms, {}, quiet)) {
    found.insert(found.end(), &rows[seed * d], &rows[seed * d] + d);
  }
  found = kmeans(sample, std::move(found), count, {spherical, kUpdates}, quiet).centroids;
  const Matrix matrix{found.data(), count, d, d, DType::kFloat32};
  measure(team, all_rows(team, matrix));
}

template <class Take>
void Cells::each_coded(const Positions& side, int64_t begin, int64_t end, const Take& take) const {
  const int64_t width = screen_.width(), columns = this->columns();
  std::vector<float> point(static_cast<size_t>(side.x.d));
  std::vector<int8_t> code(static_cast<size_t>(width));
  std::vector<uint8_t> bytes(static_cast<size_t>(kRows * width));
  std::vector<int32_t> sums(static_cast<size_t>(kRows * columns));
  const std::vector<int32_t> nothing(static_cast<size_t>(kRows), 0);
  std::vector<Coded> coded(static_cast<size_t>(kRows));
  for (int64_t first = begin; first < end; first += kRows) {
    const int64_t count = std::min(kRows, end - first);
    for (int64_t r = 0; r < count; ++r) {
      coded[r].row = screen_.encode(side, side.rows[first + r], point.data(), code.data());
      int32_t integers = 0;
      for (int64_t e = 0; e < width; ++e) {
        integers += code[e] * code[e];
        bytes[r * width + e] = static_cast<uint8_t>(code[e] + kernels().bias);
      }
      const double step = static_cast<double>(coded[r].row.step);
      coded[r].square = step * step * static_cast<double>(integers);
      if (coded[r].row.rest >= kAlwaysReached) coded[r].square = kInfinity;
      coded[r].products = &sums[r * columns];
    }
    kernels().scores(bytes.data(), nothing.data(), round_up(count, 4), centres_.packed.data(),
                     centres_.start.data(), columns / kBlockColumns, width, sums.data(), columns);
    for (int64_t r = 0; r < count; ++r) take(first + r, coded[r]);
  }
}

void Cells::measure(Team& team, const ScanSide& centres) {
  centres_ = ScaledColumns(screen_, centres.positions());
  const int64_t count = centres.size();
  squares_.resize(static_cast<size_t>(count));
  steps_.resize(static_cast<size_t>(count));
  inner_.resize(static_cast<size_t>(count * count));
  team.run_range(count, kRows, [&](int64_t begin, int64_t end, int) {
    each_coded(centres.positions(), begin, end, [&](int64_t c, const Coded& coded) {
      squares_[c] = coded.square;
      steps_[c] = static_cast<double>(coded.row.step);
      for (int64_t other = 0; other < count; ++other) {
        inner_[c * count + other] = steps_[c] * static_cast<double>(coded.products[other]);
      }
    });
  });
  for (int64_t c = 0; c < count; ++c) {
    for (int64_t other = 0; other < count; ++other) inner_[c * count + other] *= steps_[other];
  }
}

// The nearest centre: that of the greatest s_u s_m q_u'q_m - |m|^2 / 2.
std::vector<int32_t> Cells::of(Team& team, const Positions& side) const {
  std::vector<float> traits = centres_.traits;
  double longest = 0.0;
  for (int64_t c = 0; c < columns(); ++c) {
    float* of = &traits[4 * (c / kBlockColumns * kBlockColumns) + c % kBlockColumns];
    of[kBlockColumns] = of[2 * kBlockColumns] = 0.0f;
    const bool counts = c < count() && squares_[c] < kInfinity;
    of[3 * kBlockColumns] = counts ? static_cast<float>(-0.5 * squares_[c]) : kNeverReached;
    if (counts) longest = std::max(longest, std::sqrt(squares_[c]));
  }
  std::vector<int32_t> out(side.rows.size());
  team.run_range(static_cast<int64_t>(side.rows.size()), 16 * kRows,
                 [&](int64_t first, int64_t last, int worker) {
                   std::vector<int32_t> bits(static_cast<size_t>(columns()));
                   team.checkpoint(worker);
                   each_coded(side, first, last, [&](int64_t p, const Coded& coded) {
                     out[p] = -1;
                     if (coded.square == kInfinity) return;
                     const double height =
                         std::sqrt(coded.square) + longest;  // so that no bits are negative
                     const ScaledRow row{coded.row.step, 0.0f, 0.0f,
                                         static_cast<float>(0.51 * height * height)};
                     kernels().reach(coded.products, columns(), row, traits.data(), bits.data());
                     const int64_t c = kernels().highest(bits.data(), count());
                     if (squares_[c] < kInfinity) out[p] = static_cast<int32_t>(c);
                   });
                 });
  return out;
}

Cells::Placed Cells::place(Team& team, const ScanSide& centroids) const {
  const int64_t count = this->count();
  Placed out{of(team, centroids.positions()),
             std::vector<float>(static_cast<size_t>(4 * count * columns()))};
  std::vector<uint8_t> all(static_cast<size_t>(count), 0);  // whether it has some not screened
  for (int32_t& cell : out.cell) {
    if (cell < 0) all[cell = static_cast<int32_t>(count - 1)] = 1;
  }
  std::vector<std::vector<int64_t>> members(static_cast<size_t>(count));
  for (size_t q = 0; q < out.cell.size(); ++q) {
    members[out.cell[q]].push_back(centroids.rows[q]);
  }
  team.run_range(columns(), 1, [&](int64_t to, int64_t, int) {
    std::vector<double> least(static_cast<size_t>(count), kInfinity);  // <v^, m_B - m_A> - tau_v D
    if (to < count) {
      const double* inner = &inner_[to * count];
      std::vector<double> apart(static_cast<size_t>(count));
      for (int64_t a = 0; a < count; ++a) {
        apart[a] = std::sqrt(std::max(0.0, squares_[a] + squares_[to] - 2.0 * inner[a]));
      }
      const Positions side{*centroids.x, centroids.norms, members[to]};
      const auto size = static_cast<int64_t>(members[to].size());
      each_coded(side, 0, size, [&](int64_t, const Coded& coded) {
        const double step = static_cast<double>(coded.row.step);
        const double own = step * steps_[to] * static_cast<double>(coded.products[to]);
        const double tau = static_cast<double>(coded.row.rounding);
        for (int64_t a = 0; a < count; ++a) {
          const double other = step * steps_[a] * static_cast<double>(coded.products[a]);
          least[a] = std::min(least[a], own - other - tau * apart[a]);
        }
      });
      if (all[to]) std::fill(least.begin(), least.end(), -kInfinity);
    }
    for (int64_t a = 0; a < count; ++a) write_column(a, to, least[a], out.lines);
  });
  return out;
}

void Cells::write_column(int64_t from, int64_t to, double least, std::vector<float>& lines) const {
  const int64_t block = to / kBlockColumns * kBlockColumns;
  float* of = &lines[4 * (from * columns() + block) + to % kBlockColumns];
  of[3 * kBlockColumns] = kNeverReached;
  if (least == kInfinity) return;  // it has no centroids
  const double a = squares_[from], b = squares_[to], inner = inner_[from * count() + to];
  const double apart = std::sqrt(std::max(0.0, a + b - 2.0 * inner));
  of[3 * kBlockColumns] = kAlwaysReached;
  if (least == -kInfinity || !(apart > 1e-5 * (std::sqrt(a) + std::sqrt(b)))) return;
  // h_AB, and what fp64 may be off by.
  const double sizes = std::sqrt(a) + std::sqrt(b) + std::abs(least) / apart;
  const double h = (least - inner + a) / apart, off = 1e-9 * (sizes + (a + b) / apart);
  const double rest = (a - inner) / apart - h + off;
  of[0] = static_cast<float>(steps_[to] / apart);
  of[kBlockColumns] = static_cast<float>(1.0 / apart);
  of[2 * kBlockColumns] = up(kRounded * (std::sqrt(a) + std::sqrt(b)) / apart);
  of[3 * kBlockColumns] = up(rest + kRounded * std::abs(rest));
}

ScaledRow Cells::reaching(const ScaledRow& row, int64_t cell, int32_t product, double level) const {
  if (row.rest >= kAlwaysReached || cell < 0) return {0.0f, 0.0f, 0.0f, kAlwaysReached};
  const double r =
      std::sqrt(std::max(0.0, 2.0 * (most_ - level))) + static_cast<double>(row.rounding);
  const double own = static_cast<double>(row.step) * steps_[cell] * static_cast<double>(product);
  return {row.step, static_cast<float>(-own), row.length, up(r + kRounded * r)};
}

}  // namespace meddel

#include "ops/kmeans_compare.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "cpu/isa.h"
#include "screen/codes.h"

namespace meddel {
namespace {

constexpr int32_t kOut = -1'000'000'000;  // a sum that reaches nothing, as a rule

constexpr double kOutward = 0x1p-50;
constexpr double kUp = 0x1p-22;           // the same in fp32,
constexpr double kLeastFloat = 0x1p-148;  // whose subnormal numbers are off by less

}  // namespace

double distance_at_least(Metric metric, double score) {
  const double square = metric == Metric::kCosine ? 2.0 - 2.0 * score : -score;
  return std::sqrt(std::max(0.0, square)) * (1.0 - kOutward);
}

float rounded_down(double bound) {
  return static_cast<float>(std::clamp(bound * (1.0 - kUp) - kLeastFloat, -3e38, 3e38));
}

float rounded_up(double drift) {
  return drift == 0.0 ? 0.0f : static_cast<float>(drift * (1.0 + kUp) + kLeastFloat);
}

ScaledCodes::ScaledCodes(const Scaled& scaled, const ScanSide& side, int64_t bytes)
    : screen(scaled),
      rows(side),
      held(std::min(side.size(), bytes / scaled.width())),
      codes(static_cast<size_t>(held * scaled.width())),
      traits(static_cast<size_t>(held)),
      made(static_cast<size_t>(held), 0) {}

void NearestOfRow::take(int64_t p, int64_t q, double inner) {
  const double found = score(metric_, inner, x_.square(p), centroids_.square(q));
  const int64_t centroid = centroids_.rows[q];
  if (centroid == row_->label) return;
  if (found < row_->best || (found == row_->best && centroid > row_->label)) {
    row_->bar = std::max(row_->bar, found);
    return;
  }
  row_->left = std::max(row_->left, row_->best);
  row_->bar = std::max(row_->bar, row_->best);
  row_->best = found;
  row_->label = centroid;
  row_->own = q;
}

Comparer::Comparer(ScaledCodes& codes, const ScanSide& centroids, Metric metric)
    : codes_(codes),
      rows_(codes.rows),
      centroids_(centroids),
      metric_(metric),
      width_(codes.screen.width()),
      widen_(rows_.x->dtype == DType::kFloat32 ? nullptr
                                               : kernels().widen[static_cast<int>(rows_.x->dtype)]),
      nearest_(rows_, centroids_, metric),
      confirmer_(rows_, centroids_, nearest_),
      wide_(static_cast<size_t>(rows_.x->d)),
      code_(static_cast<size_t>(width_)),
      bytes_(static_cast<size_t>(kRows * width_)),
      some_(static_cast<size_t>(kRows * width_)),
      traits_(static_cast<size_t>(kRows)),
      none_(static_cast<size_t>(kRows), 0),
      sums_(static_cast<size_t>(kRows * kColumns)),
      bits_(static_cast<size_t>(kColumns)),
      found_(static_cast<size_t>(kColumns)) {}

double Comparer::truth(int64_t p, int64_t centroid) {
  const float* row = static_cast<const float*>(rows_.data(p));
  if (widen_ != nullptr) {
    widen_(rows_.data(p), rows_.x->d, wide_.data());
    row = wide_.data();
  }
  const double inner = kernels().dot[0](row, centroids_.x->row(centroid), rows_.x->d);
  return score(metric_, inner, rows_.square(p), centroids_.squares[centroid]);
}

// Puts a row's code where it is compared; it is made the first time, or if it cannot be held.
void Comparer::load(int64_t p, int64_t r) {
  const bool held = p < codes_.held;
  uint8_t* here = &bytes_[r * width_];
  uint8_t* to = held ? &codes_.codes[p * width_] : here;
  ScaledRow& traits = held ? codes_.traits[p] : traits_[r];
  if (!held || codes_.made[p] == 0) {
    traits = codes_.screen.encode(rows_.positions(), rows_.rows[p], wide_.data(), code_.data());
    const int32_t bias = kernels().bias;
    for (int64_t e = 0; e < width_; ++e) to[e] = static_cast<uint8_t>(code_[e] + bias);
  }
  if (!held) return;
  codes_.made[p] = 1;
  std::copy_n(to, width_, here);
  traits_[r] = traits;
}

void Comparer::load(std::vector<Compared*> rows) {
  constexpr size_t kAhead = 4;
  loaded_ = std::move(rows);
  for (size_t r = 0; r < loaded_.size(); ++r) {
    if (r + kAhead < loaded_.size() && loaded_[r + kAhead]->position < codes_.held) {
      fetch(&codes_.codes[loaded_[r + kAhead]->position * width_], width_);
    }
    load(loaded_[r]->position, static_cast<int64_t>(r));
  }
}

void Comparer::bounds(int64_t p, const ScaledColumns& columns, int64_t count,
                      std::vector<float>& out) {
  out.resize(static_cast<size_t>(round_up(count, kBlockColumns)));
  load(p, 0);
  const ScaledRow row = Scaled::below(traits_[0], codes_.screen.level(-kInfinity));
  for (int64_t tile = 0; tile < count; tile += kColumns) {
    const int64_t padded = round_up(std::min(kColumns, count - tile), kBlockColumns);
    kernels().scores(bytes_.data(), none_.data(), 4, &columns.packed[tile * width_],
                     &columns.start[tile], padded / kBlockColumns, width_, sums_.data(), kColumns);
    kernels().reach(sums_.data(), padded, row, &columns.traits[4 * tile], bits_.data());
    std::memcpy(&out[tile], bits_.data(), static_cast<size_t>(padded) * sizeof(float));
  }
}

void Comparer::sum(const uint8_t* bytes, int64_t rows, const Columns& columns) {
  kernels().scores(
      bytes, none_.data(), round_up(rows, 4), &columns.codes.packed[columns.begin * width_],
      &columns.codes.start[columns.begin], round_up(columns.count, kBlockColumns) / kBlockColumns,
      width_, sums_.data(), kColumns);
}

void Comparer::compare_near(const Columns& list, double room, float* bounds) {
  Compared& row = *loaded_[0];
  sum(bytes_.data(), 1, list);
  if (bounds == nullptr) row.bar = row.best;
  near(row, traits_[0], list, sums_.data());
  if (bounds == nullptr) {
    row.near = row.best;
    return;
  }
  // Those that the truth was worked out for are known better.
  const double second = distance_at_least(metric_, row.near);
  leave_out_own(row, list, sums_.data());
  reach(row, traits_[0], list, sums_.data());
  const double level = codes_.screen.level(row.bar);
  for (int64_t j = 0; j < kNear; ++j) {
    float reached;
    std::memcpy(&reached, &bits_[j], sizeof reached);
    const double far = distance_at_least(metric_, codes_.screen.score(reached, level));
    bounds[j] = rounded_down(std::max(far, second) - room);
  }
}

void Comparer::compare_far(const std::vector<uint8_t>& rows, const Columns& columns,
                           const std::vector<const std::vector<int64_t>*>& out) {
  const auto count = static_cast<int64_t>(rows.size());
  const uint8_t* bytes = bytes_.data();
  if (rows.back() != count - 1) {
    for (int64_t k = 0; k < count; ++k) {
      std::copy_n(&bytes_[rows[k] * width_], width_, &some_[k * width_]);
    }
    bytes = some_.data();
  }
  sum(bytes, count, columns);
  for (int64_t k = 0; k < count; ++k) {
    const int64_t r = rows[k];
    int32_t* sums = &sums_[k * kColumns];
    if (!out.empty()) {
      for (const int64_t q : *out[r]) {
        const int64_t column = columns.places[q] - columns.begin;
        if (column >= 0 && column < columns.count) sums[column] = kOut;
      }
    }
    far(*loaded_[r], traits_[r], columns, !out.empty(), sums);
    loaded_[r]->seen += columns.count;
  }
}

void Comparer::reach_cells(const CellsOfRows& cells, const Cells::Placed& placed,
                           std::vector<uint64_t>& wanted) {
  const auto rows = static_cast<int64_t>(loaded_.size()), columns = cells.cells.columns();
  const ScaledColumns& centres = cells.cells.centres();
  cell_sums_.resize(static_cast<size_t>(kRows * columns));
  kernels().scores(bytes_.data(), none_.data(), round_up(rows, 4), centres.packed.data(),
                   centres.start.data(), columns / kBlockColumns, width_, cell_sums_.data(),
                   columns);
  bits_.resize(std::max(bits_.size(), static_cast<size_t>(columns)));
  found_.resize(bits_.size());
  for (int64_t r = 0; r < rows; ++r) {
    Compared& row = *loaded_[r];
    const int32_t own = cells.own[row.position];
    const int32_t* sums = &cell_sums_[r * columns];
    kernels().reach(sums, columns,
                    cells.cells.reaching(traits_[r], own, own < 0 ? 0 : sums[own],
                                         codes_.screen.level(row.best)),
                    cells.cells.line(placed, std::max(own, 0)), bits_.data());
    const int32_t count = kernels().at_least(bits_.data(), columns, 0, found_.data());
    for (int32_t k = 0; k < count; ++k) wanted[found_[k]] |= uint64_t{1} << r;
    row.seen += columns;
  }
}

float Comparer::reach(const Compared& row, const ScaledRow& traits, const Columns& columns,
                      const int32_t* sums) {
  return kernels().reach(sums, round_up(columns.count, kBlockColumns),
                         Scaled::below(traits, codes_.screen.level(row.bar)),
                         &columns.codes.traits[4 * columns.begin], bits_.data());
}

void Comparer::leave_out_own(const Compared& row, const Columns& columns, int32_t* sums) const {
  if (row.own < 0) return;
  const int64_t column =
      columns.places != nullptr
          ? columns.places[row.own] - columns.begin
          : std::find(columns.positions, columns.positions + columns.count, row.own) -
                columns.positions;
  if (column >= 0 && column < columns.count) sums[column] = kOut;
}

// A candidate, if it is a column: bounds of a row of unlike size can be so high that what reaches
// nothing is reached, too.
void Comparer::add(const Columns& columns, int64_t column) {
  const int64_t q = column < columns.count ? columns.positions[column] : -1;
  if (q >= 0) confirmer_.add(q);
}

// Works out the column with the highest bound.
void Comparer::confirm_first(Compared& row, const Columns& columns) {
  const int64_t padded = round_up(columns.count, kBlockColumns);
  add(columns, kernels().highest(bits_.data(), padded));
  confirmer_.settle(row.position);
}

// And all that reach the bar.
void Comparer::confirm_all(Compared& row, const Columns& columns) {
  const int64_t padded = round_up(columns.count, kBlockColumns);
  const int32_t count = kernels().at_least(bits_.data(), padded, 0, found_.data());
  for (int32_t k = 0; k < count; ++k) add(columns, found_[k]);
  confirmer_.settle(row.position);
}

void Comparer::near(Compared& row, const ScaledRow& traits, const Columns& columns, int32_t* sums) {
  nearest_.begin(row);
  leave_out_own(row, columns, sums);
  if (reach(row, traits, columns, sums) >= 0.0f) {
    if (row.bar < row.best) {  // the most promising one first: it leaves few of the others
      confirm_first(row, columns);
      leave_out_own(row, columns, sums);
      reach(row, traits, columns, sums);
    }
    confirm_all(row, columns);
  }
  row.near = row.bar;
}

void Comparer::far(Compared& row, const ScaledRow& traits, const Columns& columns, bool bounded,
                   int32_t* sums) {
  nearest_.begin(row);
  row.bar = row.best;
  leave_out_own(row, columns, sums);
  float most = reach(row, traits, columns, sums);
  if (most >= 0.0f) {
    if (row.label < 0) {
      confirm_first(row, columns);
      row.bar = row.best;
      leave_out_own(row, columns, sums);
      reach(row, traits, columns, sums);
    }
    confirm_all(row, columns);
    if (!bounded) return;
    row.bar = row.best;
    leave_out_own(row, columns, sums);
    most = reach(row, traits, columns, sums);
  }
  if (bounded) {
    row.far = std::max(row.far, codes_.screen.score(most, codes_.screen.level(row.bar)));
  }
}

}  // namespace meddel

// The tiled all-pairs loop under similar_pairs, redundancy, top-k, k-means and the catching up of
// k-center: an operation says, per row, which columns count and which cosine it still cares for,
// and is handed every pair that reaches it, with the truth's inner product.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <numeric>
#include <optional>
#include <vector>

#include "cpu/isa.h"
#include "matrix.h"
#include "parallel.h"
#include "screen.h"

namespace meddel {

// Rows of a matrix in the order of a scan, with their norms: position p is row rows[p] of x.
struct ScanSide {
  const Matrix* x;
  std::vector<int64_t> rows;
  std::vector<double> squares;  // <x, x>, by row
  std::vector<double> norms;    // their roots

  int64_t size() const { return static_cast<int64_t>(rows.size()); }
  const void* data(int64_t p) const { return x->row(rows[p]); }
  double square(int64_t p) const { return squares[rows[p]]; }
  double norm(int64_t p) const { return norms[rows[p]]; }
  Positions positions() const { return {*x, norms, rows}; }
};

ScanSide make_side(Team& team, const Matrix& x, std::vector<int64_t> rows);

// All rows of x, in order.
ScanSide all_rows(Team& team, const Matrix& x);

// The least cosine at which a row c of norm within [least, greatest] can have a squared distance of
// `best` or less to the row at position p of x, in the truth's arithmetic.
double cosine_for_distance(const ScanSide& x, int64_t p, double best, double least,
                           double greatest);

// The columns [begin, end) of a row.
struct ColumnRange {
  int64_t begin;
  int64_t end;
};

// Scans x against y in bands of rows; a band belongs to one thread from start to end, so that an
// operation's state per row needs no locks. Operation must offer
//   ColumnRange range(int64_t p) const       columns of row p, fixed
//   double bar(int64_t p) const              cosines below it need not be handed over; may rise
//   void take(int64_t p, int64_t q, double inner)        once a pair, in any order
//   void finish_band(int64_t begin, int64_t end)         after the band's last pair
// What a screen leaves out has a cosine below the bar; what is handed over may still be below it.
// The elements of x and y are of one type, or those of y are fp32 (x is widened, exactly).
template <class Operation>
void scan_pairs(Team& team, const ScanSide& x, const ScanSide& y, Operation& operation);

namespace scan {

constexpr int64_t kTileRows = 128;
constexpr int64_t kTileColumns = 256;  // their codes, 16 KiB, stay in L1; 768 fp32 each in L2

constexpr int64_t kWarmUp = 16;  // columns that a row without a bar takes unscreened
// With more survivors a row of a tile than this (6 %), a tile goes to the dense screen, and so do
// the next ones without asking again.
constexpr int64_t kTooMany = 16;
constexpr int64_t kDenseTiles = 64;
constexpr int64_t kConfirmed = 4;  // candidates before a second look at the bar; then twice as many

// Rows a band: many for the sake of the columns' data, which a band reads once, few enough for all
// threads to have some.
int64_t band_rows(const ScanSide& x, int threads);

// The screens of a scan: none where it is too small to pay for them, dense alone where it is too
// small for a prefix.
struct Screening {
  const Screen* prefix = nullptr;
  const Screen* dense = nullptr;
  Codes y_codes;                                      // of prefix
  std::function<RowCodes(int64_t, int64_t)> x_codes;  // of prefix, for a band's rows
};

// A column that a row has to be worked out with, and an upper bound on their cosine.
struct Candidate {
  int64_t position;
  double bound;

  bool operator<(const Candidate& other) const { return bound > other.bound; }
};

// What one thread works in.
struct Workspace {
  Workspace(const Screening& screening, int64_t d);

  RowCodes prefix;  // of the band's rows
  RowCodes dense;   // likewise, made when first wanted
  Codes tile;       // dense codes of the columns of a tile, likewise
  int64_t tile_begin = -1;
  int64_t dense_tiles = 0;  // tiles to come that go to the dense screen at once
  std::vector<int32_t> starts;
  std::vector<uint16_t> columns;
  std::vector<int32_t> counts;
  std::vector<int64_t> warm;
  std::vector<Candidate> candidates;
  std::vector<int64_t> rows;
  std::vector<float> widened;
  std::vector<float> rough;
  std::vector<double> inner;
};

template <class Operation>
class Scanner {
 public:
  Scanner(Team& team, const ScanSide& x, const ScanSide& y, const Screening& screening,
          Operation& operation)
      : team_(team),
        x_(x),
        y_(y),
        operation_(operation),
        screening_(screening),
        widen_(x.x->dtype == y.x->dtype ? nullptr : kernels().widen[static_cast<int>(x.x->dtype)]),
        dots_(kernels().dots[static_cast<int>(y.x->dtype)]),
        rough_(kernels().rough_dots[static_cast<int>(y.x->dtype)]) {}

  // Columns near the band's own position come first: neighbours of a row (frames of a video, say)
  // raise its bar early.
  void band(int64_t begin, int64_t end, int worker) {
    const ColumnRange all = ranges(begin, end);
    const auto tile_of = [](int64_t q) { return q / kTileColumns * kTileColumns; };
    const int64_t first = tile_of(all.begin);
    const int64_t middle = std::clamp(tile_of(begin), first, tile_of(std::max(first, all.end - 1)));
    Workspace work(screening_, x_.x->d);
    if (screening_.prefix) work.prefix = screening_.x_codes(begin, end);
    for (int64_t tile = middle; tile < all.end; tile += kTileColumns) {
      team_.checkpoint(worker);
      columns(begin, end, tile, work);
    }
    for (int64_t tile = middle - kTileColumns; tile >= first; tile -= kTileColumns) {
      team_.checkpoint(worker);
      columns(begin, end, tile, work);
    }
    operation_.finish_band(begin, end);
  }

 private:
  // The columns from the first to the last of any of the rows.
  ColumnRange ranges(int64_t begin, int64_t end) const {
    ColumnRange all{y_.size(), 0};
    for (int64_t p = begin; p < end; ++p) {
      const ColumnRange range = operation_.range(p);
      if (range.begin >= range.end) continue;
      all = {std::min(all.begin, range.begin), std::max(all.end, range.end)};
    }
    return all.begin < all.end ? all : ColumnRange{0, 0};
  }

  void columns(int64_t begin, int64_t end, int64_t tile, Workspace& work) {
    for (int64_t p = begin; p < end; p += kTileRows) {
      const int64_t tile_end = std::min(end, p + kTileRows);
      const ColumnRange wanted = ranges(p, tile_end);
      if (tile + kTileColumns <= wanted.begin || tile >= wanted.end) continue;
      if (screening_.prefix || screening_.dense) {
        screened(begin, end, p, tile_end, tile, work);
      } else {
        for (int64_t row = p; row < tile_end; ++row) {
          confirm_all(row, tile, tile + kTileColumns, work);
        }
      }
    }
  }

  void screened(int64_t band, int64_t band_end, int64_t begin, int64_t end, int64_t tile,
                Workspace& work) {
    for (int64_t p = begin; p < end; ++p) work.warm[p - begin] = warm_up(p, tile, work);
    bool dense = screening_.prefix == nullptr || work.dense_tiles > 0;
    if (!dense) {
      apply(*screening_.prefix, work.prefix, begin - band, begin, end, screening_.y_codes, tile,
            tile, work);
      if (screening_.dense && survivors(end - begin, work) > kTooMany * (end - begin)) {
        work.dense_tiles = kDenseTiles;
        dense = true;
      }
    }
    if (dense) {
      --work.dense_tiles;
      if (work.dense.share.empty()) {
        work.dense = screening_.dense->encode_rows(x_.positions(), band, band_end);
      }
      if (work.tile_begin != tile) {
        work.tile = screening_.dense->encode(y_.positions(), tile,
                                             std::min(tile + kTileColumns, y_.size()));
        work.tile_begin = tile;
      }
      apply(*screening_.dense, work.dense, begin - band, begin, end, work.tile, 0, tile, work);
    }
    for (int64_t p = begin; p < end; ++p) confirm_survivors(p, p - begin, tile, work);
  }

  // Screens the rows [begin, end), whose codes stand from `first` on, against the columns of a
  // tile, whose codes stand from `code` on.
  void apply(const Screen& screen, const RowCodes& codes, int64_t first, int64_t begin, int64_t end,
             const Codes& y_codes, int64_t code, int64_t tile, Workspace& work) {
    const int64_t rows = (end - begin + 3) / 4 * 4;
    for (int64_t r = 0; r < rows; ++r) {
      const double bar = operation_.bar(std::min(begin + r, end - 1));
      work.starts[r] = screen.start(codes.share[first + r], bar);
    }
    const int64_t blocks =
        (std::min(kTileColumns, y_.size() - tile) + kBlockColumns - 1) / kBlockColumns;
    kernels().screen(&codes.bytes[first * screen.width()], work.starts.data(), rows,
                     &y_codes.packed[code * screen.width()], &y_codes.start[code], blocks,
                     screen.width(), work.columns.data(), kTileColumns, work.counts.data());
  }

  int64_t survivors(int64_t rows, const Workspace& work) const {
    return std::accumulate(work.counts.begin(), work.counts.begin() + rows, int64_t{0});
  }

  // A row without a bar yet takes the tile's first columns unseen, to get one. Returns where the
  // columns begin that are still to be looked at.
  int64_t warm_up(int64_t p, int64_t tile, Workspace& work) {
    if (operation_.bar(p) > -std::numeric_limits<double>::infinity()) return tile;
    confirm_all(p, tile, tile + kWarmUp, work);
    return tile + kWarmUp;
  }

  void confirm_all(int64_t p, int64_t begin, int64_t end, Workspace& work) {
    const ColumnRange range = operation_.range(p);
    int64_t count = 0;
    for (int64_t q = std::max(begin, range.begin); q < std::min(end, range.end); ++q) {
      work.candidates[count++].position = q;
    }
    settle(p, count, work);
  }

  void confirm_survivors(int64_t p, int64_t r, int64_t tile, Workspace& work) {
    const ColumnRange range = operation_.range(p);
    const int64_t low = std::max(range.begin, work.warm[r]);
    const uint16_t* found = &work.columns[r * kTileColumns];
    int64_t count = 0;
    for (int32_t k = 0; k < work.counts[r]; ++k) {
      const int64_t q = tile + found[k];
      work.candidates[count].position = q;
      count += q >= low && q < range.end;
    }
    settle(p, count, work);
  }

  // Hands work.candidates to the operation, but for those that an fp32 product puts below the bar.
  // The most similar ones, by that product, come first, as they raise the bar for the others.
  void settle(int64_t p, int64_t count, Workspace& work) {
    if (count == 0) return;
    const void* row = x_.data(p);
    if (widen_ != nullptr) {
      widen_(row, x_.x->d, work.widened.data());
      row = work.widened.data();
    }
    count = leave_rough(p, row, count, work);
    const auto begin = work.candidates.begin();
    int64_t step = kConfirmed;
    for (int64_t done = 0; done < count; step *= 2) {
      const int64_t end = std::min(count, done + step);
      if (end < count) std::nth_element(begin + done, begin + end, begin + count);
      confirm(p, row, done, end, work);
      count = drop_below(operation_.bar(p), end, count, work);
      done = end;
    }
  }

  // Works out the fp32 products and leaves the candidates that they do not put below the bar;
  // returns their number. |fl(<x, y>) - <x, y>| <= gamma_d |x||y| for any order of summation, as
  // long as nothing over- or underflows: hence the range of norms.
  int64_t leave_rough(int64_t p, const void* row, int64_t count, Workspace& work) {
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    const double n = static_cast<double>(x_.x->d + 8) * 0x1p-24, gamma = n / (1.0 - n);
    const double x = x_.norm(p), bar = operation_.bar(p);
    for (int64_t k = 0; k < count; ++k) {
      work.candidates[k].bound = kInfinity;
      work.rows[k] = y_.rows[work.candidates[k].position];
    }
    if (bar == -kInfinity || n > 0.5) return count;
    rough_(row, y_.x->data, y_.x->ld, work.rows.data(), count, y_.x->d, work.rough.data());
    for (int64_t k = 0; k < count; ++k) {
      const double norms = x * y_.norm(work.candidates[k].position);
      if (norms > 1e-25 && norms < 1e37) {
        work.candidates[k].bound = static_cast<double>(work.rough[k]) / norms + gamma;
      }
    }
    return drop_below(bar, 0, count, work);
  }

  // Drops those of the candidates [begin, end) whose bound is below the bar (with room for the
  // rounding of the bound itself and of the truth); returns the new end.
  int64_t drop_below(double bar, int64_t begin, int64_t end, Workspace& work) const {
    const double limit = bar - static_cast<double>(x_.x->d + 16) * 0x1p-52;
    const auto first = work.candidates.begin();
    const auto below = [limit](const Candidate& c) { return c.bound < limit; };
    return std::remove_if(first + begin, first + end, below) - first;
  }

  // Hands the truth of row p against work.candidates [begin, end) to the operation.
  void confirm(int64_t p, const void* row, int64_t begin, int64_t end, Workspace& work) {
    for (int64_t k = begin; k < end; ++k) {
      work.rows[k - begin] = y_.rows[work.candidates[k].position];
    }
    dots_(row, y_.x->data, y_.x->ld, work.rows.data(), end - begin, y_.x->d, work.inner.data());
    for (int64_t k = begin; k < end; ++k) {
      operation_.take(p, work.candidates[k].position, work.inner[k - begin]);
    }
  }

  Team& team_;
  const ScanSide& x_;
  const ScanSide& y_;
  Operation& operation_;
  const Screening& screening_;
  const WidenFn widen_;
  const DotsFn dots_;
  const RoughDotsFn rough_;
};

template <class Operation>
void run(Team& team, const ScanSide& x, const ScanSide& y, const Screening& screening,
         Operation& operation) {
  Scanner<Operation> scanner(team, x, y, screening, operation);
  team.run_range(x.size(), band_rows(x, team.size()),
                 [&](int64_t begin, int64_t end, int worker) { scanner.band(begin, end, worker); });
}

}  // namespace scan

template <class Operation>
void scan_pairs(Team& team, const ScanSide& x, const ScanSide& y, Operation& operation) {
  double pairs = 0.0;
  for (int64_t p = 0; p < x.size(); ++p) {
    const ColumnRange range = operation.range(p);
    pairs += static_cast<double>(std::max(int64_t{0}, range.end - range.begin));
  }
  const ScreenPlan plan = plan_screens(pairs, pairs / static_cast<double>(x.size()), x.x->d);
  scan::Screening screening;
  std::optional<Screen> prefix, dense;
  if (plan.prefix) {
    prefix = Screen::prefix(team, x.positions(), y.positions());
    screening.prefix = &*prefix;
    screening.y_codes = prefix->encode(team, y.positions());
    screening.x_codes = [&](int64_t begin, int64_t end) {
      return prefix->encode_rows(x.positions(), begin, end);
    };
  }
  if (plan.dense) {
    dense = Screen::dense(x.positions(), y.positions());
    screening.dense = &*dense;
  }
  scan::run(team, x, y, screening, operation);
}

}  // namespace meddel

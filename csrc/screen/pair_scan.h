// The tiled all-pairs loop under similar_pairs, redundancy, top-k, k-means and the catching up of
// k-center: an operation says, per row, which columns count and which score it still cares for,
// and is handed every pair that reaches it, with the truth's inner product.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

#include "base/confirm.h"
#include "base/parallel.h"
#include "base/sides.h"
#include "cpu/isa.h"
#include "screen/plan.h"
#include "screen/scan_screens.h"
#include "screen/scan_workspace.h"

namespace meddel {

// Scans x against y in bands of rows; a band belongs to one thread from start to end, so that an
// operation's state per row needs no locks. Operation must offer
//   static constexpr bool kRising                        whether bars rise as pairs are handed over
//   Metric metric() const
//   ColumnRange range(int64_t p) const                   columns of row p, fixed
//   bool counts(int64_t p, int64_t q) const              whether column q of these matters
//   double bar(int64_t p) const                          scores below it need not be handed over
//   void take(int64_t p, int64_t q, double inner)        once a pair, in any order
//   int64_t wanted(int64_t p) const                      pairs before a row has a bar, if it is not
//                                                        one; what counts is then what is taken
//   bool loses(int64_t p, int64_t q) const               if it tells: whether a pair at the bar,
//                                                        with such a column, changes nothing
//   void finish_band(int64_t begin, int64_t end)         after the band's last pair
// What a screen leaves out has a score below the bar; what is handed over may still be below it.
// The elements of x and y are of one type, or those of y are fp32 (x is widened, exactly).
template <class Operation>
void scan_pairs(Team& team, const ScanSide& x, const ScanSide& y, const scan::Screening& screening,
                Operation& operation);

namespace scan {

template <class Operation>
class Scanner {
 public:
  Scanner(Team& team, const ScanSide& x, const ScanSide& y, const Screening& screening,
          Operation& operation)
      : team_(team), x_(x), y_(y), operation_(operation), screening_(screening) {}

  void band(int64_t begin, int64_t end, int worker) {
    const ColumnRange all = ranges(begin, end);
    Workspace<Operation> work(screening_, x_, y_, operation_);
    if (screening_.prefix) work.prefix = screening_.x_codes(begin, end);
    if (screening_.prefix || screening_.dense) work.openings.open(begin, end);
    if (screening_.row_reach) measure_reach(begin, end, work);
    double lowest = lowest_bar(begin, end, work);
    for (const Tile& tile : tiles(begin, end, all, lowest, work)) {
      if (tile.reach < lowest) break;  // nor do those that follow
      team_.checkpoint(worker);
      columns(begin, end, tile, work);
      if (Operation::kRising && screening_.groups > 0) lowest = lowest_bar(begin, end, work);
    }
    work.openings.close_all();
    operation_.finish_band(begin, end);
  }

 private:
  ColumnRange ranges(int64_t begin, int64_t end) const {
    return all_ranges(operation_, begin, end, y_.size());
  }

  // The lowest bar of a band's rows that have columns.
  double lowest_bar(int64_t begin, int64_t end, const Workspace<Operation>& work) const {
    if (screening_.row_reach) {
      const float least = *std::min_element(work.wanted.begin(), work.wanted.end());
      return screening_.dense->score(static_cast<double>(least));
    }
    double lowest = kInfinity;
    for (int64_t p = begin; p < end; ++p) {
      const ColumnRange range = operation_.range(p);
      if (range.begin < range.end) lowest = std::min(lowest, bar(p, work));
    }
    return lowest;
  }

  double bar(int64_t p, const Workspace<Operation>& work) const {
    return work.openings.is_open(p) ? work.openings.bar(p) : operation_.bar(p);
  }

  // How high the rows of a band reach.
  void measure_reach(int64_t begin, int64_t end, Workspace<Operation>& work) const {
    work.rows = end - begin;
    work.dense = screening_.x_dense(begin, end);
    work.reach.resize(static_cast<size_t>(work.rows * screening_.groups));
    screening_.row_reach->measure(work.dense, &screening_.x_group[begin], work.rows, work.rows,
                                  work.reach.data());
    work.wanted.resize(static_cast<size_t>(work.rows));
    note_bars(begin, begin, end, work);
  }

  // Keeps the bars of some rows of a band for the look at their reach: never too high.
  void note_bars(int64_t band, int64_t begin, int64_t end, Workspace<Operation>& work) const {
    for (int64_t p = begin; p < end; ++p) {
      const ColumnRange range = operation_.range(p);
      const double exact =
          range.begin < range.end ? screening_.dense->wanted(bar(p, work)) : kInfinity;
      const float near = static_cast<float>(exact);
      const bool above = static_cast<double>(near) > exact;
      work.wanted[p - band] = above ? std::nextafter(near, -kInfinity) : near;
    }
  }

  static int64_t tile_of(int64_t q) { return q / kTileColumns * kTileColumns; }

  // The tiles of a band that reach its lowest bar, the most promising first, as they raise the
  // bars: by their groups, or those near the band's own position (frames of a video, say).
  std::vector<Tile> tiles(int64_t begin, int64_t end, const ColumnRange& all, double lowest,
                          const Workspace<Operation>& work) const {
    std::vector<Tile> out;
    const auto add = [&](int64_t tile) {
      const double reach =
          screening_.groups > 0 ? screening_.highest(begin, end, tile, tile_end(tile)) : kInfinity;
      if (reach >= lowest) out.push_back({tile, tile_end(tile), reach});
    };
    if (screening_.row_reach) {
      for (int64_t group = 0; group < screening_.groups; ++group) {
        const float* rows = &work.reach[group * work.rows];
        const float highest = *std::max_element(rows, rows + work.rows);
        const double reach = screening_.dense->score(static_cast<double>(highest));
        if (reach < lowest) continue;
        const int64_t last = std::min(all.end, screening_.y_begin[group + 1]);
        for (int64_t q = std::max(all.begin, screening_.y_begin[group]); q < last;) {
          const int64_t next = std::min(last, tile_of(q) + kTileColumns);
          out.push_back({q, next, reach});
          q = next;
        }
      }
      best_first(out);
      return out;
    }
    const int64_t first = tile_of(all.begin);
    const int64_t middle = std::clamp(tile_of(begin), first, tile_of(std::max(first, all.end - 1)));
    for (int64_t tile = middle; tile < all.end; tile += kTileColumns) add(tile);
    for (int64_t tile = middle - kTileColumns; tile >= first; tile -= kTileColumns) add(tile);
    if (screening_.groups > 0 && Operation::kRising) best_first(out);
    return out;
  }

  int64_t tile_end(int64_t tile) const { return std::min(tile + kTileColumns, y_.size()); }

  void columns(int64_t begin, int64_t end, const Tile& some, Workspace<Operation>& work) {
    const int64_t tile = tile_of(some.begin);
    for (int64_t p = begin; p < end; p += kTileRows) {
      const int64_t last = std::min(end, p + kTileRows);
      const ColumnRange wanted = ranges(p, last);
      const int64_t from = std::max(some.begin, wanted.begin), to = std::min(some.end, wanted.end);
      if (from >= to) continue;
      if (screening_.prefix || screening_.dense) {
        const int64_t skipped = (from - tile) / kBlockColumns * kBlockColumns;
        screened({begin, end, p, last, tile, from, skipped, to - tile - skipped}, work);
      } else {
        for (int64_t row = p; row < last; ++row) confirm_all(row, tile, work);
      }
    }
  }

  void screened(const Piece& piece, Workspace<Operation>& work) {
    std::fill(work.taken.begin(), work.taken.end(), uint8_t{0});
    int64_t wanted = choose_rows(piece, work);
    if (wanted > 0 && work.openings.any()) wanted -= open(piece, work);
    if (wanted == 0) return;
    if (screening_.row_reach && wanted <= piece.rows() / 4 && screen_few(piece, work)) return;
    screen_chosen(wanted, piece, work);
    if (screening_.row_reach) note_bars(piece.band, piece.begin, piece.end, work);
  }

  void screen_chosen(int64_t wanted, const Piece& piece, Workspace<Operation>& work) {
    bool dense = screening_.prefix == nullptr || work.dense_tiles > 0;
    if (!dense) {
      const int64_t first = piece.first();
      apply({*screening_.prefix, work.prefix,
             &screening_.y_codes->packed[first * screening_.prefix->width()],
             &screening_.y_codes->start[first]},
            piece, work);
      const int64_t left = survivors(piece, work);
      if (screening_.dense && left > kTooMany * static_cast<double>(wanted * piece.columns)) {
        work.dense_tiles = kDenseTiles;
        dense = true;
        choose_rows(piece, work);
      } else if (screening_.dense && left >= refined_from_) {
        refine(piece, work);
      }
    }
    if (dense) {
      --work.dense_tiles;
      apply(dense_codes(piece, work), piece, work);
    }
    for (int64_t p = piece.begin; p < piece.end; ++p) {
      confirm_survivors(p, p - piece.begin, piece, work);
    }
  }

  // Leaves of the prefix's survivors what survives the dense screen as well.
  void refine(const Piece& piece, Workspace<Operation>& work) {
    const ScreenCodes codes = dense_codes(piece, work);
    const int64_t width = codes.screen.width();
    if (work.unpacked_begin != piece.tile) {
      work.unpacked = work.tile_codes->unpack(width);
      work.unpacked_begin = piece.tile;
    }
    const int8_t* columns = &work.unpacked[piece.skipped * chunked(width)];
    for (int64_t r = 0; r < piece.rows(); ++r) {
      int32_t& count = work.counts[r];
      if (count == 0) continue;
      const int64_t p = piece.begin + r, at = p - piece.band;
      const int32_t start = codes.screen.start(codes.rows.share[at], operation_.bar(p));
      count = kernels().refine(&codes.rows.bytes[at * width], start, columns, codes.starts, width,
                               &work.columns[r * kTileColumns], count);
    }
  }

  ScreenCodes dense_codes(const Piece& piece, Workspace<Operation>& work) {
    if (work.dense.share.empty()) {
      work.dense = screening_.x_dense(piece.band, piece.band_end);
    }
    if (work.tile_begin != piece.tile) {
      work.tile_codes = &screening_.y_dense(piece.tile, work.tile);
      work.tile_begin = piece.tile;
    }
    return {*screening_.dense, work.dense,
            &work.tile_codes->packed[piece.skipped * screening_.dense->width()],
            &work.tile_codes->start[piece.skipped]};
  }

  // Marks the rows that have to look at a tile (starts 0, else never); returns their number.
  int64_t choose_rows(const Piece& piece, Workspace<Operation>& work) const {
    std::fill(work.starts.begin(), work.starts.end(), Screen::never());
    int64_t count = 0;
    if (screening_.row_reach) {
      const int64_t group = screening_.y_group[piece.from], at = piece.begin - piece.band;
      const float* reach = &work.reach[group * work.rows + at];
      const float* wanted = &work.wanted[at];
      for (int64_t r = 0; r < piece.rows(); ++r) {
        const bool chosen = reach[r] >= wanted[r] && !work.taken[r];
        work.starts[r] = chosen ? 0 : Screen::never();
        count += chosen ? 1 : 0;
      }
      return count;
    }
    for (int64_t p = piece.begin; p < piece.end;) {
      // Rows of one group are asked about together.
      int64_t next = piece.end;
      double reach = kInfinity;
      if (screening_.groups > 0) {
        const auto& group = screening_.x_group;
        for (next = p + 1; next < piece.end && group[next] == group[p];) ++next;
        reach = screening_.highest(p, next, piece.first(), piece.first() + piece.columns);
      }
      for (; p < next; ++p) {
        if (work.taken[p - piece.begin] || reach < bar(p, work)) continue;
        work.starts[p - piece.begin] = 0;
        ++count;
      }
    }
    return count;
  }

  // Has the open ones of the chosen rows look at a piece's columns; returns their number.
  int64_t open(const Piece& piece, Workspace<Operation>& work) {
    work.open.clear();
    for (int64_t p = piece.begin; p < piece.end; ++p) {
      const bool chosen = work.starts[p - piece.begin] != Screen::never();
      if (chosen && work.openings.is_open(p)) work.open.push_back(p);
    }
    if (work.open.empty()) return 0;
    const bool looked = work.openings.look(work.open, piece.from, piece.first() + piece.columns);
    for (const int64_t p : work.open) {
      if (screening_.row_reach) note_bars(piece.band, p, p + 1, work);
      if (!looked) continue;
      work.starts[p - piece.begin] = Screen::never();
      work.taken[p - piece.begin] = 1;
    }
    return looked ? static_cast<int64_t>(work.open.size()) : 0;
  }

  // Screens the chosen ones of a piece's rows. Rows without a bar take what they need from the tile
  // by the bounds' order at once.
  void apply(const ScreenCodes& codes, const Piece& piece, Workspace<Operation>& work) {
    const int64_t rows = (piece.rows() + 3) / 4 * 4, first = piece.begin - piece.band;
    const int64_t width = codes.screen.width();
    std::fill_n(work.counts.begin(), rows, 0);
    for (int64_t r = 0; r < rows; r += 4) {
      bool unseen = false;
      for (int64_t k = r; k < std::min(r + 4, piece.rows()); ++k) {
        if (work.starts[k] == Screen::never()) continue;
        const double bar = operation_.bar(piece.begin + k);
        const bool none = bar == -kInfinity;
        unseen = unseen || none;
        work.starts[k] = none ? kUnseen : codes.screen.start(codes.rows.share[first + k], bar);
      }
      if (!unseen) continue;
      kernels().scores(&codes.rows.bytes[(first + r) * width], &codes.rows.share[first + r], 4,
                       codes.packed, codes.starts, piece.blocks(), width, work.scores.data(),
                       kTileColumns);
      for (int64_t k = r; k < r + 4; ++k) {
        if (work.starts[k] != kUnseen) continue;
        work.starts[k] = Screen::never();
        work.taken[k] = 1;
        take_by_scores(codes.screen, piece.begin + k, &work.scores[(k - r) * kTileColumns], piece,
                       work);
      }
    }
    // Four rows at a time; runs of those that have one to look at.
    for (int64_t r = 0; r < rows;) {
      int64_t last = r;
      while (last < rows && !none_starts(&work.starts[last])) last += 4;
      if (last > r) {
        kernels().screen(&codes.rows.bytes[(first + r) * width], &work.starts[r], last - r,
                         codes.packed, codes.starts, piece.blocks(), width,
                         &work.columns[r * kTileColumns], kTileColumns, &work.counts[r]);
      }
      r = std::max(last, r + 4);
    }
  }

  // Screens a few chosen rows side by side by the dense screen, unless one has no bar; returns
  // whether it has.
  bool screen_few(const Piece& piece, Workspace<Operation>& work) {
    work.chosen.clear();
    for (int64_t r = 0; r < piece.rows(); ++r) {
      if (work.starts[r] == Screen::never()) continue;
      if (operation_.bar(piece.begin + r) == -kInfinity) return false;
      work.chosen.push_back(r);
    }
    if (work.chosen.empty()) return true;
    const ScreenCodes codes = dense_codes(piece, work);
    const int64_t width = codes.screen.width(), chosen = static_cast<int64_t>(work.chosen.size());
    const int64_t padded = (chosen + 3) / 4 * 4;
    work.chosen_bytes.resize(static_cast<size_t>(kTileRows * width));
    std::fill_n(work.starts.begin(), padded, Screen::never());
    for (int64_t k = 0; k < chosen; ++k) {
      const int64_t p = piece.begin + work.chosen[k], at = p - piece.band;
      std::copy_n(&codes.rows.bytes[at * width], width, &work.chosen_bytes[k * width]);
      work.starts[k] = codes.screen.start(codes.rows.share[at], operation_.bar(p));
    }
    kernels().screen(work.chosen_bytes.data(), work.starts.data(), padded, codes.packed,
                     codes.starts, piece.blocks(), width, work.columns.data(), kTileColumns,
                     work.counts.data());
    for (int64_t k = 0; k < chosen; ++k) {
      if (work.counts[k] == 0) continue;
      const int64_t p = piece.begin + work.chosen[k];
      confirm_survivors(p, k, piece, work);
      note_bars(piece.band, p, p + 1, work);
    }
    return true;
  }

  static constexpr int32_t kUnseen = std::numeric_limits<int32_t>::min();

  static bool none_starts(const int32_t* starts) {
    return std::all_of(starts, starts + 4, [](int32_t s) { return s == Screen::never(); });
  }

  double survivors(const Piece& piece, const Workspace<Operation>& work) const {
    const auto begin = work.counts.begin();
    return static_cast<double>(std::accumulate(begin, begin + piece.rows(), int64_t{0}));
  }

  // The best of the columns gives the row a bar, which leaves few of the others; where it takes
  // more to have one (the k best are wanted), all are confirmed in the order of their bounds.
  void take_by_scores(const Screen& screen, int64_t p, int32_t* scores, const Piece& piece,
                      Workspace<Operation>& work) {
    constexpr int32_t kOut = -1'200'000'000;  // below all sums of rows that count (bounds.h)
    const ColumnRange range = operation_.range(p);
    const int64_t first = piece.first(), columns = piece.blocks() * kBlockColumns;
    const int64_t begin = std::max(piece.from, range.begin);
    const int64_t end = std::min(first + piece.columns, range.end);
    if (begin >= end) return;
    std::fill(scores, scores + (begin - first), kOut);
    std::fill(scores + (end - first), scores + columns, kOut);
    int64_t best = first + kernels().highest(scores, columns);
    if (!operation_.counts(p, best)) {
      for (int64_t q = begin; q < end; ++q) {
        if (!operation_.counts(p, q)) scores[q - first] = kOut;
      }
      best = first + kernels().highest(scores, columns);
      if (scores[best - first] == kOut) return;
    }
    work.confirmer.add(best);
    work.confirmer.settle(p);
    const double bar = operation_.bar(p);
    if (bar == -kInfinity) {
      for (int64_t q = begin; q < end; ++q) {
        if (q == best || !operation_.counts(p, q)) continue;
        work.confirmer.add(q, screen.bound(scores[q - first]));
      }
    } else {
      const int32_t start = screen.start(0, bar);
      const int32_t count = kernels().at_least(scores, columns, start, work.columns.data());
      for (int32_t c = 0; c < count; ++c) {
        const int64_t q = first + work.columns[c];
        if (q != best && operation_.counts(p, q)) work.confirmer.add(q);
      }
    }
    work.confirmer.settle(p);
  }

  void confirm_all(int64_t p, int64_t tile, Workspace<Operation>& work) {
    const ColumnRange range = operation_.range(p);
    for (int64_t q = std::max(tile, range.begin); q < std::min(tile_end(tile), range.end); ++q) {
      if (operation_.counts(p, q)) work.confirmer.add(q);
    }
    work.confirmer.settle(p);
  }

  // Of the r-th of the rows that were screened.
  void confirm_survivors(int64_t p, int64_t r, const Piece& piece, Workspace<Operation>& work) {
    const ColumnRange range = operation_.range(p);
    const int64_t first = piece.first();
    const int64_t begin = std::max(piece.from, range.begin);
    const int64_t end = std::min(first + piece.columns, range.end);
    const uint16_t* found = &work.columns[r * kTileColumns];
    for (int32_t k = 0; k < work.counts[r]; ++k) {
      const int64_t q = first + found[k];
      if (q < begin || q >= end || !operation_.counts(p, q)) continue;
      work.confirmer.add(q);
    }
    work.confirmer.settle(p);
  }

  Team& team_;
  const ScanSide& x_;
  const ScanSide& y_;
  Operation& operation_;
  const Screening& screening_;
  const double refined_from_ = screens_forced() ? 1.0 : kRefined;
};

}  // namespace scan

template <class Operation>
void scan_pairs(Team& team, const ScanSide& x, const ScanSide& y, const scan::Screening& screening,
                Operation& operation) {
  scan::Scanner<Operation> scanner(team, x, y, screening, operation);
  team.run_range(x.size(), scan::band_rows(x, screening, team.most()),
                 [&](int64_t begin, int64_t end, int worker) { scanner.band(begin, end, worker); });
}

}  // namespace meddel

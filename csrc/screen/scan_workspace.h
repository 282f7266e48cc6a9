// What one thread of a scan (pair_scan.h) works in, and the parts that a scan is cut into.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/confirm.h"
#include "screen/opening.h"
#include "screen/scan_screens.h"

namespace meddel::scan {

// Where more than this share survives, a tile goes to the dense screen, and so do the next ones
// without asking again.
constexpr double kTooMany = 0.06;
constexpr int64_t kDenseTiles = 64;

// With at least as many survivors of the prefix, the rows of a tile are worth having the tile's
// dense codes one after the other (some 20 us, once a band), to look at the survivors alone.
constexpr double kRefined = 128.0;

// Rows a band: many for the sake of the columns' data, which a band reads once, few enough for all
// threads to have some, and of few groups.
inline int64_t band_rows(const ScanSide& x, const Screening& screening, int threads) {
  const int64_t share = x.size() / (16 * threads) / kTileRows * kTileRows;
  return std::clamp(share, kTileRows, (screening.groups > 0 ? 2 : 8) * kTileRows);
}

// A tile's columns, or those of one group where rows are told apart.
struct Tile {
  int64_t begin;
  int64_t end;
  double reach;  // the highest score of its columns and a band's rows
};

// The most promising ones first.
inline void best_first(std::vector<Tile>& tiles) {
  std::stable_sort(tiles.begin(), tiles.end(),
                   [](const Tile& a, const Tile& b) { return a.reach > b.reach; });
}

// Some rows of a band, and the columns of a tile that any of them wants; they begin `skipped`
// after the tile, a multiple of kBlockColumns.
struct Piece {
  int64_t band;
  int64_t band_end;
  int64_t begin;
  int64_t end;
  int64_t tile;
  int64_t from;  // the first of the columns that count
  int64_t skipped;
  int64_t columns;

  int64_t rows() const { return end - begin; }
  int64_t first() const { return tile + skipped; }
  int64_t blocks() const { return (columns + kBlockColumns - 1) / kBlockColumns; }
};

// The columns from the first to the last of any of some rows, of `columns`.
template <class Operation>
ColumnRange all_ranges(const Operation& operation, int64_t begin, int64_t end, int64_t columns) {
  ColumnRange all{columns, 0};
  for (int64_t p = begin; p < end; ++p) {
    const ColumnRange range = operation.range(p);
    if (range.begin >= range.end) continue;
    all = {std::min(all.begin, range.begin), std::max(all.end, range.end)};
  }
  return all.begin < all.end ? all : ColumnRange{0, 0};
}

// What one thread works in.
template <class Operation>
struct Workspace {
  Workspace(const Screening& screening, const ScanSide& x, const ScanSide& y, Operation& operation)
      : confirmer(x, y, operation), openings(x, y, operation, confirmer) {
    if (screening.prefix == nullptr && screening.dense == nullptr) return;
    starts.resize(static_cast<size_t>(kTileRows));
    taken.resize(static_cast<size_t>(kTileRows));
    scores.resize(static_cast<size_t>(4 * kTileColumns));
    columns.resize(static_cast<size_t>(kTileRows * kTileColumns));
    counts.resize(static_cast<size_t>(kTileRows));
  }

  RowCodes prefix;  // of the band's rows
  RowCodes dense;   // likewise, made when first wanted
  Codes tile;       // dense codes of the columns of a tile, likewise
  const Codes* tile_codes = nullptr;
  int64_t tile_begin = -1;
  std::vector<int8_t> unpacked;  // the same of the tile at unpacked_begin
  int64_t unpacked_begin = -1;
  int64_t dense_tiles = 0;  // tiles to come that go to the dense screen at once
  std::vector<int32_t> starts;
  std::vector<uint8_t> taken;  // rows that are done with the tile
  std::vector<int32_t> scores;
  std::vector<uint16_t> columns;
  std::vector<int32_t> counts;
  int64_t rows = 0;           // of the band
  std::vector<float> reach;   // by [group * rows + row]: what RowReach says
  std::vector<float> wanted;  // by row: the S (bounds.h) of its bar at most
  // The chosen ones of a tile's rows, where they are few, and their codes side by side.
  std::vector<int64_t> chosen;
  std::vector<uint8_t> chosen_bytes;
  std::vector<int64_t> open;  // rows
  Confirmer<Operation> confirmer;
  Openings<Operation> openings;
};

// Codes of a screen: of rows from the band's begin on, and of columns from a piece's first on.
struct ScreenCodes {
  const Screen& screen;
  const RowCodes& rows;
  const int8_t* packed;
  const int32_t* starts;
};

}  // namespace meddel::scan

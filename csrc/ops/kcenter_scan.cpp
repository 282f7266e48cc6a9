#include "ops/kcenter_scan.h"

#include <algorithm>
#include <memory>
#include <numeric>
#include <vector>

#include "base/confirm.h"
#include "cpu/isa.h"
#include "screen/bounds.h"

namespace meddel {
namespace {

constexpr int64_t kPieceRows = 128;
constexpr int64_t kBandRows = 8 * kPieceRows;  // use a tile's elements from L2
constexpr int64_t kTileColumns = 256;

// A row that has seen this share of a tile's columns or less before has a bar that leaves most of
// them: the best of them, by the screen's sums, comes first.
constexpr int64_t kLoose = 4;

// Below all sums of rows that count (bounds.h).
constexpr int32_t kOut = -1'200'000'000;

// Where the first screen's best column leaves so many others, it was not the best.
constexpr int32_t kVague = 24;

// With so many survivors of the first screen in a piece the second one pays, where the codes of the
// band's rows are there, or have to be made.
constexpr int32_t kRefined = 32, kMade = 1024;

constexpr int64_t kAhead = 2;            // rows whose elements are fetched ahead,
constexpr int64_t kFetchedBytes = 2048;  // so much of each,
constexpr int32_t kFetchedColumns = 3;   // with so many of their columns

class CentreScan {
 public:
  CentreScan(Team& team, const ScanSide& rows, const ScanSide& centres, CentreScreens& screens,
             CatchUp& operation)
      : team_(team),
        rows_(rows),
        centres_(centres),
        operation_(operation),
        first_(*screens.first),
        second_(screens.second.get()),
        screens_(screens),
        work_(static_cast<size_t>(team.most())),
        row_bytes_(std::min(kFetchedBytes, rows.x->row_bytes())) {}

  void run() {
    const int64_t share = (rows_.size() / (4 * team_.most()) + 3) / 4 * 4;
    team_.run_range(rows_.size(), std::clamp(share, int64_t{16}, kBandRows),
                    [&](int64_t begin, int64_t end, int worker) { band(begin, end, worker); });
  }

 private:
  // What one thread works in.
  struct Work {
    Work(const ScanSide& rows, const ScanSide& centres, CatchUp& operation)
        : columns(static_cast<size_t>(kPieceRows * kTileColumns)),
          scores(static_cast<size_t>(4 * kTileColumns)),
          starts(static_cast<size_t>(kPieceRows)),
          counts(static_cast<size_t>(kPieceRows)),
          confirmer(rows, centres, operation) {}

    RowCodes codes;    // of the first screen, of the band's rows
    RowCodes precise;  // of another one that is more precise, of the first of them, or none
    std::vector<uint16_t> columns;  // [row][found], from the piece's first on
    std::vector<int32_t> scores;
    std::vector<int32_t> starts;
    std::vector<int32_t> counts;
    std::vector<int64_t> left;  // rows of the piece with columns to look at
    scan::Confirmer<CatchUp> confirmer;
  };

  // Rows [begin, end) of a band and the columns [first, last), `first` a multiple of kBlockColumns.
  struct Piece {
    int64_t band;
    int64_t band_end;
    int64_t begin;
    int64_t end;
    int64_t first;
    int64_t last;

    int64_t rows() const { return end - begin; }
    int64_t columns() const { return last - first; }
    int64_t blocks() const { return (columns() + kBlockColumns - 1) / kBlockColumns; }
  };

  int64_t seen(int64_t p) const { return operation_.range(p).begin; }

  void band(int64_t begin, int64_t end, int worker) {
    if (!work_[worker]) work_[worker] = std::make_unique<Work>(rows_, centres_, operation_);
    Work& work = *work_[worker];
    work.codes = first_.rows()(&rows_.rows[begin], end - begin);
    work.precise = {};
    for (int64_t first = seen(begin) / kTileColumns * kTileColumns; first < centres_.size();
         first += kTileColumns) {
      team_.checkpoint(worker);
      const int64_t last = std::min(first + kTileColumns, centres_.size());
      int64_t some = end;
      while (some > begin && seen(some - 1) >= last) --some;
      for (int64_t p = begin; p < some; p += kPieceRows) {
        const int64_t from = std::max(first, seen(p) / kBlockColumns * kBlockColumns);
        piece({begin, end, p, std::min(some, p + kPieceRows), from, last}, work);
      }
    }
    operation_.finish_band(begin, end);
  }

  void piece(const Piece& piece, Work& work) {
    const int64_t rows = round_up(piece.rows(), 4), width = first_.screen().width();
    const int64_t at = piece.begin - piece.band;
    std::fill_n(work.counts.begin(), rows, 0);
    std::fill_n(work.starts.begin(), rows, Screen::never());
    for (int64_t r = 0; r < rows; r += 4) {
      bool loose[4] = {};
      for (int64_t k = r; k < std::min(r + 4, piece.rows()); ++k) {
        const int64_t p = piece.begin + k;
        const double bar = operation_.bar(p);
        const int64_t known = std::max(seen(p), piece.first);
        loose[k - r] = bar == -kInfinity || kLoose * known < piece.last - known;
        if (!loose[k - r]) work.starts[k] = first_.screen().start(work.codes.share[at + k], bar);
      }
      if (loose[0] || loose[1] || loose[2] || loose[3]) take_by_scores(piece, r, loose, work);
    }
    for (int64_t r = 0; r < rows; r += 4) {
      const int32_t* starts = &work.starts[r];
      if (std::all_of(starts, starts + 4, [](int32_t s) { return s == Screen::never(); })) continue;
      int32_t counts[4];
      kernels().screen(&work.codes.bytes[(at + r) * width], starts, 4, first_.codes(piece.first),
                       first_.starts(piece.first), piece.blocks(), width,
                       &work.columns[r * kTileColumns], kTileColumns, counts);
      for (int64_t k = 0; k < 4; ++k) {
        if (starts[k] != Screen::never()) work.counts[r + k] = counts[k];
      }
    }
    settle(piece, work);
  }

  // The codes of a screen other than the first of the band's first rows.
  const RowCodes& precise_codes(const CentreScreen& by, int64_t begin, int64_t end,
                                Work& work) const {
    if (work.precise.size() == 0) work.precise = by.rows()(&rows_.rows[begin], end - begin);
    return work.precise;
  }

  // Confirms the best of the columns of some of four rows of a piece, from row r on, which gives
  // them a bar, and lists those that this leaves.
  void take_by_scores(const Piece& piece, int64_t r, const bool* chosen, Work& work) {
    const CentreScreen& by = piece.first == 0 ? screens_.precise() : first_;
    const int64_t width = by.screen().width(), columns = piece.blocks() * kBlockColumns;
    const bool own = &by == &first_;
    const RowCodes& rows = own ? work.codes : precise_codes(by, piece.band, piece.band_end, work);
    const int64_t at = piece.begin - piece.band + r;
    const uint8_t* bytes = &rows.bytes[at * width];
    const int32_t* share = &rows.share[at];
    const int8_t* codes = own ? by.codes(piece.first) : by.beginning();
    kernels().scores(bytes, share, 4, codes, by.starts(piece.first), piece.blocks(), width,
                     work.scores.data(), kTileColumns);
    int32_t left = 0, count = 0;
    for (int64_t k = 0; k < 4; ++k) {
      if (!chosen[k]) continue;
      int32_t* scores = &work.scores[k * kTileColumns];
      const int64_t p = piece.begin + r + k;
      std::fill(scores, scores + std::max(int64_t{0}, seen(p) - piece.first), kOut);
      std::fill(scores + piece.columns(), scores + columns, kOut);
      const int64_t best = kernels().highest(scores, columns);
      work.confirmer.add(piece.first + best);
      work.confirmer.settle(p);
      scores[best] = kOut;
      work.counts[r + k] =
          kernels().at_least(scores, columns, by.screen().start(0, operation_.bar(p)),
                             &work.columns[(r + k) * kTileColumns]);
      left += work.counts[r + k];
      ++count;
    }
    if (own && left > kVague * count) screens_.first_is_precise = false;
  }

  // Hands what the screens leave to the confirmer; what that reads is fetched some rows ahead.
  void settle(const Piece& piece, Work& work) {
    if (second_ != nullptr) refine(piece, work);
    work.left.clear();
    for (int64_t r = 0; r < piece.rows(); ++r) {
      if (work.counts[r] > 0) work.left.push_back(r);
    }
    const int64_t count = static_cast<int64_t>(work.left.size());
    for (int64_t k = 0; k < std::min(kAhead, count); ++k) fetch(piece, work.left[k], work);
    for (int64_t k = 0; k < count; ++k) {
      if (k + kAhead < count) fetch(piece, work.left[k + kAhead], work);
      const int64_t r = work.left[k], p = piece.begin + r, from = seen(p);
      const uint16_t* found = &work.columns[r * kTileColumns];
      for (int32_t c = 0; c < work.counts[r]; ++c) {
        if (piece.first + found[c] >= from) work.confirmer.add(piece.first + found[c]);
      }
      work.confirmer.settle(p);
    }
  }

  // Leaves what survives the second screen as well, where that pays.
  void refine(const Piece& piece, Work& work) {
    const auto counts = work.counts.begin();
    const int32_t found = std::accumulate(counts, counts + piece.rows(), 0);
    if (found < (work.precise.size() > 0 ? kRefined : kMade)) return;
    const Screen& screen = second_->screen();
    const RowCodes& codes = precise_codes(*second_, piece.band, piece.band_end, work);
    for (int64_t r = 0; r < piece.rows(); ++r) {
      if (work.counts[r] == 0) continue;
      const int64_t at = piece.begin - piece.band + r;
      const int32_t start = screen.start(codes.share[at], operation_.bar(piece.begin + r));
      work.counts[r] =
          kernels().refine(&codes.bytes[at * screen.width()], start, second_->codes(piece.first),
                           second_->starts(piece.first), screen.width(),
                           &work.columns[r * kTileColumns], work.counts[r]);
    }
  }

  void fetch(const Piece& piece, int64_t r, const Work& work) const {
    meddel::fetch(rows_.data(piece.begin + r), row_bytes_);
    const int32_t some = std::min(work.counts[r], kFetchedColumns);
    for (int32_t c = 0; c < some; ++c) {
      const int64_t column = piece.first + work.columns[r * kTileColumns + c];
      meddel::fetch(centres_.data(column), row_bytes_);
    }
  }

  Team& team_;
  const ScanSide& rows_;
  const ScanSide& centres_;
  CatchUp& operation_;
  const CentreScreen& first_;
  const CentreScreen* second_;
  CentreScreens& screens_;
  std::vector<std::unique_ptr<Work>> work_;  // by thread
  const int64_t row_bytes_;
};

}  // namespace

void catch_up_by_screens(Team& team, const ScanSide& rows, const ScanSide& centres, Metric metric,
                         CentreScreens& screens, Bounds& bounds) {
  screens.extend(centres);
  CatchUp operation(rows, centres, metric, bounds);
  CentreScan(team, rows, centres, screens, operation).run();
}

}  // namespace meddel

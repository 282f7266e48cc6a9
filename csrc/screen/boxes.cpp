#include "screen/boxes.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "cpu/isa.h"

namespace meddel {
namespace {

constexpr int64_t kLeastRows = 256;    // of a bucket at most, for up to 2^18 rows,
constexpr int64_t kMostRows = 1024;    // and for more than 2^20
constexpr int kMostBits = 11;          // cells at a time: 2,048 streams of writes, within L2
constexpr int64_t kPieceRows = 1024;   // widened at a time
constexpr int64_t kCheckRows = 65536;  // between looks at whether to go on

// A centre costs a look at each box, and work on the rows of a few: least where both are alike,
// which is at about the root of the number of rows.
int64_t most_rows(int64_t n) {
  int64_t most = kLeastRows;
  while (most < kMostRows && 4 * most * most < n) most *= 2;
  return most;
}

// fp32 and not below it, where 2^-24 of it and 2^-150 do not matter.
float rounded(double value) {
  constexpr float kMost = std::numeric_limits<float>::max();
  return value > static_cast<double>(kMost) ? std::numeric_limits<float>::infinity()
                                            : static_cast<float>(value);
}

template <int kD>
struct Point {
  float x[kD];
  int32_t row;
};

template <int kD>
struct Corners {
  float low[kD];
  float high[kD];

  Corners() {
    std::fill(low, low + kD, std::numeric_limits<float>::infinity());
    std::fill(high, high + kD, -std::numeric_limits<float>::infinity());
  }

  void add(const float* x) {
    for (int e = 0; e < kD; ++e) {
      low[e] = x[e] < low[e] ? x[e] : low[e];
      high[e] = x[e] > high[e] ? x[e] : high[e];
    }
  }
};

// A box cut into 2^bits cells that are about as wide as high, numbered in Morton order: halved
// where they are longest, again and again. The numbers of the cells of the corners differ.
template <int kD>
class Cells {
 public:
  Cells(const Corners<kD>& box, int bits) : bits_(bits) {
    double length[kD];
    int count[kD] = {};
    int place[kD][kMostBits];
    for (int e = 0; e < kD; ++e) {
      low_[e] = static_cast<double>(box.low[e]);
      length[e] = static_cast<double>(box.high[e]) - low_[e];
    }
    for (int bit = bits - 1; bit >= 0; --bit) {
      const auto e = std::max_element(length, length + kD) - length;
      place[e][count[e]++] = bit;
      length[e] /= 2.0;
    }
    for (int e = 0; e < kD; ++e) {
      most_[e] = (1 << count[e]) - 1;
      scale_[e] = count[e] == 0 ? 0.0 : 1.0 / length[e];
      for (int k = 0; k <= most_[e]; ++k) {
        spread_[e][k] = 0;
        for (int b = 0; b < count[e]; ++b) {
          spread_[e][k] |= static_cast<uint16_t>((k >> (count[e] - 1 - b) & 1) << place[e][b]);
        }
      }
    }
  }

  int64_t count() const { return int64_t{1} << bits_; }

  uint16_t operator()(const float* x) const {
    uint16_t cell = 0;
    for (int e = 0; e < kD; ++e) {
      const int k = static_cast<int>((static_cast<double>(x[e]) - low_[e]) * scale_[e]);
      cell |= spread_[e][std::min(k, most_[e])];
    }
    return cell;
  }

 private:
  const int bits_;
  double low_[kD];
  double scale_[kD];
  int most_[kD];
  uint16_t spread_[kD][1 << kMostBits];
};

// Rows in the order of their cells, and within crowded cells in that of smaller ones; cut into
// pieces of at most `most` rows, each a cell or one of two, four, eight ... that share a box.
// Pieces of any few cells in a row are as large but of odd shapes: up to 1.5 times as slow.
template <int kD>
class Sorter {
 public:
  Sorter(Team& team, const Matrix& x, int64_t most)
      : points(new Point<kD>[static_cast<size_t>(x.n)]), team_(team), most_(most) {
    from_matrix(x);
    close(x.n);
  }

  std::unique_ptr<Point<kD>[]> points;
  std::vector<int64_t> ends;  // of pieces

 private:
  // The rows, widened, one after the other: take(row, elements).
  template <class Take>
  void each(const Matrix& x, const Take& take) {
    const WidenFn widen = kernels().widen[static_cast<int>(x.dtype)];
    float piece[kPieceRows * kD];
    for (int64_t begin = 0; begin < x.n; begin += kPieceRows) {
      const int64_t end = std::min(x.n, begin + kPieceRows);
      if (x.ld == kD) {
        widen(x.row(begin), (end - begin) * kD, piece);
      } else {
        for (int64_t i = begin; i < end; ++i) widen(x.row(i), kD, piece + (i - begin) * kD);
      }
      for (int64_t i = begin; i < end; ++i) take(i, piece + (i - begin) * kD);
      checkpoint(end - begin);
    }
  }

  template <class Take>
  void each(int64_t begin, int64_t end, const Take& take) {
    for (int64_t from = begin; from < end; from += kPieceRows) {
      const int64_t to = std::min(end, from + kPieceRows);
      for (int64_t i = from; i < to; ++i) take(i - begin, points[i].x);
      checkpoint(to - from);
    }
  }

  void checkpoint(int64_t rows) {
    looked_at_ += rows;
    if (looked_at_ < kCheckRows) return;
    looked_at_ = 0;
    team_.checkpoint(0);
  }

  // Cells of so many rows, about half as many in each as a piece may have; returns where each one
  // begins, and the end, or nothing if all rows are equal. `all` is one of the functions above.
  template <class Each>
  std::vector<int64_t> count_cells(int64_t count, const Each& all) {
    Corners<kD> box;
    all([&](int64_t, const float* x) { box.add(x); });
    if (std::equal(box.low, box.low + kD, box.high)) return {};
    int bits = 1;
    while (bits < kMostBits && most_ << bits < 2 * count) ++bits;
    // Not on the stack, where split, which calls itself, may come to hold it.
    const auto cells = std::make_unique<const Cells<kD>>(box, bits);
    std::vector<int64_t> begin(static_cast<size_t>(cells->count() + 1), 0);
    cell_.resize(static_cast<size_t>(count));
    all([&](int64_t i, const float* x) {
      cell_[i] = (*cells)(x);
      ++begin[cell_[i] + 1];
    });
    for (size_t c = 1; c < begin.size(); ++c) begin[c] += begin[c - 1];
    return begin;
  }

  void from_matrix(const Matrix& x) {
    const auto all = [&](const auto& take) { each(x, take); };
    std::vector<int64_t> begin, next;
    if (x.n > most_) begin = count_cells(x.n, all);
    next = begin;
    all([&](int64_t i, const float* row) {
      Point<kD>& point = points[begin.empty() ? i : next[cell_[i]]++];
      std::copy(row, row + kD, point.x);
      point.row = static_cast<int32_t>(i);
    });
    finish(0, x.n, begin);
  }

  void split(int64_t from, int64_t to) {
    const auto all = [&](const auto& take) { each(from, to, take); };
    const std::vector<int64_t> begin = count_cells(to - from, all);
    if (!begin.empty()) {
      std::vector<int64_t> next = begin;
      if (spare_size_ < to - from) {
        spare_size_ = to - from;
        spare_.reset(new Point<kD>[static_cast<size_t>(spare_size_)]);
      }
      all([&](int64_t i, const float*) { spare_[next[cell_[i]]++] = points[from + i]; });
      std::copy(&spare_[0], &spare_[to - from], &points[from]);
    }
    finish(from, to, begin);
  }

  // Makes pieces of the rows [from, to) of cells that begin at from + begin[...].
  void finish(int64_t from, int64_t to, const std::vector<int64_t>& begin) {
    if (!begin.empty()) return merge(from, begin, 0, static_cast<int64_t>(begin.size()) - 1);
    for (int64_t end = from + most_; end < to; end += most_) close(end);
    close(to);
  }

  // The same of a cell's halves, halves of halves and so on, so that each piece is such a part: of
  // the 2^b cells from `cell` on.
  void merge(int64_t from, const std::vector<int64_t>& begin, int64_t cell, int64_t cells) {
    const int64_t first = from + begin[cell], last = from + begin[cell + cells];
    if (last - first <= most_) return close(last);
    if (cells == 1) return split(first, last);
    merge(from, begin, cell, cells / 2);
    merge(from, begin, cell + cells / 2, cells / 2);
  }

  // Ends a piece, unless it would be empty.
  void close(int64_t end) {
    if (end == closed_) return;
    ends.push_back(end);
    closed_ = end;
  }

  Team& team_;
  const int64_t most_;
  int64_t closed_ = 0;  // the end of the last piece
  int64_t looked_at_ = 0;
  std::vector<uint16_t> cell_;
  std::unique_ptr<Point<kD>[]> spare_;
  int64_t spare_size_ = 0;
};

template <int kD>
void fill(const Point<kD>* points, int64_t count, Box& box, float* x, double* squares,
          int32_t* rows) {
  Corners<kD> corners;
  for (int64_t i = 0; i < box.count; ++i) {
    for (int e = 0; e < kD; ++e) x[e * box.count + i] = i < count ? points[i].x[e] : 0.0f;
    rows[i] = i < count ? points[i].row : -1;
    if (i < count) corners.add(points[i].x);
  }
  std::copy(corners.low, corners.low + kD, box.low);
  std::copy(corners.high, corners.high + kD, box.high);
  box.most_square = 0.0;
  for (int64_t i = 0; i < box.count; ++i) {  // in the truth's order
    double s[kNarrow] = {};
    for (int e = 0; e < kD; ++e) {
      const double value = static_cast<double>(x[e * box.count + i]);
      s[e] = value * value;
    }
    squares[i] = ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
    box.most_square = std::max(box.most_square, squares[i]);
  }
}

template <int kD>
void build(Team& team, const Matrix& x, Boxes& out) {
  const Sorter<kD> sorted(team, x, most_rows(x.n));
  int64_t begin = 0;
  for (const int64_t end : sorted.ends) {
    const int64_t count = (end - begin + 15) / 16 * 16;
    out.boxes.push_back({{}, {}, 0.0, out.positions, count});
    out.positions += count;
    begin = end;
  }
  const auto positions = static_cast<size_t>(out.positions);
  out.columns.reset(new float[positions * kD]);
  out.squares.reset(new double[positions]);
  out.rows.reset(new int32_t[positions]);
  team.run_range(out.size(), 64, [&](int64_t from, int64_t to, int) {
    for (int64_t b = from; b < to; ++b) {
      Box& box = out.boxes[b];
      const int64_t first = b == 0 ? 0 : sorted.ends[b - 1];
      fill(&sorted.points[first], sorted.ends[b] - first, box, &out.columns[box.begin * kD],
           &out.squares[box.begin], &out.rows[box.begin]);
    }
  });
}

}  // namespace

Boxes::Boxes(Team& team, const Matrix& x) : d(x.d) {
  using Build = void (*)(Team&, const Matrix&, Boxes&);
  constexpr Build builds[kNarrow] = {build<1>, build<2>, build<3>, build<4>,
                                     build<5>, build<6>, build<7>, build<8>};
  builds[d - 1](team, x, *this);
}

float limit_of(const Box& box, double farthest) {
  return rounded((1.0 + 0x1p-18) * (farthest + 0x1p-48 * box.most_square) + 0x1p-139);
}

}  // namespace meddel

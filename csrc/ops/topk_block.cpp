#include "ops/topk_block.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <utility>

#include "base/truth.h"
#include "cpu/isa.h"
#include "ops/candidate_order.h"

namespace meddel {
namespace {

constexpr int64_t kBand = 32;      // rows whose scores are worked out at once,
constexpr int64_t kPanel = 2048;   // with so many columns at most: 256 KiB of scores
constexpr int64_t kSomeTruth = 4;  // columns confirmed at first, and twice those wanted
constexpr int64_t kRanked = 32;    // columns put into order by counting, at most

// One set of wide rows has each score once, where all of them take little room.
constexpr int64_t kWideRow = 64;
constexpr int64_t kWhole = 1024;  // rows: 4 MiB

// Fills the scores of the rows [begin, end) with the columns before their part from where these are
// rows, a few lines of memory at a time.
void mirror(int64_t begin, int64_t end, int64_t stride, int32_t* scores) {
  constexpr int64_t kSome = 16;
  const int64_t before = begin / Block::kPart * Block::kPart;
  for (int64_t first = 0; first < before; first += kSome) {
    for (int64_t p = begin; p < end; ++p) {
      for (int64_t c = first; c < first + kSome; ++c)
        scores[p * stride + c] = scores[c * stride + p];
    }
  }
}

}  // namespace

// What one thread works in.
struct BlockBest::Work {
  std::vector<int32_t> scores;
  std::vector<int32_t> highest;
  std::vector<uint16_t> found = std::vector<uint16_t>(kPanel + 16);
  std::vector<int32_t> products;
  std::vector<double> bounds;
  std::vector<double> known;
  std::vector<int64_t> listed;
  std::vector<double> similarity;
  std::vector<Candidate> candidates;
  CandidateOrder order;
};

BlockBest::BlockBest(const BlockScreen& screen, const ScanSide& x, const ScanSide& y,
                     const BestRows& rows)
    : screen_(screen),
      x_(x),
      y_(y),
      rows_(rows),
      least_score_(-screen.start(-1.0)),
      most_known_(-screen.start(BlockScreen::kKnown) - 1),
      best_{std::vector<double>(static_cast<size_t>(x.x->n * rows.most())),
            std::vector<int64_t>(static_cast<size_t>(x.x->n * rows.most()))},
      count_(static_cast<size_t>(x.x->n), 0) {}

TopK BlockBest::scan(Team& team) {
  Block block(screen_, x_, y_);
  block.reset({0, x_.size()}, {0, y_.size()});
  team.run(block.parts(), [&](int64_t part, int) { block.fill(part); });
  team.announce(0, x_.x->n, x_.x->n);
  const int64_t n = x_.size(), stride = round_up(n, Block::kPart);
  std::unique_ptr<int32_t[]> all;
  if (rows_.one_side() && !screen_.fine() && x_.x->d >= kWideRow && n <= kWhole) {
    all.reset(new int32_t[static_cast<size_t>(round_up(n, 4) * stride)]);
    team.run_range(n, kBand, [&](int64_t begin, int64_t end, int) {
      const int64_t first = begin / Block::kPart * Block::kPart;
      block.scores(begin, end, first, n, &all[begin * stride + first], stride);
    });
  }
  std::vector<std::unique_ptr<Work>> works(static_cast<size_t>(team.most()));
  team.run_range(n, kBand, [&](int64_t begin, int64_t end, int worker) {
    auto& work = works[static_cast<size_t>(worker)];
    if (!work) work = std::make_unique<Work>();
    if (all) {
      mirror(begin, end, stride, all.get());
      for (int64_t p = begin; p < end; ++p) row(block, p, {0, n, stride}, &all[p * stride], *work);
    } else {
      band(block, begin, end, *work);
    }
  });
  if (rows_.as_they_are()) return std::move(best_);
  return rows_.result([this](int64_t row, int64_t c) {
    const size_t at = static_cast<size_t>(row * rows_.most() + c);
    return Candidate{best_.similarity[at], best_.indices[at]};
  });
}

void BlockBest::band(const Block& block, int64_t begin, int64_t end, Work& work) {
  const int64_t columns = y_.size(), stride = std::min(kPanel, round_up(columns, Block::kPart));
  work.scores.resize(static_cast<size_t>(kBand * stride));
  for (int64_t first = 0; first < columns; first += kPanel) {
    const int64_t last = std::min(columns, first + kPanel);
    const Panel panel{first, last, round_up(last - first, Block::kPart)};
    block.scores(begin, end, first, last, work.scores.data(), stride);
    for (int64_t p = begin; p < end; ++p) {
      row(block, p, panel, &work.scores[(p - begin) * stride], work);
    }
  }
}

void BlockBest::row(const Block& block, int64_t p, const Panel& panel, int32_t* scores,
                    Work& work) {
  const int64_t wanted = rows_.wanted(p), at = x_.rows[p];
  double bar = -kInfinity;
  if (count_[at] == wanted) {
    const int64_t last = at * rows_.most() + wanted - 1;
    bar = best_.similarity[last];
    if (bar == 1.0 && best_.indices[last] < y_.rows[panel.first]) return;
  }
  std::fill(scores + (panel.last - panel.first), scores + panel.padded, screen_.out());
  if (rows_.one_side() && p >= panel.first && p < panel.last && !rows_.counts(p, p)) {
    scores[p - panel.first] = screen_.out();
  }
  if (bar == -kInfinity) bar = first_bar(block, p, panel, scores, work);
  confirm(p, panel, list(block, p, panel, scores, bar, work), work);
}

// What the wanted best columns of a panel have at least; -infinity where there are not so many of
// which anything is known.
double BlockBest::first_bar(const Block& block, int64_t p, const Panel& panel,
                            const int32_t* scores, Work& work) const {
  const int32_t least = kth_score(rows_.wanted(p), panel, scores, work);
  if (least == kNoScore) return -kInfinity;
  if (!screen_.fine()) return screen_.bound(least) - screen_.width();
  const int32_t count = kernels().at_least(scores, panel.padded, -least, work.found.data());
  return fine_bar(block, p, panel, scores, count, work);
}

// A score that so many columns have at least of which something is known, and few more; kNoScore
// where there are fewer. The highest of lots of columns will do, where these are many.
int32_t BlockBest::kth_score(int64_t wanted, const Panel& panel, const int32_t* scores,
                             Work& work) const {
  constexpr int64_t kLots = 4;  // for each of those wanted
  const int64_t columns = panel.padded, blocks = columns / kApart;
  const int64_t pieces = (kLots * wanted + kApart - 1) / kApart;
  int64_t count = columns;
  if (2 * pieces <= blocks) {
    count = pieces * kApart;
    work.highest.resize(static_cast<size_t>(count));
    int32_t most = kNoScore;
    for (int64_t k = 0; k < pieces; ++k) {
      const int64_t first = k * blocks / pieces, last = (k + 1) * blocks / pieces;
      most =
          std::max(most, kernels().highest_apart(scores + first * kApart, (last - first) * kApart,
                                                 &work.highest[k * kApart]));
    }
    scores = work.highest.data();
    if (wanted == 1 && most >= least_score_ && most <= most_known_) return most;
    if (most <= most_known_) return kernels().kth_highest(scores, count, wanted, least_score_);
  }
  const int64_t unknown =
      std::count_if(scores, scores + count, [this](int32_t score) { return score > most_known_; });
  return wanted + unknown > count
             ? kNoScore
             : kernels().kth_highest(scores, count, wanted + unknown, least_score_);
}

// What the wanted best of the columns found have at least.
double BlockBest::fine_bar(const Block& block, int64_t p, const Panel& panel, const int32_t* scores,
                           int32_t count, Work& work) const {
  block.bounds(p, panel.first, work.found.data(), scores, count, work.products, work.bounds);
  work.known.clear();
  for (int32_t c = 0; c < count; ++c) {
    if (work.bounds[c] <= BlockScreen::kKnown) work.known.push_back(work.bounds[c]);
  }
  const int64_t wanted = rows_.wanted(p);
  if (static_cast<int64_t>(work.known.size()) < wanted) return -kInfinity;
  const auto kth = work.known.begin() + wanted - 1;
  std::nth_element(work.known.begin(), kth, work.known.end(), std::greater<double>());
  return *kth - screen_.width();
}

// Finds the columns that may reach the bar; returns their number.
int64_t BlockBest::list(const Block& block, int64_t p, const Panel& panel, const int32_t* scores,
                        double bar, Work& work) const {
  int64_t count = 0;
  if (bar == -kInfinity) {
    for (int64_t c = 0; c < panel.last - panel.first; ++c) {
      work.found[count] = static_cast<uint16_t>(c);
      count += scores[c] != screen_.out();
    }
    return count;
  }
  const int32_t found =
      kernels().at_least(scores, panel.padded, screen_.start(bar), work.found.data());
  if (!screen_.fine() || found == 0) return found;
  bar = std::max(bar, fine_bar(block, p, panel, scores, found, work));
  for (int32_t c = 0; c < found; ++c) {
    work.found[count] = work.found[c];
    count += work.bounds[c] >= bar;
  }
  return count;
}

// Takes the truth of the columns found, which rise, into the row's candidates.
void BlockBest::confirm(int64_t p, const Panel& panel, int64_t count, Work& work) {
  if (count == 0) return;
  const int64_t row = x_.rows[p], wanted = rows_.wanted(p);
  int64_t done = 0, some = 0;
  if (count_[row] == 0 && !rows_.copies() && std::min(count, kRanked) >= wanted) {
    done = count <= kRanked ? count : std::min(kRanked, 2 * wanted + kSomeTruth);
    confirm_some(p, panel, 0, done, work);
    rank(p, done, work);
    if (done == count) return;
  }
  double* const similarity = &best_.similarity[row * rows_.most()];
  int64_t* const indices = &best_.indices[row * rows_.most()];
  std::vector<Candidate>& candidates = work.candidates;
  candidates.clear();
  for (int64_t c = 0; c < count_[row]; ++c) candidates.push_back({similarity[c], indices[c]});
  for (; done < count; done += some) {
    some = std::min(done + kSomeTruth + 2 * wanted, count - done);
    if (static_cast<int64_t>(candidates.size()) == wanted) {
      const Candidate& last = candidates[wanted - 1];
      if (last.similarity == 1.0 && last.index < y_.rows[panel.first + work.found[done]]) break;
    }
    confirm_some(p, panel, done, some, work);
    for (int64_t c = 0; c < some; ++c) {
      rows_.each(panel.first + work.found[done + c], wanted,
                 [&](int64_t index) { candidates.push_back({work.similarity[c], index}); });
    }
    if (done + some<count&& static_cast<int64_t>(candidates.size())> wanted) {
      std::nth_element(candidates.begin(), candidates.begin() + wanted - 1, candidates.end());
      candidates.resize(static_cast<size_t>(wanted));
    }
  }
  work.order(candidates, wanted);
  count_[row] = static_cast<int64_t>(candidates.size());
  for (int64_t c = 0; c < count_[row]; ++c) {
    similarity[c] = candidates[c].similarity;
    indices[c] = candidates[c].index;
  }
}

// Works out the cosines of some of the columns found.
void BlockBest::confirm_some(int64_t p, const Panel& panel, int64_t done, int64_t some,
                             Work& work) const {
  if (static_cast<int64_t>(work.listed.size()) < some) {
    work.listed.resize(static_cast<size_t>(some + kRanked));
    work.similarity.resize(static_cast<size_t>(some + kRanked));
  }
  for (int64_t c = 0; c < some; ++c) {
    work.listed[c] = y_.rows[panel.first + work.found[done + c]];
  }
  kernels().dots[static_cast<int>(y_.x->dtype)](
      x_.data(p), y_.x->data, y_.x->ld, work.listed.data(), some, y_.x->d, work.similarity.data());
  const double square = x_.square(p);
  for (int64_t c = 0; c < some; ++c) {
    work.similarity[c] = cosine(work.similarity[c], square, y_.squares[work.listed[c]]);
  }
}

// Puts the best of a few columns, which rise, into their places, with no branch that is hard to
// foretell.
void BlockBest::rank(int64_t p, int64_t count, Work& work) {
  const int64_t row = x_.rows[p], wanted = rows_.wanted(p), padded = round_up(count, 8);
  int64_t place[kRanked], indices[kRanked];
  double best[kRanked];
  place[0] = 0;
  if (count > 1) {
    for (int64_t c = count; c < padded; ++c) work.similarity[c] = -kInfinity;
    kernels().places(work.similarity.data(), padded, place);
  }
  for (int64_t c = 0; c < count; ++c) {
    best[place[c]] = work.similarity[c];
    indices[place[c]] = work.listed[c];
  }
  std::copy_n(best, wanted, &best_.similarity[row * rows_.most()]);
  std::copy_n(indices, wanted, &best_.indices[row * rows_.most()]);
  count_[row] = wanted;
}

}  // namespace meddel

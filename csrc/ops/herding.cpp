// Most steps need no pass over all rows: the class Herder tells how.
#include "ops/herding.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <optional>
#include <utility>

#include "base/copies.h"
#include "base/truth.h"
#include "base/unit_rows.h"
#include "cpu/isa.h"
#include "ops/herding_guesses.h"
#include "screen/bounds.h"
#include "screen/plan.h"
#include "screen/unit_codes.h"

namespace meddel {
namespace {

constexpr int64_t kFewSteps = 4;             // that codes do not pay for
constexpr int64_t kGrain = 4096;             // rows of a pass that a thread takes at a time
constexpr int64_t kPiece = 512;              // and whose sums it holds at once
constexpr int64_t kFewRows = 8;              // worked out without a look at their codes
constexpr int64_t kSerial = 1024;            // rows that one thread works out
constexpr int64_t kShort = 4;                // steps of a leap at least, and more by so many
constexpr int64_t kTried = 6;                // after so many their length is thought over
constexpr int64_t kWalked = 256;             // steps until leaps are tried again,
constexpr int64_t kMostWalked = 4096;        // twice as many each time that they do not pay
constexpr int64_t kLeastStreamed = 1 << 21;  // bytes of codes from which on leaps may pay
constexpr int64_t kBasisRows = 4096, kBasisWidth = 128, kBasisSteps = 64;  // likewise a basis
constexpr int64_t kBasisLeaves = 8;  // one of so many rows, else it does not pay

// A vector on the way, and what codes say of it.
struct Waypoint {
  Waypoint(std::vector<double> vector, const std::vector<float>& centre)
      : w(std::move(vector)), direction(w, centre) {}
  Waypoint(const Waypoint&) = delete;
  Waypoint& operator=(const Waypoint&) = delete;

  const std::vector<double> w;
  const Direction direction;
  CodedRows::Probe coded = {};
  StreamedCodes::Probe streamed = {};
  Best best = {};
};

// Calls take(i) for the places of n sums that are at least so much; n is a multiple of 16.
template <class Take>
void each_at_least(const int32_t* sums, int64_t n, int32_t least, const Take& take) {
  uint16_t columns[kPiece];
  for (int64_t begin = 0; begin < n; begin += kPiece) {
    const int32_t count =
        kernels().at_least(sums + begin, std::min(kPiece, n - begin), -least, columns);
    for (int32_t k = 0; k < count; ++k) take(begin + columns[k]);
  }
}

// A pass over the codes of all rows leaves the few whose product with w may be the highest; these
// are worked out. It streams the codes from memory, so it had better look at several vectors at
// once. Those are known only when the rows are that change them, but they can be guessed: what a
// row was worth a few steps ago tells whether it may be the best one now, so that the best of a few
// candidates, the best of the last pass, often is the best of all. A leap runs some steps on the
// candidates alone, and one pass then looks at all rows for each of the vectors on the way. The
// first row that it finds to be better than a guess is the right one, as the vectors up to there
// were; the guesses beyond it are thrown away. So guesses decide how long it takes, and nothing
// else.
class Herder {
 public:
  Herder(Team& team, const Matrix& x, const std::vector<double>& weights)
      : team_(team),
        rows_(team, x),
        mean_(rows_.mean(team, weights)),
        centre_(mean_.begin(), mean_.end()),
        w_(mean_),
        taken_(static_cast<size_t>(x.n), 0),
        floats_(static_cast<size_t>(x.d)) {}

  Herding choose(const std::vector<int64_t>& selected, const std::vector<int64_t>& counts) {
    for (const int64_t i : selected) take(i);
    const int64_t before = static_cast<int64_t>(order_.size());
    make_codes(counts.back());
    Herding out;
    for (const int64_t count : counts) {
      while (true) {
        const int64_t done = static_cast<int64_t>(order_.size()) - before;
        team_.announce(done, counts.back());
        if (done == count) break;
        advance(count - done);
      }
      out.products.resize(out.products.size() + taken_.size());
      rows_.products(team_, w_.data(), out.products.data() + (out.products.size() - taken_.size()));
      std::vector<double> apart = w_;
      for (size_t e = 0; e < apart.size(); ++e) apart[e] -= mean_[e];
      out.distances.push_back(std::sqrt(squared_norm(apart)));
    }
    out.order.assign(order_.begin() + before, order_.end());
    return out;
  }

 private:
  // w = (w + mean) - u_i.
  void step(int64_t i, std::vector<double>& w) {
    for (size_t e = 0; e < w.size(); ++e) w[e] += mean_[e];
    rows_.add(i, -1.0, floats_.data(), w.data());
  }

  void take(int64_t i) {
    order_.push_back(i);
    taken_[i] = 1;
    if (streamed_) streamed_->drop(i);
    step(i, w_);
  }

  void make_codes(int64_t steps) {
    const bool forced = screens_forced();
    const ScreenPlan plan = plan_screens(0.0, 0.0, rows_.d());
    if (rows_.d() > kWidest || (forced ? !plan.dense && !plan.prefix : steps < kFewSteps)) return;
    const bool many =
        rows_.size() >= kBasisRows && rows_.d() >= kBasisWidth && steps >= kBasisSteps;
    if (forced ? plan.prefix : many) basis_ = basis_near(team_, rows_, forced);
    stream();
    coded_.emplace(team_, rows_, centre_);
    const bool leaps = forced || rows_.size() * streamed_->width() >= kLeastStreamed;
    if (leaps) guesses_.emplace(team_, rows_, *coded_);
  }

  void stream() {
    streamed_.emplace(team_, rows_, centre_, basis_ ? &*basis_ : nullptr);
    for (const int64_t i : order_) streamed_->drop(i);
  }

  // Takes the next row, or a few; at most so many.
  void advance(int64_t most) {
    if (passes_ >= kBasisSteps && basis_) leave_basis();
    if (walk_ == 0 && guesses_ && guesses_->any(0)) {
      leap(std::min(most, length_));
    } else {
      walk_ = std::max(int64_t{0}, walk_ - 1);
      walk();
    }
  }

  // Goes on with dense codes where those by a basis leave too many rows.
  void leave_basis() {
    if (listed_ > passes_ * rows_.size() / kBasisLeaves && !screens_forced()) {
      basis_.reset();
      stream();
    }
    passes_ = listed_ = 0;
  }

  // Works out the products of some rows.
  void work_out(const std::vector<int64_t>& rows, const std::vector<double>& w, Best& best) {
    const int64_t count = static_cast<int64_t>(rows.size());
    if (count <= kSerial) {
      for (const int64_t i : rows) best.take(i, rows_.product(i, w.data(), floats_.data()));
      return;
    }
    std::vector<double> products(rows.size());
    team_.run_range(count, kSerial / 4, [&](int64_t begin, int64_t end, int) {
      std::vector<float> floats(floats_.size());
      for (int64_t k = begin; k < end; ++k) {
        products[k] = rows_.product(rows[k], w.data(), floats.data());
      }
    });
    for (int64_t k = 0; k < count; ++k) best.take(rows[k], products[k]);
  }

  void leave_free(std::vector<int64_t>& rows) const {
    const auto gone = [this](int64_t i) { return taken_[i] != 0; };
    rows.erase(std::remove_if(rows.begin(), rows.end(), gone), rows.end());
  }

  // The best of the rows that a pass has listed and of those that no pass can tell of.
  void settle(const CodedRows::Probe& probe, const std::vector<double>& w,
              std::vector<int64_t>& close, Best& best) {
    ++passes_;
    listed_ += static_cast<int64_t>(close.size());
    close.insert(close.end(), streamed_->uncoded().begin(), streamed_->uncoded().end());
    leave_free(close);
    if (static_cast<int64_t>(close.size()) > kFewRows) coded_->leave(probe, best.product, close);
    work_out(close, w, best);
  }

  // One step, with a pass of its own.
  void walk() {
    const Waypoint at(w_, centre_);
    Best best;
    if (guesses_) guesses_->forget();
    if (!streamed_ || !at.direction.fits()) {
      std::vector<int64_t> all = count_up(rows_.size());
      leave_free(all);
      work_out(all, w_, best);
      return take(best.row);
    }
    const StreamedCodes::Probe probe = streamed_->probe(at.direction);
    sum_up({&probe});
    const int64_t top = kernels().highest(sums_.data(), padded());
    if (top < rows_.size() && !taken_[top]) work_out({top}, w_, best);
    std::vector<int64_t> close = listed(0, StreamedCodes::least(probe, best.product));
    settle(coded_->probe(at.direction), w_, close, best);
    take(best.row);
    if (guesses_ && walk_ == 0) {
      guesses_->start(taken_, sums_.data(), padded(), sums_[top], probe.unit / at.direction.norm);
    }
  }

  // Rows, filled up to whole blocks.
  int64_t padded() const { return static_cast<int64_t>(streamed_->codes().start.size()); }

  // A pass over all codes: sums_[v * stride() + i] is that of row i for the v-th vector.
  void sum_up(const std::vector<const StreamedCodes::Probe*>& probes) {
    const Codes& codes = streamed_->codes();
    const int64_t width = streamed_->width();
    const int64_t vectors = round_up(static_cast<int64_t>(probes.size()), 4);
    const std::vector<uint8_t> bytes = bytes_of(probes);
    const std::vector<int32_t> none(static_cast<size_t>(vectors), 0);
    if (static_cast<int64_t>(sums_.size()) < vectors * stride()) sums_.resize(vectors * stride());
    team_.run_range(padded(), kGrain, [&](int64_t begin, int64_t end, int) {
      kernels().scores(bytes.data(), none.data(), vectors, &codes.packed[begin * width],
                       &codes.start[begin], (end - begin) / kBlockColumns, width, &sums_[begin],
                       stride());
    });
  }

  // Not a power of two, whose multiples would share a place in caches.
  int64_t stride() const { return padded() + 3 * kBlockColumns; }

  // The rows that the last pass has left for the v-th vector.
  std::vector<int64_t> listed(int64_t v, int32_t least) const {
    std::vector<int64_t> out;
    each_at_least(&sums_[v * stride()], padded(), least, [&](int64_t i) { out.push_back(i); });
    return out;
  }

  // The codes of some vectors as the kernels want them, filled up to a multiple of 4.
  std::vector<uint8_t> bytes_of(const std::vector<const StreamedCodes::Probe*>& probes) const {
    const int64_t width = streamed_->width(), bias = kernels().bias;
    const int64_t padded = round_up(static_cast<int64_t>(probes.size()), 4);
    std::vector<uint8_t> out(static_cast<size_t>(padded * width + kChunk), 0);
    for (size_t v = 0; v < probes.size(); ++v) {
      for (int64_t c = 0; c < width; ++c) {
        out[static_cast<int64_t>(v) * width + c] = static_cast<uint8_t>(probes[v]->code[c] + bias);
      }
    }
    return out;
  }

  // Some steps at once.
  void leap(int64_t most) {
    std::deque<Waypoint> way;
    std::vector<double> w = w_;
    while (static_cast<int64_t>(way.size()) < most &&
           guesses_->any(static_cast<int64_t>(way.size()))) {
      Waypoint& at = way.emplace_back(w, centre_);
      if (!at.direction.fits()) {
        way.pop_back();
        break;
      }
      at.coded = coded_->probe(at.direction);
      at.streamed = streamed_->probe(at.direction);
      at.best = guesses_->best(static_cast<int64_t>(way.size()) - 1, at.w, at.direction, at.coded);
      step(at.best.row, w);
    }
    if (way.empty()) return walk();
    std::vector<const StreamedCodes::Probe*> probes;
    for (const Waypoint& at : way) probes.push_back(&at.streamed);
    sum_up(probes);
    int64_t done = 0;
    for (bool right = true; right && done < static_cast<int64_t>(way.size()); ++done) {
      Waypoint& at = way[done];
      const int64_t guessed = at.best.row;
      std::vector<int64_t> close = listed(done, StreamedCodes::least(at.streamed, at.best.product));
      settle(at.coded, at.w, close, at.best);
      take(at.best.row);
      right = at.best.row == guessed;
    }
    const Waypoint& last = way[done - 1];
    guesses_->start(taken_, &sums_[(done - 1) * stride()], padded(),
                    StreamedCodes::least(last.streamed, last.best.product),
                    last.streamed.unit / last.direction.norm);
    think_over(done, most);
  }

  // How long leaps are, by how many of their steps were right.
  void think_over(int64_t done, int64_t most) {
    if (most < length_) return;
    right_ += done;
    if (++leapt_ < kTried) return;
    const double mean = static_cast<double>(right_) / static_cast<double>(leapt_);
    const double share = mean / static_cast<double>(length_);
    if (mean < 1.5 && !screens_forced()) {
      walk_ = wait_;
      wait_ = std::min(2 * wait_, kMostWalked);
    } else if (share < 0.6) {
      length_ = std::max(kShort, length_ - kShort);
    } else if (share > 0.8) {
      length_ = std::min(Guesses::kMost, length_ + kShort);
    }
    right_ = leapt_ = 0;
  }

  Team& team_;
  const UnitRows rows_;
  const std::vector<double> mean_;
  const std::vector<float> centre_;
  std::vector<double> w_;
  std::vector<char> taken_;
  std::vector<float> floats_;
  std::vector<int64_t> order_;  // the selected rows, and those chosen

  std::optional<Basis> basis_;
  std::optional<StreamedCodes> streamed_;
  std::optional<CodedRows> coded_;
  std::vector<int32_t> sums_;
  int64_t passes_ = 0;  // since last thought of: vectors that passes were for
  int64_t listed_ = 0;  // and the rows that those left

  std::optional<Guesses> guesses_;
  int64_t walk_ = 0;  // steps to walk before leaping again
  int64_t wait_ = kWalked;
  int64_t length_ = 2 * kShort;
  int64_t leapt_ = 0, right_ = 0;  // leaps since last thought over, and their steps
};

}  // namespace

Herding herding(const Matrix& x, const std::vector<double>& weights,
                const std::vector<int64_t>& selected, const std::vector<int64_t>& counts,
                const Context& context) {
  Team team(context);
  return Herder(team, x, weights).choose(selected, counts);
}

}  // namespace meddel

// The bounds of k-means against the truth, on every instruction set: that of a scaled code on rows
// whose errors all point one way, and those that last over assignments on centroids that come and
// go as no update of theirs would have them.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/matrix.h"
#include "base/sides.h"
#include "base/truth.h"
#include "cpu/isa.h"
#include "ops/kmeans_assign.h"
#include "screen/codes.h"
#include "screen/plan.h"
#include "screen/scaled.h"

namespace meddel {
namespace {

int failures = 0;

void expect(bool holds, const std::string& what) {
  if (!holds && ++failures <= 20) std::printf("%s: %s\n", kernels().name, what.c_str());
}

using Rows = std::vector<float>;  // one after the other

Matrix matrix_of(const Rows& rows, int64_t d) {
  return {rows.data(), static_cast<int64_t>(rows.size()) / d, d, d, DType::kFloat32};
}

// Rows all elements of which are equal: every rounding is the same in all of them.
Rows level_rows(const std::vector<float>& values, int64_t d) {
  Rows out;
  for (const float value : values) out.insert(out.end(), static_cast<size_t>(d), value);
  return out;
}

PointMap map_of(Metric metric, int64_t d, float scale, float mean) {
  const double norm = static_cast<double>(mean) * std::sqrt(static_cast<double>(d));
  return {metric, d, scale, Rows(static_cast<size_t>(d), mean), std::abs(norm) * (1.0 + 1e-12)};
}

// The points as real numbers.
std::vector<std::vector<long double>> points_of(const PointMap& map, const ScanSide& side) {
  std::vector<std::vector<long double>> out;
  for (int64_t i = 0; i < side.size(); ++i) {
    float factor = map.scale;
    if (map.metric == Metric::kCosine) {
      factor = side.norms[i] > 0.0 ? static_cast<float>(1.0 / side.norms[i]) : 0.0f;
    }
    auto& point = out.emplace_back();
    for (int64_t e = 0; e < map.d; ++e) {
      const auto x = static_cast<long double>(static_cast<const float*>(side.data(i))[e]);
      point.push_back(static_cast<long double>(factor) * x - static_cast<long double>(map.mean[e]));
    }
  }
  return out;
}

// The bounds of all pairs are at least their S less the level, whatever it is, and a truth's level
// is at most its S.
void test_scaled(Team& team, const PointMap& map, const Rows& x_rows, const Rows& y_rows,
                 const std::string& what) {
  const Matrix x = matrix_of(x_rows, map.d), y = matrix_of(y_rows, map.d);
  const ScanSide xs = all_rows(team, x), ys = all_rows(team, y);
  const auto xp = points_of(map, xs), yp = points_of(map, ys);
  const Scaled screen(map);
  const ScaledColumns columns(screen, ys.positions());
  const int64_t width = screen.width(), padded = round_up(ys.size(), kBlockColumns);
  Rows point(static_cast<size_t>(map.d));
  std::vector<int8_t> code(static_cast<size_t>(width));
  std::vector<std::vector<int8_t>> codes;
  for (int64_t j = 0; j < ys.size(); ++j) {
    screen.encode(ys.positions(), j, point.data(), code.data());
    codes.push_back(code);
  }
  std::vector<int32_t> sums(static_cast<size_t>(padded), 0), bits(static_cast<size_t>(padded));
  for (int64_t i = 0; i < xs.size(); ++i) {
    const ScaledRow row = screen.encode(xs.positions(), i, point.data(), code.data());
    for (int64_t j = 0; j < ys.size(); ++j) {
      sums[j] = 0;
      for (int64_t e = 0; e < width; ++e) sums[j] += code[e] * codes[j][e];
    }
    for (int64_t j = 0; j < ys.size(); ++j) {
      // S = kappa's part - half of the square of the points' distance
      long double s = 0.5L * static_cast<long double>(map.kappa(xs.norms[i])) +
                      0.5L * static_cast<long double>(map.kappa(ys.norms[j]));
      for (int64_t e = 0; e < map.d; ++e) {
        s -= 0.5L * (xp[i][e] - yp[j][e]) * (xp[i][e] - yp[j][e]);
      }
      const double inner = kernels().dot[0](xs.data(i), ys.data(j), map.d);
      const double truth = score(map.metric, inner, xs.square(i), ys.square(j));
      expect(static_cast<long double>(screen.level(truth)) <= s, "the level of " + what);
      for (const double level : {static_cast<double>(s), 0.0, screen.level(truth)}) {
        kernels().reach(sums.data(), padded, Scaled::below(row, level), columns.traits.data(),
                        bits.data());
        float bound;
        std::memcpy(&bound, &bits[j], sizeof bound);
        const long double least = s - static_cast<long double>(level);
        expect(static_cast<long double>(bound) >= least - 1e-16L, "a bound of " + what);
      }
    }
  }
}

// Points on two sides of a mean that is far longer than they are: what rounds a row's product with
// the scale makes all distances between the sides too short.
void test_far_from_origin(Team& team, Metric metric, int64_t d) {
  std::mt19937 random(5);
  std::uniform_real_distribution<float> share(0.0f, 1.0f);
  const float each = 1.0f / std::sqrt(static_cast<float>(d)), mean = each * 1.0079f;
  const float scale = metric == Metric::kCosine ? 1.0f : 0.7f;
  Rows ys, xs;
  std::vector<float> above, below;
  for (int k = 0; k < 96; ++k) {
    above.push_back(mean / scale * (1.0f + 0x1p-7f * (0.9f + 0.1f * share(random))));
    below.push_back(mean / scale * (1.0f - 0x1p-7f * (0.9f + 0.1f * share(random))));
  }
  if (metric == Metric::kEuclidean) {
    xs = level_rows(above, d);
    ys = level_rows(below, d);
  } else {
    for (int k = 0; k < 96; ++k) {
      for (int64_t e = 0; e < d; ++e) xs.push_back(above[k] + 0x1p-7f * share(random));
      for (int64_t e = 0; e < d; ++e) ys.push_back(below[k] + 0x1p-7f * share(random));
    }
  }
  test_scaled(team, map_of(metric, d, scale, mean), xs, ys, "rows far from the origin");
}

// Codes all of whose errors point the way that they do.
void test_aligned_codes(Team& team) {
  constexpr int64_t d = 1024;
  Rows xs, ys;
  for (const float rest : {0.3f, 0.45f, -0.45f, 0.01f}) {
    for (const float sign : {1.0f, -1.0f}) {
      for (int64_t e = 0; e < d; ++e) {
        xs.push_back(sign * (e == 0 ? 127.0f : 100.0f + rest) / 4096.0f);
        ys.push_back(sign * (e == 0 ? 127.0f : 60.0f + rest) / 4096.0f);
      }
    }
  }
  ys.insert(ys.end(), xs.begin(), xs.end());
  const PointMap map = map_of(Metric::kEuclidean, d, 1.0f, 0.0f);
  test_scaled(team, map, xs, ys, "aligned codes");
}

// Squares whose sum in fp32 is off by as much as their number allows, beside a row of zero.
void test_sums(Team& team, int64_t d) {
  std::mt19937 random(6);
  std::uniform_real_distribution<float> share(1.0f, 2.0f);
  std::vector<float> values;
  const float each = 1.0f / std::sqrt(static_cast<float>(d));
  for (int k = 0; k < 24; ++k) values.push_back(each * share(random));
  const PointMap map = map_of(Metric::kEuclidean, d, 1.0f, 0.0f);
  test_scaled(team, map, level_rows(values, d), level_rows({0.0f, values[0]}, d), "sums");
}

// Rows of which scores are the least there are: their scales' rounding counts twice.
void test_opposite(Team& team, int64_t d) {
  std::mt19937 random(7);
  std::uniform_real_distribution<float> share(1.0f, 2.0f);
  std::vector<float> values, opposite;
  for (int k = 0; k < 64; ++k) values.push_back(share(random));
  for (const float value : values) opposite.push_back(-value);
  for (const float mean : {0.0f, 0.25f}) {
    const PointMap map = map_of(Metric::kCosine, d, 1.0f, mean);
    test_scaled(team, map, level_rows(values, d), level_rows(opposite, d), "opposite rows");
  }
}

// Centroids one assignment after the other; labels are the plain way's each time.
class Sequence {
 public:
  Sequence(Team& team, Rows rows, int64_t d, int64_t k, Metric metric, std::string what)
      : team_(team),
        data_(std::move(rows)),
        x_(matrix_of(data_, d)),
        rows_(all_rows(team, x_)),
        all_(rows_),
        k_(k),
        metric_(metric),
        what_(std::move(what)),
        assigner_(team, rows_, k, metric) {}

  void assign(const Rows& centroids) {
    const Matrix y = matrix_of(centroids, x_.d);
    assigner_.assign(y, made_++, 100);
    const ScanSide side = all_rows(team_, y);
    for (int64_t i = 0; i < x_.n; ++i) {
      double best = -kInfinity;
      int64_t label = -1;
      for (int64_t c = 0; c < k_; ++c) {
        const double inner = kernels().dot[0](x_.row(i), y.row(c), x_.d);
        const double found = score(metric_, inner, all_.squares[i], side.squares[c]);
        if (found > best) {
          best = found;
          label = c;
        }
      }
      expect(assigner_.labels()[i] == label, what_ + ", time " + std::to_string(made_));
    }
  }

 private:
  Team& team_;
  const Rows data_;
  const Matrix x_;
  ScanSide rows_;
  const ScanSide all_;
  const int64_t k_;
  const Metric metric_;
  const std::string what_;
  int64_t made_ = 0;
  Assigner assigner_;
};

// Some centroids come a short or long way, or back, each time; the others stay.
void test_walks(Team& team, int64_t k, int64_t d, uint32_t seed, Metric metric) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::uniform_real_distribution<float> share(0.0f, 1.0f);
  Rows rows, home;
  for (int64_t e = 0; e < 120 * d; ++e) rows.push_back(normal(random));
  for (int64_t e = 0; e < k * d; ++e) home.push_back(3.0f * normal(random));
  Rows centroids = home;
  Sequence sequence(team, rows, d, k, metric,
                    "walk " + std::to_string(seed) + " of " + std::to_string(k));
  const float moving = seed % 2 == 0 ? 0.9f : 0.3f;
  for (int time = 0; time < 24; ++time) {
    sequence.assign(centroids);
    for (int64_t c = 0; c < k; ++c) {
      if (share(random) > moving) continue;
      const float kind = share(random), length = std::exp(-1.0f - 5.0f * share(random));
      const int64_t row = static_cast<int64_t>(random() % 120);
      for (int64_t e = c * d; e < (c + 1) * d; ++e) {
        if (kind < 0.02f) centroids[e] = rows[row * d + e - c * d] + 0.1f * normal(random);
        if (kind >= 0.02f && kind < 0.04f) centroids[e] = home[e];
        if (kind >= 0.04f) centroids[e] += length * normal(random);
      }
    }
  }
}

// Centroids on a line, so far from the origin that the truth is off by as much as distances
// differ: one takes a row from the other, and goes away until both are as far from it.
void test_ties(Team& team, int64_t d, uint32_t seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> share(1.0f, 2.0f);
  Rows base, rows;
  std::vector<int> steps;
  for (int64_t e = 0; e < d; ++e) {
    base.push_back(share(random));
    steps.push_back(static_cast<int>(random() % 3) - 1);
  }
  const auto put = [&](Rows& to, int place) {
    for (int64_t e = 0; e < d; ++e) {
      to.push_back(base[e] + 0x1p-23f * static_cast<float>(steps[e] * place));
    }
  };
  for (int i = -3; i < 20; ++i) put(rows, i);
  // Calm rows beside a third centroid, without which bounds would be given up.
  Rows third;
  for (int64_t e = 0; e < d; ++e) third.push_back(base[e] + 0x1p-5f);
  for (int i = 0; i < 100; ++i) {
    for (int64_t e = 0; e < d; ++e) rows.push_back(third[e] + 0x1p-10f * share(random));
  }
  Sequence sequence(team, rows, d, 3, Metric::kEuclidean, "ties " + std::to_string(seed));
  const bool first = random() % 2 == 0;
  const int end = 2 * (static_cast<int>(random() % 8) + 2);
  for (const int place : {end + 6, end + 4, end - 1, end}) {
    Rows centroids;
    put(centroids, first ? place : 0);
    put(centroids, first ? 0 : place);
    centroids.insert(centroids.end(), third.begin(), third.end());
    sequence.assign(centroids);
  }
}

// Centroids of a line, by their places.
Rows line(const std::vector<double>& places) {
  Rows out;
  for (const double place : places) {
    out.push_back(static_cast<float>(place));
    out.push_back(1.0f);
  }
  return out;
}

// A centroid that comes nearer by less than what makes rows look at it, while a block of others
// jumps about, so that they are compared with those each time; and calm rows.
void test_slow_approach(Team& team) {
  std::vector<double> places = {0.0, 0.25};
  for (int i = 0; i < 20; ++i) {
    places.push_back(150.0 + 0.1 * i);
    places.push_back(-150.0 - 0.1 * i);
  }
  Sequence sequence(team, line(places), 2, 20, Metric::kEuclidean, "slow approach");
  for (int time = 0; time < 9; ++time) {
    std::vector<double> now = {1.0, std::max(11.0 - 1.5 * time, 0.5), 151.0, -151.0};
    for (int c = 0; c < 16; ++c) {
      const double place = (time % 2 == 0 ? 40.0 : 30.0) + 0.1 * c;
      now.push_back(c % 2 == 0 ? place : -place);
    }
    sequence.assign(line(now));
  }
}

// The places of 300 centroids for the row at 0: its own, the 16 of this one's list, and others.
std::vector<double> with_list() {
  std::vector<double> out = {1.0};
  for (int c = 1; c <= 16; ++c) out.push_back(2.0 + 0.01 * c);
  for (int c = 17; c < 300; ++c) out.push_back(c % 2 == 0 ? 50.0 + c : -50.0 - c);
  return out;
}

// The same, and rows of the far ones, for which nothing changes.
Rows with_calm_rows() {
  std::vector<double> places = {0.0};
  const std::vector<double> far = with_list();
  places.insert(places.end(), far.begin() + 20, far.end());
  return line(places);
}

// A far one comes in a few steps, while one of the list jumps about.
void test_far_bound_of_open_rows(Team& team) {
  Sequence sequence(team, with_calm_rows(), 2, 300, Metric::kEuclidean, "approach beside a list");
  std::vector<double> places = with_list();
  for (const double coming : {100.0, 98.0, 80.0, 60.0, 40.0, 20.0, 0.5}) {
    places[17] = coming;
    places[1] = places[1] < 3.0 ? 6.0 : 2.01;
    if (coming == 98.0) {
      for (double& place : places) place += 0.001;  // all rows learn what is near
    }
    sequence.assign(line(places));
  }
}

// A row goes to one of its centroid's list, beside which there is another, which then comes.
void test_second_of_list(Team& team) {
  Sequence sequence(team, with_calm_rows(), 2, 300, Metric::kEuclidean, "second of a list");
  std::vector<double> places = with_list();
  sequence.assign(line(places));
  for (double& place : places) place += 0.001;  // all rows learn what is near
  sequence.assign(line(places));
  places[0] = 3.0;
  sequence.assign(line(places));
  places[2] = 1.5;
  sequence.assign(line(places));
}

void test(Team& team) {
  for (const int64_t d : {4, 64}) {
    for (const Metric metric : {Metric::kEuclidean, Metric::kCosine}) {
      test_far_from_origin(team, metric, d);
    }
    test_opposite(team, d);
  }
  test_aligned_codes(team);
  for (const int64_t d : {1024, 16384}) test_sums(team, d);
  use_screen(ScreenMode::kDense);
  for (uint32_t seed = 0; seed < 24; ++seed) {
    const Metric metric = seed / 2 % 2 == 0 ? Metric::kEuclidean : Metric::kCosine;
    test_walks(team, 5, 2, seed, metric);
    test_walks(team, 40, 3, seed, metric);
    if (seed < 6) test_walks(team, 260, 3, seed, metric);
  }
  for (uint32_t seed = 0; seed < 400; ++seed) test_ties(team, 19, seed);
  test_slow_approach(team);
  test_far_bound_of_open_rows(team);
  test_second_of_list(team);
  use_screen(ScreenMode::kAuto);
  std::printf("%s\n", kernels().name);
}

}  // namespace
}  // namespace meddel

int main() {
  const meddel::Context context;
  meddel::Team team(context);
  for (const std::string& isa : meddel::available_isas()) {
    meddel::use_isa(isa);
    meddel::test(team);
  }
  return meddel::failures == 0 ? 0 : 1;
}

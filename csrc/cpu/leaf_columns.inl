// Points in columns, of leaf.inl, which includes this: element e of point i is x[e * count + i].

// As many points at a time as leave registers for two centroids' sums.
constexpr int kTopVectors = kFloats == 16 ? 4 : 2;

// The two highest scores of each point so far, and where the higher one is from.
struct TopTwo {
  Wide best[kTopVectors];
  Wide second[kTopVectors];
  WideInts label[kTopVectors];
};

inline Wide wide(const Floats& x) {
  Wide out;
  __builtin_memcpy(&out, &x, sizeof out);
  return out;
}

inline void offer(TopTwo& top, int v, Wide score, int32_t centroid) {
  const WideInts place = (WideInts{}) + centroid;
  const auto higher = score > top.best[v];
  const Wide lower = higher ? top.best[v] : score;
  top.second[v] = lower > top.second[v] ? lower : top.second[v];
  top.best[v] = higher ? score : top.best[v];
  top.label[v] = higher ? place : top.label[v];
}

// Two centroids at a time: each element of a point is loaded once for both.
// Points have kD elements, or d where that is 0; or x holds the products themselves, a row of them
// for each centroid.
constexpr int kProducts = -1;
template <int kD>
void top_two_of(const float* x, int64_t count, int64_t d, const float* centroids,
                const float* offset, int64_t k, float* best, float* second, int32_t* label) {
  const int64_t width = kD > 0 ? kD : kD == kProducts ? 0 : d;
  for (int64_t i = 0; i < count; i += kTopVectors * kFloats) {
    TopTwo top;
    MEDDEL_UNROLL for (int v = 0; v < kTopVectors; ++v) {
      top.best[v] = (Wide{}) - __builtin_inff();
      top.second[v] = top.best[v];
      top.label[v] = WideInts{};
    }
    for (int64_t c = 0; c < k; c += 2) {
      Floats sum[2][kTopVectors];
      MEDDEL_UNROLL for (int v = 0; v < kTopVectors; ++v) {
        sum[0][v] = Floats{} + offset[c];
        sum[1][v] = Floats{} + offset[c + 1];
      }
      if constexpr (kD == kProducts) {
        MEDDEL_UNROLL for (int v = 0; v < kTopVectors; ++v) {
          sum[0][v] += load_floats(elements(x + c * count + i + v * kFloats));
          sum[1][v] += load_floats(elements(x + (c + 1) * count + i + v * kFloats));
        }
      }
      const float* y = centroids + c * width;
      for (int64_t e = 0; e < width; ++e) {
        Floats element[kTopVectors];
        MEDDEL_UNROLL for (int v = 0; v < kTopVectors; ++v) {
          element[v] = load_floats(elements(x + e * count + i + v * kFloats));
        }
        const float one = y[e], other = y[width + e];
        MEDDEL_UNROLL for (int v = 0; v < kTopVectors; ++v) sum[0][v] += one * element[v];
        MEDDEL_UNROLL for (int v = 0; v < kTopVectors; ++v) sum[1][v] += other * element[v];
      }
      MEDDEL_UNROLL for (int v = 0; v < kTopVectors; ++v) {
        offer(top, v, wide(sum[0][v]), static_cast<int32_t>(c));
        offer(top, v, wide(sum[1][v]), static_cast<int32_t>(c) + 1);
      }
    }
    MEDDEL_UNROLL for (int v = 0; v < kTopVectors; ++v) {
      __builtin_memcpy(best + i + v * kFloats, &top.best[v], sizeof(Wide));
      __builtin_memcpy(second + i + v * kFloats, &top.second[v], sizeof(Wide));
      __builtin_memcpy(label + i + v * kFloats, &top.label[v], sizeof(Wide));
    }
  }
}

void top_two(const float* x, int64_t count, int64_t d, const float* centroids, const float* offset,
             int64_t k, float* best, float* second, int32_t* label) {
  switch (d) {
    case 1:
      return top_two_of<1>(x, count, d, centroids, offset, k, best, second, label);
    case 2:
      return top_two_of<2>(x, count, d, centroids, offset, k, best, second, label);
    case 4:
      return top_two_of<4>(x, count, d, centroids, offset, k, best, second, label);
    default:
      return top_two_of<0>(x, count, d, centroids, offset, k, best, second, label);
  }
}

void top_two_products(const float* products, int64_t count, const float* offset, int64_t k,
                      float* best, float* second, int32_t* label) {
  top_two_of<kProducts>(products, count, 0, products, offset, k, best, second, label);
}

void top_two_sums(float* sums, const float* offset, int64_t columns, float* best, float* second,
                  int32_t* label) {
  TopTwo top;
  top.best[0] = (Wide{}) - __builtin_inff();
  top.second[0] = top.best[0];
  top.label[0] = WideInts{};
  for (int64_t c = 0; c < columns; c += kFloats) {
    Wide sum, more;
    __builtin_memcpy(&sum, sums + c, sizeof sum);
    __builtin_memcpy(&more, offset + c, sizeof more);
    sum += more;
    __builtin_memcpy(sums + c, &sum, sizeof sum);
    offer(top, 0, sum, static_cast<int32_t>(c));
  }
  float highest[kFloats], next[kFloats];
  int32_t place[kFloats];
  __builtin_memcpy(highest, &top.best[0], sizeof highest);
  __builtin_memcpy(next, &top.second[0], sizeof next);
  __builtin_memcpy(place, &top.label[0], sizeof place);
  MEDDEL_UNROLL for (int j = 0; j < kFloats; ++j) place[j] += j;
  MEDDEL_UNROLL for (int half = kFloats / 2; half > 0; half /= 2) {
    MEDDEL_UNROLL for (int j = 0; j < half; ++j) {
      const float own = highest[j], other = highest[j + half];
      const float lower = other > own ? own : other;
      const float beside = next[j + half] > next[j] ? next[j + half] : next[j];
      place[j] = other > own ? place[j + half] : place[j];
      highest[j] = other > own ? other : own;
      next[j] = lower > beside ? lower : beside;
    }
  }
  *best = highest[0];
  *second = next[0];
  *label = place[0];
}

int32_t top_near(const float* x, int64_t count, int64_t d, const float* centroids,
                 const float* offset, int64_t k, const float* floor, int32_t* found) {
  int32_t* to = found;
  for (int64_t c = 0; c < k; ++c) {
    for (int64_t i = 0; i < count; i += 16) {
      int32_t below[16];  // -1 where it holds, so that its sign is set
      MEDDEL_UNROLL for (int v = 0; v < kParts; ++v) {
        Wide sum = (Wide{}) + offset[c], least;
        for (int64_t e = 0; e < d; ++e) {
          Wide element;
          __builtin_memcpy(&element, x + e * count + i + v * kFloats, sizeof element);
          sum += element * centroids[c * d + e];
        }
        __builtin_memcpy(&least, floor + i + v * kFloats, sizeof least);
        const auto lower = sum < least;
        __builtin_memcpy(below + v * kFloats, &lower, sizeof lower);
      }
      for (uint32_t mask = survivors(start_sums(below, 0)); mask != 0; mask &= mask - 1) {
        *to++ = static_cast<int32_t>(c * count + i + __builtin_ctz(mask));
      }
    }
  }
  return static_cast<int32_t>(to - found);
}

// A loop that compilers make vectors of, as the leaf files' roots set no errno.
void cosines(const double* xx, const double* yy, int64_t count, double* inner) {
  for (int64_t i = 0; i < count; ++i) {
    const double squares = xx[i] * yy[i];
    const double value = inner[i] / __builtin_sqrt(squares);
    const double most = value > 1.0 ? 1.0 : value;
    const double cosine = most < -1.0 ? -1.0 : most;
    inner[i] = squares > 0.0 ? cosine : 0.0;
  }
}

// Lane j of the truth is a register of points here; a lane without elements stays 0, and adding +0
// changes no sum that began at +0.
void column_dots(const float* x, const float* y, int64_t count, int64_t d, double* out) {
  const int64_t whole = d & ~int64_t{7}, rest = d - whole;
  for (int64_t i = 0; i < count; i += 8) {
    Doubles sum[8][8 / kDoubles] = {};
    const auto add = [&](int64_t e, Doubles* lane) {
      const Eight a = load8(x + e * count + i), b = load8(y + e * count + i);
      MEDDEL_UNROLL for (int v = 0; v < 8 / kDoubles; ++v) lane[v] += a.part[v] * b.part[v];
    };
    for (int64_t e = 0; e < whole; e += 8) {
      MEDDEL_UNROLL for (int j = 0; j < 8; ++j) add(e + j, sum[j]);
    }
    MEDDEL_UNROLL for (int j = 0; j < 7; ++j) {
      if (j < rest) add(whole + j, sum[j]);
    }
    MEDDEL_UNROLL for (int v = 0; v < 8 / kDoubles; ++v) {
      const Doubles total = ((sum[0][v] + sum[4][v]) + (sum[2][v] + sum[6][v])) +
                            ((sum[1][v] + sum[5][v]) + (sum[3][v] + sum[7][v]));
      __builtin_memcpy(out + i + v * kDoubles, &total, sizeof total);
    }
  }
}

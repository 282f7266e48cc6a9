// Operations on parts of sets: what is known so far comes in, and goes back with a part more.
#include "base/norms.h"
#include "bindings.h"
#include "ops/deduplicate.h"
#include "ops/kcenter_parts.h"
#include "ops/kmeans_parts.h"
#include "ops/pairs_parts.h"
#include "ops/redundancy_parts.h"
#include "ops/topk_parts.h"

namespace meddel {
namespace {

py::array_t<double> squared_norms_py(const Matrix& x, int threads) {
  return array(call(threads, [&](const Context& context) {
    Team team(context);
    return squared_norms(team, x);
  }));
}

// Rows, and by row samples, places and labels (or None).
struct OwnedPart {
  explicit OwnedPart(const py::tuple& of)
      : x(of[0]),
        samples(copied<int64_t>(of[1], matrix(x).n, "samples")),
        places(copied<int64_t>(of[2], matrix(x).n, "places")) {
    if (!of[3].is_none()) labels = copied<int64_t>(of[3], matrix(x).n, "labels");
  }

  Part part() const {
    return {matrix(x), samples.data(), places.data(), labels.empty() ? nullptr : labels.data()};
  }

  py::array x;
  std::vector<int64_t> samples;
  std::vector<int64_t> places;
  std::vector<int64_t> labels;
};

py::tuple earlier_in_part_py(const py::tuple& x_tuple, const py::tuple& y_tuple,
                             const py::array& similarity, const py::array& neighbor, int threads) {
  const OwnedPart x_owned(x_tuple), y_owned(y_tuple);
  const Part x = x_owned.part(), y = y_owned.part();
  check_alike(x.rows, y.rows);
  Redundancy best{copied<double>(similarity, x.rows.n, "similarity"),
                  copied<int64_t>(neighbor, x.rows.n, "neighbor")};
  best = call(threads, [&](const Context& context) {
    return earlier_in_part(x, y, std::move(best), context);
  });
  return arrays(best.similarity, best.neighbor);
}

py::tuple topk_in_part_py(const Matrix& x, int64_t x_first, const Matrix& y, int64_t y_first,
                          const py::array& similarity, const py::array& indices, int threads) {
  check_alike(x, y);
  MEDDEL_CHECK(indices.ndim() == 2 && indices.shape(1) >= 1, "indices must be rows x k");
  const int64_t k = indices.shape(1);
  TopK best{copied<double>(similarity, x.n * k, "similarity"),
            copied<int64_t>(indices, x.n * k, "indices")};
  best = call(threads, [&](const Context& context) {
    return topk_in_part(x, x_first, y, y_first, std::move(best), k, context);
  });
  return py::make_tuple(array(std::move(best.similarity), {x.n, k}),
                        array(std::move(best.indices), {x.n, k}));
}

py::tuple pairs_of_groups_py(const Matrix& x, const py::array& x_labels, const Matrix& y,
                             const py::array& y_labels, double threshold, int64_t max_pairs,
                             int threads) {
  check_alike(x, y);
  const auto first = copied<int64_t>(x_labels, x.n, "x_labels");
  const auto second = copied<int64_t>(y_labels, y.n, "y_labels");
  return pairs_tuple(call(threads, [&](const Context& context) {
    return pairs_of_groups(x, first.data(), y, second.data(), threshold, max_pairs, context);
  }));
}

py::tuple greedy_in_part_py(const Matrix& x, double threshold, const py::array& samples,
                            const std::optional<py::array>& labels, int64_t max_pairs,
                            const py::array& representative, const py::array& similarity,
                            int threads) {
  const auto ids = copied<int64_t>(samples, x.n, "samples");
  std::vector<int64_t> groups;
  if (labels) groups = copied<int64_t>(*labels, x.n, "labels");
  Deduplicated known{copied<int64_t>(representative, x.n, "representative"),
                     copied<double>(similarity, x.n, "similarity")};
  known = call(threads, [&](const Context& context) {
    return greedy_in_part(x, threshold, ids.data(), labels ? groups.data() : nullptr, max_pairs,
                          std::move(known), context);
  });
  return arrays(known.representative, known.similarity);
}

py::array_t<int64_t> join_components_py(const py::array& parent, const Index& i, const Index& j) {
  std::vector<int64_t> parents = copied<int64_t>(parent, parent.size(), "parent");
  const int64_t n = parent.size();
  for (int64_t p = 0; p < n; ++p) {
    MEDDEL_CHECK(parents[p] >= 0 && parents[p] <= p, "parent must be at most the position");
  }
  check_places(i, j, n);
  return array(join_components(std::move(parents), i.data(), j.data(), i.size()));
}

py::array_t<double> row_cosines_py(const Matrix& x, const Matrix& y, int threads) {
  check_alike(x, y);
  MEDDEL_CHECK(x.n == y.n, "x and y must have as many rows");
  return array(call(threads, [&](const Context& context) { return row_cosines(x, y, context); }));
}

py::array_t<double> catch_up_py(const Matrix& x, const Matrix& centres, bool cosine,
                                const py::array& seen_array, const py::array& nearest_array,
                                int threads) {
  check_alike(x, centres);
  std::vector<int32_t> seen = copied<int32_t>(seen_array, x.n, "seen");
  for (const int32_t count : seen) {
    MEDDEL_CHECK(count >= 0 && count <= centres.n, "seen must be numbers of centres");
  }
  std::vector<double> nearest = copied<double>(nearest_array, x.n, "nearest");
  return array(call(threads, [&](const Context& context) {
    return catch_up(x, centres, metric(cosine), std::move(seen), std::move(nearest), context);
  }));
}

py::tuple choose_among_py(const Matrix& x, const py::array& nearest_array, int64_t k, double radius,
                          bool cosine, double bound, int64_t before, int threads) {
  std::vector<double> nearest = copied<double>(nearest_array, x.n, "nearest");
  Chosen out = call(threads, [&](const Context& context) {
    return choose_among(x, std::move(nearest), k, radius, metric(cosine), bound, before, context);
  });
  return py::make_tuple(array(std::move(out.rows)), array(std::move(out.radii)),
                        array(std::move(out.nearest)), out.ended);
}

// The bodies of SeedParts, whose rows may be those of one process of several.
std::unique_ptr<SeedParts> seed_parts_py(const Matrix& sample, bool spherical, int64_t n,
                                         int64_t seeds, int64_t bytes,
                                         const std::optional<py::array>& weights_array,
                                         int threads) {
  MEDDEL_CHECK(n > 0 && seeds > 0, "rows and seeds must be at least 1");
  std::vector<double> weights;
  if (weights_array) weights = copied<double>(*weights_array, n, "weights");
  return call(threads, [&](const Context& context) {
    return std::make_unique<SeedParts>(sample, spherical, n, seeds, bytes, weights, context);
  });
}

void seed_parts_add(SeedParts& self, const Matrix& rows, const py::array& squares_array,
                    int64_t begin, int threads) {
  MEDDEL_CHECK(begin >= 0 && begin % kBlockRows == 0 && begin + rows.n <= self.rows(),
               "rows must begin at a block, and be of those that there are");
  const auto squares = copied<double>(squares_array, rows.n, "squares");
  call(threads, [&](const Context& context) {
    self.add(rows, squares, begin, context);
    return 0;
  });
}

py::array_t<int64_t> seed_parts_left(const SeedParts& self, const Matrix& seed, int threads) {
  MEDDEL_CHECK(seed.n == 1, "the seed must be one row");
  return array(call(threads, [&](const Context& context) { return self.left(seed, context); }));
}

void seed_parts_lower(SeedParts& self, const Matrix& rows, const py::array& which_array,
                      const Matrix& seed, int64_t row, int threads) {
  check_alike(rows, seed);
  MEDDEL_CHECK(seed.n == 1 && row >= -1 && row < self.rows(), "the seed must be one row");
  const auto which = copied<int64_t>(which_array, rows.n, "rows");
  for (const int64_t i : which) MEDDEL_CHECK(i >= 0 && i < self.rows(), "no row " << i);
  call(threads, [&](const Context& context) {
    self.lower(rows, which, seed, row, context);
    return 0;
  });
}

py::array_t<double> seed_parts_sums(SeedParts& self, int threads) {
  return array(call(threads, [&](const Context& context) { return self.weights(context).sums(); }));
}

py::array_t<double> seed_parts_shares(SeedParts& self, int64_t begin, int64_t end) {
  MEDDEL_CHECK(begin >= 0 && begin <= end && end <= self.rows(), "no such rows");
  std::vector<double> out;
  for (int64_t i = begin; i < end; ++i) out.push_back(self.share(i));
  return array(std::move(out));
}

py::array_t<double> add_members_py(const Matrix& x, const py::array& labels_array,
                                   const std::optional<py::array>& norms_array,
                                   const std::optional<py::array>& weights_array,
                                   const std::vector<bool>& wanted, const py::array& sums_array,
                                   int threads) {
  const int64_t k = static_cast<int64_t>(wanted.size());
  const auto labels = copied<int64_t>(labels_array, x.n, "labels");
  for (const int64_t label : labels) {
    MEDDEL_CHECK(label >= 0 && label < k, "labels must be clusters");
  }
  std::vector<double> norms, weights;
  if (norms_array) norms = copied<double>(*norms_array, x.n, "norms");
  if (weights_array) weights = copied<double>(*weights_array, x.n, "weights");
  const int64_t width = x.d + (weights_array ? 1 : 0);
  std::vector<double> sums = copied<double>(sums_array, k * width, "sums");
  sums = call(threads, [&](const Context& context) {
    return add_members(x, labels, norms, weights, wanted, std::move(sums), context);
  });
  return array(std::move(sums), {k, width});
}

}  // namespace

void bind_parts(py::module_& m) {
  m.def("squared_norms", &squared_norms_py);
  m.def("earlier_in_part", &earlier_in_part_py);
  m.def("topk_in_part", &topk_in_part_py);
  m.def("pairs_of_groups", &pairs_of_groups_py);
  m.def("greedy_in_part", &greedy_in_part_py);
  m.def("join_components", &join_components_py);
  m.def("row_cosines", &row_cosines_py);
  m.def("catch_up", &catch_up_py);
  m.def("choose_among", &choose_among_py);
  py::class_<SeedParts>(m, "SeedParts")
      .def(py::init(&seed_parts_py))
      .def("add", &seed_parts_add)
      .def("left", &seed_parts_left)
      .def("lower", &seed_parts_lower)
      .def("sums", &seed_parts_sums)
      .def("shares", &seed_parts_shares)
      .def("bytes", &SeedParts::bytes);
  m.def("add_members", &add_members_py);
}

}  // namespace meddel

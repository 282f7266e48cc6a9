// The one file of the core that knows Python: converts, releases the GIL, calls. Arguments are
// trusted to be what meddel_fast.ops makes of the user's; only what would read outside an array is
// checked again. It is longer than 450 lines because it is the only one of its kind.
//
// The rooms of csrc/, each of which includes itself and those below it, and nothing else:
//   bindings.cpp  cuda_bindings.cpp    Python's modules _core and _cuda
//   ops/                               an operation each, on a whole matrix and (*_parts) on parts
//   screen/                            what leaves pairs of rows out, and the proof that it may
//   base/         (beside ops: cuda/)  the truth, matrices, norms, threads
//   cpu/                               what differs by instruction set
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/floating_point.h"
#include "base/known.h"
#include "base/matrix.h"
#include "base/norms.h"
#include "base/parallel.h"
#include "cpu/isa.h"
#include "ops/class_means.h"
#include "ops/deduplicate.h"
#include "ops/facility.h"
#include "ops/herding.h"
#include "ops/kcenter.h"
#include "ops/kcenter_parts.h"
#include "ops/kmeans.h"
#include "ops/kmeans_parts.h"
#include "ops/ordering.h"
#include "ops/pairs.h"
#include "ops/pairs_parts.h"
#include "ops/redundancy.h"
#include "ops/redundancy_parts.h"
#include "ops/spanning_forest.h"
#include "ops/topk.h"
#include "ops/topk_parts.h"
#include "screen/plan.h"

namespace py = pybind11;

namespace meddel {
namespace {

using Index = py::array_t<int64_t, py::array::c_style | py::array::forcecast>;

// bf16 has no numpy type: it comes as uint16.
DType dtype_of(const py::array& x) {
  const char kind = x.dtype().kind();
  const auto size = x.itemsize();
  if (kind == 'f' && size == 4) return DType::kFloat32;
  if (kind == 'f' && size == 2) return DType::kFloat16;
  if (kind == 'u' && size == 2) return DType::kBFloat16;
  MEDDEL_CHECK(kind == 'i' && size == 1, "unsupported element type");
  return DType::kInt8;
}

Matrix matrix(const py::array& x) {
  const DType dtype = dtype_of(x);
  MEDDEL_CHECK(x.ndim() == 2, "expected 2 dimensions, got " << x.ndim());
  const int64_t n = x.shape(0), d = x.shape(1), size = item_size(dtype);
  MEDDEL_CHECK(n > 0 && d > 0, "expected at least one row and one column");
  MEDDEL_CHECK((d == 1 || x.strides(1) == size) && x.strides(0) % size == 0 &&
                   (n == 1 || x.strides(0) >= d * size),
               "expected rows of adjacent elements");
  MEDDEL_CHECK(reinterpret_cast<uintptr_t>(x.data()) % static_cast<uintptr_t>(size) == 0,
               "expected aligned elements");
  return {x.data(), n, d, n == 1 ? d : x.strides(0) / size, dtype};
}

// Rows, and what operations have worked out about them.
class Prepared {
 public:
  // May hold so many bytes beside norms and equal rows, by default what is right for the rows.
  Prepared(const py::array& rows, const std::optional<int64_t>& most)
      : rows_(rows),
        matrix_(meddel::matrix(rows)),
        known_(std::make_unique<Known>(matrix_, most.value_or(Known::most_for(matrix_)))),
        print_(fingerprint(matrix_)) {
    matrix_.known = known_.get();
  }

  const py::array& rows() const { return rows_; }
  const Matrix& matrix() const { return matrix_; }
  int64_t nbytes() const { return known_->bytes(); }
  bool changed() const { return fingerprint(matrix_) != print_; }

 private:
  const py::array rows_;
  Matrix matrix_;
  const std::unique_ptr<Known> known_;
  const uint64_t print_;
};

}  // namespace
}  // namespace meddel

// An array, or a prepared one, comes in as a matrix: the caller holds it for as long as the call
// lasts.
template <>
struct pybind11::detail::type_caster<meddel::Matrix> {
  PYBIND11_TYPE_CASTER(meddel::Matrix, const_name("numpy.ndarray"));

  bool load(handle source, bool) {
    if (isinstance<meddel::Prepared>(source)) {
      value = source.cast<const meddel::Prepared&>().matrix();
      return true;
    }
    if (!isinstance<array>(source)) return false;
    value = meddel::matrix(reinterpret_borrow<array>(source));
    return true;
  }
};

namespace meddel {
namespace {

// Whom this thread's operations tell how far they are: a function of (done, total), or null. The
// caller of report_to holds it.
thread_local PyObject* progress_of_thread = nullptr;

// Hands progress on at most ten times a second, and once more at the end.
class Progress {
 public:
  void operator()(int64_t done, int64_t total) {
    done_ = std::max(done, total == total_ ? done_ : 0);
    total_ = total;
    const auto now = Clock::now();
    if (now - last_ < std::chrono::milliseconds(100)) return;
    last_ = now;
    tell(done_);
  }

  void finish() {
    if (total_ > 0) tell(total_);
  }

 private:
  using Clock = std::chrono::steady_clock;

  void tell(int64_t done) {
    const py::gil_scoped_acquire acquire;
    PyObject* const told = std::exchange(progress_of_thread, nullptr);  // not what it calls itself
    PyObject* const result = PyObject_CallFunction(told, "LL", static_cast<long long>(done),
                                                   static_cast<long long>(total_));
    progress_of_thread = told;
    if (result == nullptr) throw py::error_already_set();
    Py_DECREF(result);
  }

  Clock::time_point last_ = Clock::now();
  int64_t done_ = 0;
  int64_t total_ = 0;
};

// Runs an operation without the GIL; a pending signal's handler, run between chunks, may raise.
template <class Operation>
auto call(int threads, const Operation& operation) {
  MEDDEL_CHECK(threads >= 1, "threads must be at least 1, got " << threads);
  const DefaultFloatingPoint floats;
  Progress progress;
  Context context{threads, [] {
                    py::gil_scoped_acquire acquire;
                    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
                  }};
  if (progress_of_thread != nullptr) context.progress = std::ref(progress);
  py::gil_scoped_release release;
  auto result = operation(context);
  progress.finish();
  return result;
}

// Hands a vector over to numpy without a copy.
template <class T>
py::array_t<T> array(std::vector<T>&& values, std::vector<py::ssize_t> shape = {}) {
  auto* owned = new std::vector<T>(std::move(values));
  const py::capsule owner(owned, [](void* p) { delete static_cast<std::vector<T>*>(p); });
  if (shape.empty()) shape = {static_cast<py::ssize_t>(owned->size())};
  return py::array_t<T>(shape, owned->data(), owner);
}

template <class... T>
py::tuple arrays(std::vector<T>&... values) {
  return py::make_tuple(array(std::move(values))...);
}

Metric metric(bool cosine) { return cosine ? Metric::kCosine : Metric::kEuclidean; }

void check_length(const py::array& a, int64_t n, const char* name) {
  MEDDEL_CHECK(a.ndim() == 1 && a.shape(0) == n, name << " must have length " << n);
}

Ordering ordering(int64_t n, const std::optional<Index>& order,
                  const std::optional<Index>& labels) {
  if (order) {
    check_length(*order, n, "order");
    std::vector<bool> seen(static_cast<size_t>(n), false);
    for (int64_t p = 0; p < n; ++p) {
      const int64_t row = order->data()[p];
      MEDDEL_CHECK(row >= 0 && row < n && !seen[row], "order must be a permutation of all rows");
      seen[row] = true;
    }
  }
  if (labels) check_length(*labels, n, "labels");
  return make_ordering(n, order ? order->data() : nullptr, labels ? labels->data() : nullptr);
}

template <class T>
std::vector<T> copied(const py::array& values, int64_t size, const char* name) {
  const py::array_t<T, py::array::c_style | py::array::forcecast> whole(values);
  MEDDEL_CHECK(whole.size() == size, name << " must have " << size << " elements");
  return {whole.data(), whole.data() + size};
}

void check_distinct(const std::vector<int64_t>& selected, int64_t n) {
  std::vector<bool> seen(static_cast<size_t>(n), false);
  for (int64_t i : selected) {
    MEDDEL_CHECK(i >= 0 && i < n && !seen[i], "selected must be distinct rows");
    seen[i] = true;
  }
}

py::tuple pairs_tuple(Pairs&& pairs) { return arrays(pairs.i, pairs.j, pairs.similarity); }

py::tuple kcenter_greedy_py(const Matrix& x, int64_t k, double radius, bool cosine, int64_t start,
                            const std::vector<int64_t>& selected, bool distances, int threads) {
  check_distinct(selected, x.n);
  MEDDEL_CHECK(start >= 0 && start < x.n, "start must be a row");
  MEDDEL_CHECK(k >= 1 && k <= x.n - static_cast<int64_t>(selected.size()), "k is out of range");
  KCenter out = call(threads, [&](const Context& context) {
    return kcenter_greedy(x, k, radius, metric(cosine), start, selected, distances, context);
  });
  return arrays(out.indices, out.radii, out.distances);
}

py::tuple similar_pairs_py(const Matrix& x, const std::optional<Matrix>& y, int64_t begin,
                           int64_t end, double threshold, int64_t max_pairs, int threads) {
  MEDDEL_CHECK(!y || (x.d == y->d && x.dtype == y->dtype), "x and y must agree in width and type");
  MEDDEL_CHECK(0 <= begin && begin < end && end <= x.n, "begin and end must be a range of rows");
  return pairs_tuple(call(threads, [&](const Context& context) {
    return similar_pairs(x, y ? &*y : nullptr, {begin, end}, threshold, max_pairs, context);
  }));
}

py::tuple redundancy_py(const Matrix& x, const std::optional<Index>& order,
                        const std::optional<Index>& labels, int threads) {
  const Ordering ordered = ordering(x.n, order, labels);
  constexpr double kAll = -std::numeric_limits<double>::infinity();
  Redundancy out =
      call(threads, [&](const Context& context) { return redundancy(x, ordered, kAll, context); });
  return arrays(out.similarity, out.neighbor);
}

py::tuple topk_similarity_py(const Matrix& x, const std::optional<Matrix>& y, int64_t k,
                             int threads) {
  MEDDEL_CHECK(!y || (x.d == y->d && x.dtype == y->dtype), "x and y must agree in width and type");
  MEDDEL_CHECK(k >= 1 && k <= (y ? y->n : x.n - 1), "k is out of range");
  TopK out = call(threads, [&](const Context& context) {
    return topk_similarity(x, y ? &*y : nullptr, k, context);
  });
  return py::make_tuple(array(std::move(out.similarity), {x.n, k}),
                        array(std::move(out.indices), {x.n, k}));
}

py::tuple deduplicate_py(const Matrix& x, double threshold, const std::string& rule,
                         const std::optional<Index>& order, const std::optional<Index>& labels,
                         int64_t max_pairs, int threads) {
  const Ordering ordered = ordering(x.n, order, labels);
  const Rule chosen = rule == "greedy"       ? Rule::kGreedy
                      : rule == "components" ? Rule::kComponents
                                             : Rule::kSemDeDup;
  Deduplicated out = call(threads, [&](const Context& context) {
    return deduplicate(x, threshold, chosen, ordered, max_pairs, context);
  });
  return arrays(out.representative, out.similarity);
}

py::array_t<int64_t> kmeans_plus_plus_py(const Matrix& x, bool spherical,
                                         const std::vector<double>& uniforms, int threads,
                                         const std::optional<py::array>& weights_array) {
  MEDDEL_CHECK(!uniforms.empty() && static_cast<int64_t>(uniforms.size()) <= x.n,
               "expected 1 to n uniforms");
  std::vector<double> weights;
  if (weights_array) weights = copied<double>(*weights_array, x.n, "weights");
  return array(call(threads, [&](const Context& context) {
    return kmeans_plus_plus(x, spherical, uniforms, weights, context);
  }));
}

py::tuple kmeans_py(const Matrix& x, const Matrix& init, int64_t max_iterations, double tol,
                    bool spherical, const std::optional<py::array>& weights, int threads) {
  MEDDEL_CHECK(init.dtype == DType::kFloat32 && init.d == x.d && init.ld == init.d,
               "centroids must be contiguous fp32 rows as wide as those of x");
  const float* begin = static_cast<const float*>(init.data);
  KMeansOptions options{spherical, max_iterations, tol};
  if (weights) options.weights = copied<double>(*weights, x.n, "weights");
  KMeans out = call(threads, [&](const Context& context) {
    return kmeans(x, {begin, begin + init.n * init.d}, init.n, options, context);
  });
  return py::make_tuple(
      array(std::move(out.labels)), array(std::move(out.centroids), {init.n, init.d}),
      array(std::move(out.distances)), out.inertia, out.iterations, out.converged);
}

int64_t first_nonfinite_row_py(const Matrix& x, int threads) {
  return call(threads, [&](const Context& context) {
    Team team(context);
    return first_nonfinite_row(team, x);
  });
}

// Operations on parts of sets: what is known so far comes in, and goes back with a part more.

void check_alike(const Matrix& x, const Matrix& y) {
  MEDDEL_CHECK(x.d == y.d && x.dtype == y.dtype, "both sides must agree in width and type");
}

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

void check_places(const Index& i, const Index& j, int64_t n) {
  MEDDEL_CHECK(i.size() == j.size(), "i and j must be of one length");
  for (const int64_t* at : {i.data(), j.data()}) {
    MEDDEL_CHECK(std::all_of(at, at + i.size(), [n](int64_t p) { return p >= 0 && p < n; }),
                 "i and j must be positions");
  }
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

py::tuple herding_py(const Matrix& x, const std::optional<py::array>& weights_array,
                     const std::vector<int64_t>& selected, const std::vector<int64_t>& counts,
                     int threads) {
  std::vector<double> weights;
  if (weights_array) weights = copied<double>(*weights_array, x.n, "weights");
  check_distinct(selected, x.n);
  int64_t before = 0;
  for (const int64_t count : counts) {
    MEDDEL_CHECK(count > before, "counts must rise");
    before = count;
  }
  MEDDEL_CHECK(before >= 1 && before <= x.n - static_cast<int64_t>(selected.size()),
               "counts are out of range");
  Herding out = call(threads, [&](const Context& context) {
    return herding(x, weights, selected, counts, context);
  });
  return py::make_tuple(
      array(std::move(out.order)),
      array(std::move(out.products), {static_cast<py::ssize_t>(counts.size()), x.n}),
      array(std::move(out.distances)));
}

py::array_t<double> class_mean_cosines_py(const Matrix& x, const py::array& labels_array, int64_t k,
                                          int threads) {
  const auto labels = copied<int64_t>(labels_array, x.n, "labels");
  for (const int64_t label : labels) {
    MEDDEL_CHECK(label >= 0 && label < k, "labels must be classes");
  }
  return array(call(
      threads, [&](const Context& context) { return class_mean_cosines(x, labels, k, context); }));
}

py::array_t<double> spanning_weights_py(const Index& i, const Index& j, const py::array& weight,
                                        int64_t n) {
  const auto weights = copied<double>(weight, i.size(), "weight");
  check_places(i, j, n);
  return array(call(1, [&](const Context&) {
    return spanning_weights(i.data(), j.data(), weights.data(), i.size(), n);
  }));
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

using Doubles = py::array_t<double, py::array::c_style | py::array::forcecast>;

void check_samples(const std::vector<int64_t>& samples, int64_t n) {
  std::vector<bool> seen(static_cast<size_t>(n), false);
  for (const int64_t i : samples) {
    MEDDEL_CHECK(i >= 0 && i < n && !seen[i], "samples must be distinct rows");
    seen[i] = true;
  }
}

Graph graph(const Index& start, const Index& source, const Doubles& value,
            const std::optional<Doubles>& weights) {
  MEDDEL_CHECK(start.ndim() == 1 && start.shape(0) >= 2 && start.at(0) == 0,
               "start must begin at 0");
  const int64_t n = start.shape(0) - 1, edges = start.at(n);
  for (int64_t j = 0; j < n; ++j) {
    MEDDEL_CHECK(start.data()[j] < start.data()[j + 1], "start must rise");
  }
  check_length(source, edges, "source");
  check_length(value, edges, "value");
  if (weights) check_length(*weights, n, "weights");
  const auto [least, most] = std::minmax_element(source.data(), source.data() + edges);
  MEDDEL_CHECK(*least >= 0 && *most < n, "sources must be samples");
  return {n, start.data(), source.data(), value.data(), weights ? weights->data() : nullptr};
}

py::tuple facility_tuple(Facility&& out) {
  py::list at;
  for (Represented& state : out.at) at.append(arrays(state.gains, state.best, state.by));
  return py::make_tuple(array(std::move(out.order)), array(std::move(out.won)), at);
}

py::tuple facility_py(const Index& start, const Index& source, const Doubles& value,
                      const std::optional<Doubles>& weights, const std::vector<int64_t>& selected,
                      const std::vector<int64_t>& counts) {
  const Graph edges = graph(start, source, value, weights);
  check_samples(selected, edges.n);
  int64_t before = static_cast<int64_t>(selected.size());
  for (const int64_t count : counts) {
    MEDDEL_CHECK(count > before && count <= edges.n, "counts must rise, beyond those selected");
    before = count;
  }
  MEDDEL_CHECK(!counts.empty(), "expected counts");
  return facility_tuple(
      call(1, [&](const Context& context) { return facility(edges, selected, counts, context); }));
}

py::tuple stochastic_facility_py(const Index& start, const Index& source, const Doubles& value,
                                 const std::optional<Doubles>& weights,
                                 const std::vector<int64_t>& selected,
                                 const std::vector<int64_t>& left, const Doubles& draws) {
  const Graph edges = graph(start, source, value, weights);
  check_samples(selected, edges.n);
  check_samples(left, edges.n);
  MEDDEL_CHECK(draws.ndim() == 2 && draws.shape(1) >= 1, "expected some draws a step");
  MEDDEL_CHECK(draws.shape(0) <= static_cast<int64_t>(left.size()), "too many steps");
  const auto inside = [](double u) { return u >= 0.0 && u < 1.0; };
  MEDDEL_CHECK(std::all_of(draws.data(), draws.data() + draws.size(), inside),
               "draws must be in [0, 1)");
  return facility_tuple(call(1, [&](const Context& context) {
    return stochastic_facility(edges, selected, left, draws.data(), draws.shape(0), draws.shape(1),
                               context);
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

// What PYBIND11_MODULE is to define; the module's own entry stands below.
#define PyInit__core init_in_main_interpreter
PYBIND11_MODULE(_core, m) {
  py::register_exception_translator([](std::exception_ptr p) {
    try {
      if (p) std::rethrow_exception(p);
    } catch (const TooManyPairs& error) {
      PyErr_SetObject(PyExc_OverflowError, py::int_(error.found).ptr());
    }
  });
  m.def("isa", [] { return std::string(kernels().name); });
  m.def("available_isas", &available_isas);
  m.def("use_isa", &use_isa);
  m.def("use_screen", [](const std::string& mode) {
    const std::pair<const char*, ScreenMode> modes[] = {
        {"auto", ScreenMode::kAuto},   {"always", ScreenMode::kAlways},
        {"wide", ScreenMode::kWide},   {"grouped", ScreenMode::kGrouped},
        {"dense", ScreenMode::kDense}, {"never", ScreenMode::kNever},
        {"boxes", ScreenMode::kBoxes}, {"products", ScreenMode::kProducts},
        {"codes", ScreenMode::kCodes}};
    for (const auto& [name, value] : modes) {
      if (mode == name) return use_screen(value);
    }
    MEDDEL_CHECK(
        false,
        "mode must be auto, always, wide, grouped, dense, never, boxes, products or codes, "
        "got '"
            << mode << "'");
  });
  m.def("use_floating_point", [](const std::optional<uint64_t>& state) {  // none: the default
    const uint64_t before = floating_point();
    set_floating_point(state.value_or(kDefaultFloatingPoint));
    return before;
  });
  m.def("report_to", [](const py::object& progress) {
    PyObject* const before =
        std::exchange(progress_of_thread, progress.is_none() ? nullptr : progress.ptr());
    return before == nullptr ? py::object(py::none()) : py::reinterpret_borrow<py::object>(before);
  });
  py::class_<Prepared>(m, "Prepared")
      .def(py::init<const py::array&, const std::optional<int64_t>&>(), py::arg(),
           py::arg() = py::none())
      .def_property_readonly("rows", &Prepared::rows)
      .def_property_readonly("nbytes", &Prepared::nbytes)
      .def("changed", &Prepared::changed);
  m.def("first_nonfinite_row", &first_nonfinite_row_py);
  m.def("kcenter_greedy", &kcenter_greedy_py);
  m.def("similar_pairs", &similar_pairs_py);
  m.def("redundancy", &redundancy_py);
  m.def("topk_similarity", &topk_similarity_py);
  m.def("deduplicate", &deduplicate_py);
  m.def("facility", &facility_py);
  m.def("stochastic_facility", &stochastic_facility_py);
  m.def("kmeans_plus_plus", &kmeans_plus_plus_py, py::arg(), py::arg(), py::arg(), py::arg(),
        py::arg("weights") = py::none());
  m.def("kmeans", &kmeans_py);
  m.def("herding", &herding_py);
  m.def("class_mean_cosines", &class_mean_cosines_py);
  m.def("squared_norms", &squared_norms_py);
  m.def("earlier_in_part", &earlier_in_part_py);
  m.def("topk_in_part", &topk_in_part_py);
  m.def("pairs_of_groups", &pairs_of_groups_py);
  m.def("greedy_in_part", &greedy_in_part_py);
  m.def("join_components", &join_components_py);
  m.def("spanning_weights", &spanning_weights_py);
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
#undef PyInit__core

}  // namespace meddel

// In a subinterpreter pybind11 waits for ever for the GIL, which its own thread holds.
extern "C" PYBIND11_EXPORT PyObject* PyInit__core() {
  if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
    PyErr_SetString(PyExc_ImportError, "meddel_fast cannot be imported in a subinterpreter");
    return nullptr;
  }
  return meddel::init_in_main_interpreter();
}

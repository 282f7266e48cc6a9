// Python's module _core, and its operations on whole sets.
//
// The rooms of csrc/, each of which includes itself and those below it, and nothing else:
//   *bindings.{h,cpp}                  Python's modules _core and _cuda
//   ops/                               an operation each, on a whole matrix and (*_parts) on parts
//   screen/                            what leaves pairs of rows out, and the proof that it may
//   base/         (beside ops: cuda/)  the truth, matrices, norms, threads
//   cpu/                               what differs by instruction set
#include "bindings.h"

#include <limits>
#include <string>

#include "base/norms.h"
#include "cpu/isa.h"
#include "ops/deduplicate.h"
#include "ops/kcenter.h"
#include "ops/kmeans.h"
#include "ops/ordering.h"
#include "ops/redundancy.h"
#include "ops/topk.h"
#include "screen/plan.h"

namespace meddel {
namespace {

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

py::tuple kcenter_greedy_py(const Matrix& x, int64_t k, double radius, bool cosine, int64_t start,
                            const std::vector<int64_t>& selected, bool distances, int threads) {
  check_distinct(selected, x.n, "selected");
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

Rule rule_of(const std::string& rule) {
  return rule == "greedy"       ? Rule::kGreedy
         : rule == "components" ? Rule::kComponents
                                : Rule::kSemDeDup;
}

py::tuple deduplicate_py(const Matrix& x, double threshold, const std::string& rule,
                         const std::optional<Index>& order, const std::optional<Index>& labels,
                         int64_t max_pairs, int threads) {
  const Ordering ordered = ordering(x.n, order, labels);
  const Rule chosen = rule_of(rule);
  Deduplicated out = call(threads, [&](const Context& context) {
    return deduplicate(x, threshold, chosen, ordered, max_pairs, context);
  });
  return arrays(out.representative, out.similarity);
}

// The pairs that the rules greedy and components go by, for all thresholds from a floor on. The
// caller holds the rows, and hands in the same ones at each call.
class SimilarEarlier {
 public:
  SimilarEarlier(const Matrix& x, double floor, const std::string& rule,
                 const std::optional<Index>& order, const std::optional<Index>& labels,
                 int64_t max_pairs, int threads)
      : n_(x.n), d_(x.d), floor_(floor), rule_(rule_of(rule)) {
    MEDDEL_CHECK(rule_ != Rule::kSemDeDup, "rule must be greedy or components");
    Ordering ordered = ordering(x.n, order, labels);
    found_ = call(threads, [&](const Context& context) {
      auto found = std::make_unique<EarlierSimilar>(
          earlier_similar(x, floor, std::move(ordered), max_pairs, context));
      if (rule_ == Rule::kComponents) keep_spanning(*found);
      return found;
    });
  }

  py::tuple at(const Matrix& x, double threshold) const {
    check_same(x);
    MEDDEL_CHECK(threshold >= floor_, "threshold must be at least the floor");
    Deduplicated out =
        call(1, [&](const Context&) { return deduplicate_by(*found_, x, threshold, rule_); });
    return arrays(out.representative, out.similarity);
  }

  py::tuple pairs(const Matrix& x) const {
    check_same(x);
    return pairs_tuple(similar_rows(*found_, x, floor_));
  }

 private:
  void check_same(const Matrix& x) const {
    MEDDEL_CHECK(x.n == n_ && x.d == d_, "x must be the rows that the pairs are of");
  }

  const int64_t n_, d_;
  const double floor_;
  const Rule rule_;
  std::unique_ptr<const EarlierSimilar> found_;
};

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
  constexpr int64_t kFew = 1 << 14;  // elements, over before anything is got ready for them
  if (x.known == nullptr && x.ld == x.d && x.n * x.d <= kFew &&
      kernels().finite[static_cast<int>(x.dtype)](x.data, x.n * x.d)) {
    return -1;
  }
  return call(threads, [&](const Context& context) {
    Team team(context);
    return first_nonfinite_row(team, x);
  });
}

}  // namespace

// What PYBIND11_MODULE is to define; the module's own entry stands below.
#define PyInit__core init_in_main_interpreter
PYBIND11_MODULE(_core, m, py::mod_gil_not_used()) {
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
        {"auto", ScreenMode::kAuto},       {"always", ScreenMode::kAlways},
        {"wide", ScreenMode::kWide},       {"grouped", ScreenMode::kGrouped},
        {"dense", ScreenMode::kDense},     {"never", ScreenMode::kNever},
        {"boxes", ScreenMode::kBoxes},     {"products", ScreenMode::kProducts},
        {"codes", ScreenMode::kCodes},     {"passes", ScreenMode::kPasses},
        {"near", ScreenMode::kNearCentres}};
    for (const auto& [name, value] : modes) {
      if (mode == name) return use_screen(value);
    }
    MEDDEL_CHECK(
        false,
        "mode must be auto, always, wide, grouped, dense, never, boxes, products, codes, passes or "
        "near, got '"
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
  py::class_<SimilarEarlier>(m, "SimilarEarlier")
      .def(py::init<const Matrix&, double, const std::string&, const std::optional<Index>&,
                    const std::optional<Index>&, int64_t, int>())
      .def("at", &SimilarEarlier::at)
      .def("pairs", &SimilarEarlier::pairs);
  m.def("kmeans_plus_plus", &kmeans_plus_plus_py, py::arg(), py::arg(), py::arg(), py::arg(),
        py::arg("weights") = py::none());
  m.def("kmeans", &kmeans_py);
  bind_selections(m);
  bind_parts(m);
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

// The one file that knows Python: converts, releases the GIL, calls. Arguments are trusted to be
// what meddel_fast.ops makes of the user's; only what would read outside an array is checked again.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "cpu/isa.h"
#include "deduplicate.h"
#include "kcenter.h"
#include "kmeans.h"
#include "matrix.h"
#include "norms.h"
#include "pairs.h"
#include "parallel.h"
#include "screen.h"

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

py::tuple pairs_tuple(Pairs&& pairs) {
  return py::make_tuple(array(std::move(pairs.i)), array(std::move(pairs.j)),
                        array(std::move(pairs.similarity)));
}

py::tuple kcenter_greedy_py(const py::array& x_array, int64_t k, double radius, bool cosine_metric,
                            int64_t start, const std::vector<int64_t>& selected, bool distances,
                            int threads) {
  const Matrix x = matrix(x_array);
  std::vector<bool> seen(static_cast<size_t>(x.n), false);
  for (int64_t i : selected) {
    MEDDEL_CHECK(i >= 0 && i < x.n && !seen[i], "selected must be distinct rows");
    seen[i] = true;
  }
  MEDDEL_CHECK(start >= 0 && start < x.n, "start must be a row");
  MEDDEL_CHECK(k >= 1 && k <= x.n - static_cast<int64_t>(selected.size()), "k is out of range");
  const Metric metric = cosine_metric ? Metric::kCosine : Metric::kEuclidean;
  KCenter out = call(threads, [&](const Context& context) {
    return kcenter_greedy(x, k, radius, metric, start, selected, distances, context);
  });
  return py::make_tuple(array(std::move(out.indices)), array(std::move(out.radii)),
                        array(std::move(out.distances)));
}

py::tuple similar_pairs_py(const py::array& x_array, const std::optional<py::array>& y_array,
                           int64_t begin, int64_t end, double threshold, int64_t max_pairs,
                           int threads) {
  const Matrix x = matrix(x_array);
  const Matrix y = y_array ? matrix(*y_array) : x;
  MEDDEL_CHECK(x.d == y.d && x.dtype == y.dtype, "x and y must agree in width and type");
  MEDDEL_CHECK(0 <= begin && begin < end && end <= x.n, "begin and end must be a range of rows");
  return pairs_tuple(call(threads, [&](const Context& context) {
    return similar_pairs(x, y_array ? &y : nullptr, {begin, end}, threshold, max_pairs, context);
  }));
}

py::tuple redundancy_py(const py::array& x_array, const std::optional<Index>& order,
                        const std::optional<Index>& labels, int threads) {
  const Matrix x = matrix(x_array);
  const Ordering ordered = ordering(x.n, order, labels);
  Redundancy out =
      call(threads, [&](const Context& context) { return redundancy(x, ordered, context); });
  return py::make_tuple(array(std::move(out.similarity)), array(std::move(out.neighbor)));
}

py::tuple topk_similarity_py(const py::array& x_array, const std::optional<py::array>& y_array,
                             int64_t k, int threads) {
  const Matrix x = matrix(x_array);
  const Matrix y = y_array ? matrix(*y_array) : x;
  MEDDEL_CHECK(x.d == y.d && x.dtype == y.dtype, "x and y must agree in width and type");
  MEDDEL_CHECK(k >= 1 && k <= (y_array ? y.n : x.n - 1), "k is out of range");
  TopK out = call(threads, [&](const Context& context) {
    return topk_similarity(x, y_array ? &y : nullptr, k, context);
  });
  return py::make_tuple(array(std::move(out.similarity), {x.n, k}),
                        array(std::move(out.indices), {x.n, k}));
}

py::tuple deduplicate_py(const py::array& x_array, double threshold, const std::string& rule,
                         const std::optional<Index>& order, const std::optional<Index>& labels,
                         int64_t max_pairs, int threads) {
  const Matrix x = matrix(x_array);
  const Ordering ordered = ordering(x.n, order, labels);
  const Rule chosen = rule == "greedy"       ? Rule::kGreedy
                      : rule == "components" ? Rule::kComponents
                                             : Rule::kSemDeDup;
  Deduplicated out = call(threads, [&](const Context& context) {
    return deduplicate(x, threshold, chosen, ordered, max_pairs, context);
  });
  return py::make_tuple(array(std::move(out.representative)), array(std::move(out.similarity)));
}

py::array_t<int64_t> kmeans_plus_plus_py(const py::array& x_array, bool spherical,
                                         const std::vector<double>& uniforms, int threads) {
  const Matrix x = matrix(x_array);
  MEDDEL_CHECK(!uniforms.empty() && static_cast<int64_t>(uniforms.size()) <= x.n,
               "expected 1 to n uniforms");
  return array(call(threads, [&](const Context& context) {
    return kmeans_plus_plus(x, spherical, uniforms, context);
  }));
}

py::tuple kmeans_py(const py::array& x_array, const py::array& init_array, int64_t max_iterations,
                    bool spherical, int threads) {
  const Matrix x = matrix(x_array), init = matrix(init_array);
  MEDDEL_CHECK(init.dtype == DType::kFloat32 && init.d == x.d && init.ld == init.d,
               "centroids must be contiguous fp32 rows as wide as those of x");
  const float* begin = static_cast<const float*>(init.data);
  KMeans out = call(threads, [&](const Context& context) {
    return kmeans(x, {begin, begin + init.n * init.d}, init.n, spherical, max_iterations, context);
  });
  return py::make_tuple(
      array(std::move(out.labels)), array(std::move(out.centroids), {init.n, init.d}),
      array(std::move(out.distances)), out.inertia, out.iterations, out.converged);
}

int64_t first_nonfinite_row_py(const py::array& x_array, int threads) {
  const Matrix x = matrix(x_array);
  return call(threads, [&](const Context& context) {
    Team team(context);
    return first_nonfinite_row(team, x);
  });
}

}  // namespace

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
        {"dense", ScreenMode::kDense}, {"never", ScreenMode::kNever}};
    for (const auto& [name, value] : modes) {
      if (mode == name) return use_screen(value);
    }
    MEDDEL_CHECK(false, "mode must be auto, always, grouped, dense or never, got '" << mode << "'");
  });
  m.def("report_to", [](const py::object& progress) {
    PyObject* const before =
        std::exchange(progress_of_thread, progress.is_none() ? nullptr : progress.ptr());
    return before == nullptr ? py::object(py::none()) : py::reinterpret_borrow<py::object>(before);
  });
  m.def("first_nonfinite_row", &first_nonfinite_row_py);
  m.def("kcenter_greedy", &kcenter_greedy_py);
  m.def("similar_pairs", &similar_pairs_py);
  m.def("redundancy", &redundancy_py);
  m.def("topk_similarity", &topk_similarity_py);
  m.def("deduplicate", &deduplicate_py);
  m.def("kmeans_plus_plus", &kmeans_plus_plus_py);
  m.def("kmeans", &kmeans_py);
}

}  // namespace meddel

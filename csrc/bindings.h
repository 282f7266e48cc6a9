// What the bindings share: conversions between Python's objects and the core's, and the way a call
// takes. Arguments are trusted to be what meddel_fast.ops makes of the user's; only what would read
// outside an array is checked again.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/floating_point.h"
#include "base/known.h"
#include "base/matrix.h"
#include "base/parallel.h"
#include "base/truth.h"
#include "ops/pairs.h"

namespace py = pybind11;

namespace meddel {

using Index = py::array_t<int64_t, py::array::c_style | py::array::forcecast>;
using Doubles = py::array_t<double, py::array::c_style | py::array::forcecast>;

// bf16 has no numpy type: it comes as uint16.
inline DType dtype_of(const py::array& x) {
  const char kind = x.dtype().kind();
  const auto size = x.itemsize();
  if (kind == 'f' && size == 4) return DType::kFloat32;
  if (kind == 'f' && size == 2) return DType::kFloat16;
  if (kind == 'u' && size == 2) return DType::kBFloat16;
  MEDDEL_CHECK(kind == 'i' && size == 1, "unsupported element type");
  return DType::kInt8;
}

inline Matrix matrix(const py::array& x) {
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

// Whom this thread's operations tell how far they are: a function of (done, total), or null. The
// caller of report_to holds it.
inline thread_local PyObject* progress_of_thread = nullptr;

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

inline Metric metric(bool cosine) { return cosine ? Metric::kCosine : Metric::kEuclidean; }

inline void check_length(const py::array& a, int64_t n, const char* name) {
  MEDDEL_CHECK(a.ndim() == 1 && a.shape(0) == n, name << " must have length " << n);
}

template <class T>
std::vector<T> copied(const py::array& values, int64_t size, const char* name) {
  const py::array_t<T, py::array::c_style | py::array::forcecast> whole(values);
  MEDDEL_CHECK(whole.size() == size, name << " must have " << size << " elements");
  return {whole.data(), whole.data() + size};
}

inline void check_distinct(const std::vector<int64_t>& rows, int64_t n, const char* name) {
  if (rows.empty()) return;
  std::vector<bool> seen(static_cast<size_t>(n), false);
  for (const int64_t i : rows) {
    MEDDEL_CHECK(i >= 0 && i < n && !seen[i], name << " must be distinct rows");
    seen[i] = true;
  }
}

inline py::tuple pairs_tuple(Pairs&& pairs) { return arrays(pairs.i, pairs.j, pairs.similarity); }

inline void check_alike(const Matrix& x, const Matrix& y) {
  MEDDEL_CHECK(x.d == y.d && x.dtype == y.dtype, "both sides must agree in width and type");
}

inline void check_places(const Index& i, const Index& j, int64_t n) {
  MEDDEL_CHECK(i.size() == j.size(), "i and j must be of one length");
  for (const int64_t* at : {i.data(), j.data()}) {
    MEDDEL_CHECK(std::all_of(at, at + i.size(), [n](int64_t p) { return p >= 0 && p < n; }),
                 "i and j must be positions");
  }
}

// The rest of the module, by file.
void bind_parts(py::module_& m);
void bind_selections(py::module_& m);

}  // namespace meddel

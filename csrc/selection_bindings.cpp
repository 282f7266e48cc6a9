// The loops of selectors: what they are made of stands in python/meddel_fast/selectors.
#include "bindings.h"
#include "ops/class_means.h"
#include "ops/facility.h"
#include "ops/herding.h"
#include "ops/spanning_forest.h"

namespace meddel {
namespace {

py::tuple herding_py(const Matrix& x, const std::optional<py::array>& weights_array,
                     const std::vector<int64_t>& selected, const std::vector<int64_t>& counts,
                     int threads) {
  std::vector<double> weights;
  if (weights_array) weights = copied<double>(*weights_array, x.n, "weights");
  check_distinct(selected, x.n, "selected");
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

Graph graph(const Index& start, const Index& source, const Doubles& value,
            const std::optional<Doubles>& weights, int hops) {
  MEDDEL_CHECK(hops == 1 || hops == 2, "hops must be 1 or 2");
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
  return {n, start.data(), source.data(), value.data(), weights ? weights->data() : nullptr, hops};
}

py::tuple facility_tuple(Facility&& out) {
  py::list at;
  for (Represented& state : out.at) at.append(arrays(state.gains, state.best, state.by));
  return py::make_tuple(array(std::move(out.order)), array(std::move(out.won)), at);
}

py::tuple facility_py(const Index& start, const Index& source, const Doubles& value,
                      const std::optional<Doubles>& weights, const std::vector<int64_t>& selected,
                      const std::vector<int64_t>& counts, int hops, int threads) {
  const Graph edges = graph(start, source, value, weights, hops);
  check_distinct(selected, edges.n, "samples");
  int64_t before = static_cast<int64_t>(selected.size()) - 1;
  for (const int64_t count : counts) {
    MEDDEL_CHECK(count > before && count <= edges.n, "counts must rise, from those selected on");
    before = count;
  }
  MEDDEL_CHECK(!counts.empty(), "expected counts");
  return facility_tuple(call(
      threads, [&](const Context& context) { return facility(edges, selected, counts, context); }));
}

py::tuple stochastic_facility_py(const Index& start, const Index& source, const Doubles& value,
                                 const std::optional<Doubles>& weights,
                                 const std::vector<int64_t>& selected,
                                 const std::vector<int64_t>& left, const Doubles& draws) {
  const Graph edges = graph(start, source, value, weights, 1);
  check_distinct(selected, edges.n, "samples");
  check_distinct(left, edges.n, "samples");
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

}  // namespace

void bind_selections(py::module_& m) {
  m.def("facility", &facility_py);
  m.def("stochastic_facility", &stochastic_facility_py);
  m.def("herding", &herding_py);
  m.def("class_mean_cosines", &class_mean_cosines_py);
  m.def("spanning_weights", &spanning_weights_py);
}

}  // namespace meddel

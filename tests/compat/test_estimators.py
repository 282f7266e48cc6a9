"""scikit-learn's drop-ins: its own checks of estimators, and its answers."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import pytest
from samples import clustered

from meddel_fast import reference

pytest.importorskip("sklearn", minversion="1.6")


def estimators() -> list[Any]:
    from meddel_fast.compat import sklearn as ours

    return [
        ours.KMeans(n_clusters=3, random_state=0),
        ours.NearestNeighbors(),
        ours.NearestNeighbors(metric="cosine"),
        ours.KCenterSelector(),
    ]


# What a selector of rows cannot keep: a row out for each row in, whichever rows these are.
ROWS = "it selects rows"
# And scikit-learn's own KMeans fails the check of weights, whose draws are no others for copies.
ALLOWED = {
    "KCenterSelector": dict.fromkeys(
        [
            "check_transformer_data_not_an_array", "check_transformer_general",
            "check_methods_sample_order_invariance", "check_methods_subset_invariance",
            "check_fit_idempotent",
        ],
        ROWS,
    ),
    "KMeans": {"check_sample_weight_equivalence_on_dense_data": "other draws"},
}  # fmt: skip


@pytest.mark.parametrize("which", range(4))
def test_check_estimator(which: int) -> None:
    from sklearn.utils.estimator_checks import check_estimator

    estimator = estimators()[which]
    allowed = ALLOWED.get(type(estimator).__name__, {})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of checks that are skipped or fail as allowed
        results = check_estimator(estimator, expected_failed_checks=allowed)
    assert len(results) > 30
    failed = {r["check_name"] for r in results if r["status"] not in ("passed", "skipped")}
    assert failed == set(allowed)


@pytest.mark.parametrize("metric", ["minkowski", "cosine"])
def test_nearest_neighbors(rng: np.random.Generator, metric: str) -> None:
    from sklearn.neighbors import NearestNeighbors as Original

    from meddel_fast.compat.sklearn import NearestNeighbors

    # Angles and lengths that float32 tells apart; rows 5 and 9 repeat row 2.
    x = rng.normal(size=(80, 6)).astype(np.float32)
    x[[5, 9]] = x[2]
    queries = rng.normal(size=(9, 6)).astype(np.float32)
    theirs = Original(n_neighbors=4, metric=metric, algorithm="brute").fit(x.astype(np.float64))
    ours = NearestNeighbors(n_neighbors=4, metric=metric).fit(x)
    radius = float(np.median(theirs.kneighbors(queries)[0]))
    for given in (None, queries):
        wide = None if given is None else given.astype(np.float64)
        wanted, got = theirs.kneighbors(wide), ours.kneighbors(given)
        np.testing.assert_allclose(got[0], wanted[0], atol=1e-7)
        for a, b in zip(got[1], wanted[1], strict=True):
            assert np.isin(np.setxor1d(a, b), [2, 5, 9]).all()  # of copies either may be found
        near, far = ours.radius_neighbors(given, radius), theirs.radius_neighbors(wide, radius)
        for i in range(len(near[0])):
            np.testing.assert_array_equal(near[1][i], np.sort(far[1][i]))
    rising = ours.radius_neighbors(queries, radius, sort_results=True)[0]
    assert all((np.diff(row) >= 0).all() for row in rising)
    assert ours.kneighbors(queries, 1, return_distance=False).shape == (9, 1)
    assert ours.kneighbors(n_neighbors=2)[1][[2, 5, 9], 0].tolist() == [5, 2, 2]
    nothing = ours.radius_neighbors(x[:1] * 3 + 50, 0.0, return_distance=False)
    assert len(nothing[0]) == 0
    assert 2 in ours.radius_neighbors(x[5:6], 1e-7 if metric == "cosine" else 0.0)[1][0]
    with pytest.raises(ValueError, match="n_neighbors must be an int from 1 to 79, got 80"):
        ours.kneighbors(n_neighbors=80)
    with pytest.raises(ValueError, match="p must be 2, got 1"):
        NearestNeighbors(p=1).fit(x)
    with pytest.raises(ValueError, match="metric must be one of"):
        NearestNeighbors(metric="l1").fit(x)
    with pytest.raises(ValueError, match="metric_params must be empty"):
        NearestNeighbors(metric_params={"w": np.ones(6)}).fit(x)


@pytest.mark.parametrize("metric", ["minkowski", "euclidean", "l2", "cosine"])
@pytest.mark.parametrize("query", [None, np.float32, np.float64, np.int32])
@pytest.mark.parametrize("fitted", [np.float32, np.float64, np.float16, np.int32])
def test_distances_have_the_type_of_scikit_learn(
    rng: np.random.Generator, metric: str, fitted: Any, query: Any
) -> None:
    from sklearn.neighbors import NearestNeighbors as Original

    from meddel_fast.compat.sklearn import NearestNeighbors

    x = rng.integers(1, 20, size=(30, 4))
    queries = None if query is None else x[:7].astype(query)
    made = [one(metric=metric, n_neighbors=3, radius=5.0) for one in (Original, NearestNeighbors)]
    types = []
    for one in made:
        one.fit(x.astype(fitted))
        distances, indices = one.radius_neighbors(queries)
        near = one.kneighbors(queries)
        types.append([a.dtype for a in (distances[0], indices[0], *near)])
        graphs = one.kneighbors_graph(queries, mode="distance"), one.radius_neighbors_graph(queries)
        types[-1] += [graph.shape for graph in graphs]
        np.testing.assert_array_equal(graphs[0].indices.reshape(-1, 3), near[1])
    assert types[0] == types[1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_every_row_finds_itself_at_radius_0(
    rng: np.random.Generator, metric: str, dtype: Any
) -> None:
    from meddel_fast.compat.sklearn import NearestNeighbors

    x = rng.normal(size=(300, 7)).astype(dtype)
    x[200:] = x[:100]  # and its copies
    made = NearestNeighbors(metric=metric, radius=0.0).fit(x)
    for queries in (x, x.copy()):
        distance, index = made.radius_neighbors(queries)
        copies = [{i % 200, i % 200 + 200} & set(range(300)) for i in range(300)]
        assert [set(row.tolist()) for row in index] == copies
        assert all((row == 0.0).all() for row in distance)
    assert made.radius_neighbors(x[:2], np.inf, return_distance=False)[0].tolist() == [*range(300)]


def test_estimators_know_the_names_of_features(rng: np.random.Generator) -> None:
    from sklearn.base import clone

    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(rng.normal(size=(20, 3)).astype(np.float32), columns=list("abc"))
    for estimator in estimators():
        made = clone(estimator).fit(table)
        assert made.n_features_in_ == 3
        assert made.feature_names_in_.tolist() == ["a", "b", "c"]
        assert made.get_params() == estimator.get_params()
        with pytest.warns(UserWarning, match="does not have valid feature names"):
            getattr(made, "kneighbors", getattr(made, "transform", None))(table.to_numpy())
    named = estimators()[0].set_output(transform="pandas").fit(table).transform(table)
    assert named.columns.tolist() == ["kmeans0", "kmeans1", "kmeans2"]


def test_kmeans_obeys_weights(rng: np.random.Generator) -> None:
    from sklearn.cluster import KMeans as Original

    from meddel_fast.compat.sklearn import KMeans

    x = clustered(rng, 150, 6)
    weights = rng.integers(0, 4, size=150).astype(float)
    theirs = Original(5, init=x[:5], n_init=1, tol=0).fit(x, sample_weight=weights)
    ours = KMeans(5, init=x[:5], tol=0).fit(x, sample_weight=weights)
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, atol=1e-5)
    np.testing.assert_allclose(ours.inertia_, theirs.inertia_, rtol=1e-5)
    for weights_given in (weights, None, np.full(150, 2.5)):
        np.testing.assert_allclose(
            ours.score(x, sample_weight=weights_given),
            theirs.score(x, sample_weight=weights_given), rtol=1e-5,
        )  # fmt: skip
    # Whole weights are copies; equal ones scale the inertia.
    copies = KMeans(5, init=x[:5], tol=0).fit(np.repeat(x, weights.astype(int), axis=0))
    np.testing.assert_allclose(ours.inertia_, copies.inertia_, rtol=1e-9)
    plain, double = (KMeans(5, init=x[:5]).fit(x, sample_weight=w) for w in (None, np.full(150, 2)))
    np.testing.assert_allclose(double.inertia_, 2 * plain.inertia_)
    for init in ("k-means++", "random", lambda x, k, random_state: x[random_state.permutation(k)]):
        made = KMeans(5, init=init, n_init=3, random_state=0).fit(x, sample_weight=weights)
        assert len(np.unique(made.labels_[weights > 0])) == 5
        again = KMeans(5, init=init, n_init=3, random_state=0).fit_predict(x, sample_weight=weights)
        np.testing.assert_array_equal(made.labels_, again)
    few = KMeans(3, random_state=0).fit(x[[0, 0, 0, 1]], sample_weight=[1, 2, 3, 4])
    assert few.inertia_ == 0.0
    with pytest.raises(ValueError, match="Negative values in data passed"):
        KMeans(2).fit(x, sample_weight=-weights)


@pytest.mark.parametrize("tol", [0, 1e-4, 0.05])
def test_kmeans_of_sklearn(rng: np.random.Generator, tol: float) -> None:
    from sklearn.cluster import KMeans as Original

    from meddel_fast.compat.sklearn import KMeans

    x = clustered(rng, 150, 6)
    theirs = Original(5, init=x[:5], n_init=1, tol=tol).fit(x)
    ours = KMeans(5, init=x[:5], tol=tol).fit(x)
    assert ours.n_iter_ == theirs.n_iter_ - 1  # the last of which changes no label
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, atol=1e-5)
    np.testing.assert_allclose(ours.inertia_, theirs.inertia_, rtol=1e-5)
    np.testing.assert_array_equal(ours.predict(x[:3]), theirs.predict(x[:3]))  # fewer than 5
    np.testing.assert_allclose(ours.transform(x), theirs.transform(x), atol=1e-4)
    np.testing.assert_allclose(ours.score(x), theirs.score(x), rtol=1e-5)
    assert KMeans(5, n_init=5, random_state=0).fit(x).inertia_ <= (
        KMeans(5, random_state=0).fit(x).inertia_
    )
    with pytest.raises(ValueError, match=re.escape("n_clusters must be from 1 to 150 (n_samples)")):
        KMeans(151).fit(x)


def test_kmeans_of_sklearn_stops_by_tol(rng: np.random.Generator) -> None:
    from sklearn.cluster import KMeans as Original

    from meddel_fast.compat.sklearn import KMeans

    x = rng.normal(size=(2000, 6)).astype(np.float32)
    steps = []
    for tol in (0.0, 1e-3, 1e-2):
        theirs = Original(8, init=x[:8], n_init=1, tol=tol).fit(x)
        ours = KMeans(8, init=x[:8], tol=tol).fit(x)
        assert ours.n_iter_ == theirs.n_iter_ - (tol == 0.0)
        np.testing.assert_array_equal(ours.labels_, theirs.labels_)
        steps.append(ours.n_iter_)
    assert steps[0] > steps[1] > steps[2]
    with pytest.raises(ValueError, match="tol must be"):
        KMeans(8, tol=-1.0).fit(x)


def test_kcenter_selector(rng: np.random.Generator) -> None:
    from meddel_fast.compat.sklearn import KCenterSelector

    x = clustered(rng, 50, 6)
    wanted = reference.kcenter_greedy(x, 10, start=4)
    made = KCenterSelector(0.2, start=4).fit(x)
    np.testing.assert_array_equal(made.indices_, wanted[0])
    np.testing.assert_array_equal(made.radii_, wanted[1])
    assert made.radius_ == wanted[2].max()
    np.testing.assert_array_equal(made.get_support(indices=True), np.sort(wanted[0]))
    np.testing.assert_array_equal(np.flatnonzero(made.get_support()), np.sort(wanted[0]))
    np.testing.assert_array_equal(made.transform(x), x[np.sort(wanted[0])])
    rows, labels = KCenterSelector(10, start=4).fit_resample(x.tolist(), list(range(50)))
    assert labels == np.sort(wanted[0]).tolist()
    assert len(rows) == 10
    with pytest.raises(ValueError, match="X must have 50 rows as at fit, got 3"):
        made.transform(x[:3])

"""FAISS's drop-ins: exact search and k-means, as brute force by the reference finds it."""

from __future__ import annotations

import importlib
import importlib.util
import re
from typing import Any

import numpy as np
import pytest
from samples import ADVERSARIAL, adversarial, clustered

from meddel_fast import ops, reference
from meddel_fast.compat import _search, faiss

N, D = 60, 11
LARGEST = float(np.finfo(np.float32).max)


def truth(queries: np.ndarray, rows: np.ndarray, distance: bool) -> np.ndarray:
    q, x = reference.widen(queries), reference.widen(rows)
    return reference.squared_distance(q, x) if distance else reference.inner(q, x)


def best(values: np.ndarray, k: int, distance: bool) -> tuple[np.ndarray, np.ndarray]:
    index = np.argsort(values if distance else -values, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(values, index, 1), index


def sets(rng: np.random.Generator) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Rows and queries: of the same kind, and far away or without length."""
    made = {name: adversarial(name, rng, N, D).astype(np.float32) for name in ADVERSARIAL}
    made["clustered"] = clustered(rng, N, D)
    made["offset"] = made["clustered"] * np.float32(0.01) + np.float32(1000)
    out = {name: (x, np.concatenate([x[:9], x[3:5] + 1])) for name, x in made.items()}
    far = np.stack([made["clustered"][0] * np.float32(1e6), np.zeros(D, np.float32)])
    out["far queries"] = made["clustered"], far
    return out


@pytest.mark.parametrize("distance", [True, False])
@pytest.mark.parametrize("name", [*ADVERSARIAL, "clustered", "offset", "far queries"])
def test_search_is_brute_force(
    rng: np.random.Generator, name: str, distance: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_search, "SPARE", 1)  # so that bounds have to decide
    monkeypatch.setattr(_search, "MORE", 2)
    rows, queries = sets(rng)[name]
    values = truth(queries, rows, distance)
    made = _search.Search(rows, distance)
    for k in (1, 5, N):
        got = made.top(queries, k)
        np.testing.assert_array_equal(got[0], best(values, k, distance)[0])
        np.testing.assert_array_equal(got[1], best(values, k, distance)[1])
    for limit in (*np.quantile(values, [0.0, 0.1, 0.5]), values.max() * 2 + 1, -1.0):
        found = made.within(queries, float(limit))
        near = values < limit if distance else values > limit
        np.testing.assert_array_equal(found.limits[1:], np.cumsum(near.sum(axis=1)))
        np.testing.assert_array_equal(found.rows, np.nonzero(near)[1])
        np.testing.assert_array_equal(found.value, values[near])


def test_bounds_are_needed(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its error and slack the search is wrong on rows that fp32 cannot tell apart."""
    x = rng.choice([-1.0, 1.0], size=(400, 1)) + 3e-5 * rng.normal(size=(400, D))
    x = x.astype(np.float32)
    values = truth(x[:50], x, True)
    monkeypatch.setattr(_search, "SPARE", 2)
    wanted = best(values, 3, True)[1]
    np.testing.assert_array_equal(_search.Search(x, True).top(x[:50], 3)[1], wanted)
    monkeypatch.setattr(_search, "ERROR", 0.0)
    monkeypatch.setattr(_search.Search, "_slack", lambda _, squares: np.zeros_like(squares))
    assert not np.array_equal(_search.Search(x, True).top(x[:50], 3)[1], wanted)


@pytest.mark.parametrize("metric", ["L2", "IP"])
def test_index(rng: np.random.Generator, metric: str) -> None:
    x, queries = clustered(rng, N, D), clustered(rng, 7, D)
    distance = metric == "L2"
    index = faiss.IndexFlatL2(D) if distance else faiss.IndexFlatIP(D)
    assert (index.d, index.ntotal, index.is_trained) == (D, 0, True)
    value, found = index.search(queries, 2)
    assert (found == -1).all()
    assert (np.abs(value) == LARGEST).all()
    assert [len(part) for part in index.range_search(queries, 1.0)] == [8, 0, 0]
    index.add(x[:20])
    index.add(x[20:])
    assert index.ntotal == N
    np.testing.assert_array_equal(index.reconstruct(33), x[33])
    values = truth(queries, x, distance)
    value, found = index.search(queries, N + 3)
    assert (value.dtype, found.dtype, found.shape) == (np.float32, np.int64, (7, N + 3))
    np.testing.assert_array_equal(found[:, :N], best(values, N, distance)[1])
    np.testing.assert_array_equal(value[:, :N], best(values, N, distance)[0].astype(np.float32))
    assert (found[:, N:] == -1).all()
    assert (value[:, N:] == (LARGEST if distance else -LARGEST)).all()
    limit = float(np.float32(np.quantile(values, 0.2)))
    limits, near, which = index.range_search(queries, limit)
    assert (limits.dtype, near.dtype, which.dtype) == (np.uint64, np.float32, np.int64)
    wanted = values < limit if distance else values > limit
    np.testing.assert_array_equal(which, np.nonzero(wanted)[1])
    np.testing.assert_array_equal(np.diff(limits.astype(int)), wanted.sum(axis=1))
    index.reset()
    assert index.ntotal == 0


@pytest.mark.parametrize("metric", ["L2", "IP"])
def test_index_is_that_of_faiss(metric: str) -> None:
    original = pytest.importorskip("faiss")
    rng = np.random.default_rng(1)
    # Whole numbers: float32 is exact, and ties are many. Of those FAISS may give any.
    x = rng.integers(-20, 20, size=(500, 16)).astype(np.float32)
    queries = rng.integers(-20, 20, size=(20, 16)).astype(np.float32)
    theirs, ours = (getattr(module, f"IndexFlat{metric}")(16) for module in (original, faiss))
    theirs.add(x)
    ours.add(x)
    np.testing.assert_array_equal(ours.search(queries, 10)[0], theirs.search(queries, 10)[0])
    limit = float(np.median(theirs.search(queries, 5)[0]))
    for a, b in zip(
        ours.range_search(queries, limit), theirs.range_search(queries, limit), strict=True
    ):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    padded = theirs.search(queries, 501)
    for a, b in zip(ours.search(queries, 501), padded, strict=True):
        np.testing.assert_array_equal(a[:, 500], b[:, 500])


@pytest.mark.parametrize("metric", ["L2", "IP"])
def test_index_takes_no_rows_any_numbers_and_infinite_thresholds(metric: str) -> None:
    """Each as FAISS 1.15.1 does, beside which it is run where that is installed."""
    rng = np.random.default_rng(4)
    whole = rng.integers(0, 3, size=(12, 4))
    made = [getattr(faiss, f"IndexFlat{metric}")(4)]
    if importlib.util.find_spec("faiss"):
        made.append(getattr(importlib.import_module("faiss"), f"IndexFlat{metric}")(4))
    distance = metric == "L2"
    for index in made:
        for kind in ("f2", "f4", "f8", "i1", "u1", "i4", "i8", "?"):
            index.reset()
            index.add(whole.astype(kind)[:0])
            value, found = index.search(whole[:2].astype(kind), 2)
            assert (found == -1).all()
            assert (value == (LARGEST if distance else -LARGEST)).all()
            assert index.reconstruct_n().shape == (0, 4)
            index.add(whole.astype(kind))
            x = whole.astype(kind).astype(np.float32)
            values = truth(x, x, distance)
            best_value, _ = best(values, 3, distance)
            np.testing.assert_array_equal(index.search(whole.astype(kind), 3)[0], best_value)
            np.testing.assert_array_equal(index.reconstruct_n(2, 3), x[2:5])
        value, found = index.search(whole[:0], 3)
        assert (value.shape, found.shape, found.dtype) == ((0, 3), (0, 3), np.int64)
        assert [part.tolist() for part in index.range_search(whole[:0], 1.0)] == [[0], [], []]
        for limit, all_of_them in ((np.inf, distance), (-np.inf, not distance)):
            limits, _, which = index.range_search(whole[:3], limit)
            assert limits.tolist() == ([0, 12, 24, 36] if all_of_them else [0, 0, 0, 0])
            assert which.tolist() == (list(range(12)) * 3 if all_of_them else [])
        into = np.empty((2, 4), np.float32), np.empty((2, 4), np.int64)
        got = index.search(whole[:2].astype(np.float32), 4, D=into[0], I=into[1])
        assert got[0] is into[0]
        assert got[1] is into[1]
        np.testing.assert_array_equal(into[0], index.search(whole[:2], 4)[0])
        np.testing.assert_array_equal(
            index.reconstruct_batch([5, 1]), index.reconstruct_n()[[5, 1]]
        )
        assert index.remove_ids(np.array([1, 3, 3, 77])) == 2
        left = np.delete(whole.astype(bool).astype(np.float32), [1, 3], axis=0)
        np.testing.assert_array_equal(index.reconstruct_n(), left)
        assert index.search_and_reconstruct(left[:1], 11)[2].shape == (1, 11, 4)
        assert np.isnan(index.search_and_reconstruct(left[:1], 11)[2][0, 10]).all()
        assert index.assign(left, 1).shape == (10, 1)
        index.remove_ids(np.arange(12))
        assert index.ntotal == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda index: index.range_search(np.ones((1, 2)), np.nan), "thresh must be from -inf to"),
        (lambda index: index.search(np.ones((0, 3)), 1), "x must have 2 columns like the index"),
        (lambda index: index.search(np.ones((1, 2)), 1, params=1), "params must be None"),
        (lambda index: index.search(np.ones((1, 2)), 1, D=np.ones(3)), "must have shape (1, 1)"),
        (lambda index: index.reconstruct_n(0, 3), "ni must be from 0 to 2"),
        (lambda index: index.reconstruct_batch([0, 2]), "key must be rows of the index, 0 to 1"),
        (lambda index: faiss.normalize_L2(np.ones((4, 4), np.float32)[:, ::2]), "C-contiguous"),
        (lambda index: faiss.Kmeans(2, 3).train(np.ones((2, 2))), "k must be from 1 to 2"),
        (lambda index: faiss.Kmeans(2, 1).train(np.eye(2), np.ones(2)), "weights must be None"),
        (lambda index: faiss.Kmeans(2, 1, init_method=2), "init_method must be random (0) or"),
    ],
)  # fmt: skip
def test_index_errors(call: Any, message: str) -> None:
    index = faiss.IndexFlatL2(2)
    index.add(np.eye(2))
    with pytest.raises(ValueError, match=re.escape(message)):
        call(index)


@pytest.mark.parametrize("kind", ["bfloat16", "float16", "float32", "int32", "bool"])
def test_index_takes_tensors(kind: str) -> None:
    torch = pytest.importorskip("torch")
    x = torch.tensor([[1.0, 0.0], [1.0, 1.0]]).to(getattr(torch, kind))
    index = faiss.IndexFlatL2(2)
    index.add(x)
    np.testing.assert_array_equal(index.reconstruct_n(), [[1, 0], [1, 1]])


def test_kmeans_names_what_it_does_not_have() -> None:
    with pytest.raises(TypeError, match=re.escape("has no parameters ['progressive_dim_steps'],")):
        faiss.Kmeans(2, 3, progressive_dim_steps=2)


def test_normalize_l2_is_in_place(rng: np.random.Generator) -> None:
    x = clustered(rng, 20, 6).astype(np.float32)
    x[3] = 0
    wide = x.astype(np.float64)
    wanted = wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-300)
    assert faiss.normalize_L2(x) is None
    np.testing.assert_allclose(x, wanted, rtol=1e-6)
    faiss.normalize_L2(x[:0])
    with pytest.raises(TypeError, match="x must be a float32 array, got float64"):
        faiss.normalize_L2(wide)


@pytest.mark.parametrize(
    "options",
    [
        {}, {"gpu": False}, {"gpu": True}, {"nredo": 3}, {"niter": 2}, {"niter": 0},
        {"max_points_per_centroid": 10}, {"min_points_per_centroid": 5, "verbose": False},
        {"int_centroids": True}, {"update_index": True}, {"early_stop_threshold": 0.1},
        {"init_method": faiss.ClusteringInitMethod_RANDOM}, {"decode_block_size": 4096},
        {"use_faster_subsampling": True}, {"check_input_data_for_NaNs": True},
    ],
    ids=str,
)  # fmt: skip
def test_kmeans_takes_the_parameters_of_faiss(
    rng: np.random.Generator, options: dict[str, Any]
) -> None:
    x = 10 * clustered(rng, 200, 6).astype(np.float32)
    made = faiss.Kmeans(6, 5, **options)
    assert made.obj is None
    last = made.train(x)
    assert made.centroids is not None
    assert made.obj is not None
    assert made.iteration_stats is not None
    assert made.obj.shape == (len(made.iteration_stats),)
    assert len(made.obj) <= options.get("niter", 25)
    assert last == (made.obj[-1] if len(made.obj) else 0.0)
    assert [step["obj"] for step in made.iteration_stats] == made.obj.tolist()
    if "int_centroids" in options:
        np.testing.assert_array_equal(made.centroids, np.rint(made.centroids))
    else:
        assert (np.diff(made.obj) <= 1e-6 * made.obj[:-1]).all()
    np.testing.assert_array_equal(made.index.reconstruct_n(), made.centroids)
    if importlib.util.find_spec("faiss"):
        importlib.import_module("faiss").Kmeans(6, 5, **options).train(x)  # it takes them too
    made.reset(3)
    assert made.centroids is made.obj is None
    made.train(x)
    assert made.centroids.shape == (3, 6)


@pytest.mark.parametrize("niter", [1, 2, 7, 200])
@pytest.mark.parametrize("spherical", [False, True])
def test_kmeans_steps_lead_where_the_run_went(
    rng: np.random.Generator, niter: int, spherical: bool
) -> None:
    x = clustered(rng, 300, 6).astype(np.float32)
    whole = ops.kmeans(x, 5, spherical=spherical, max_iterations=niter, init=x[:5])
    made = faiss.Kmeans(6, 5, niter=niter, spherical=spherical)
    last = made.train(x, init_centroids=x[:5])
    np.testing.assert_array_equal(made.centroids, whole.centroids)
    assert made.obj is not None
    assert made.obj[-1] == last
    assert len(made.obj) == min(niter, whole.iterations + 2)  # the last two are the same
    made.train(x, init_centroids=x[:5])
    x += rng.normal(size=x.shape).astype(np.float32)
    with pytest.raises(RuntimeError, match="the rows have changed since train"):
        made.iteration_stats  # noqa: B018


def test_kmeans_warns_of_few_points_where_asked(rng: np.random.Generator) -> None:
    x = clustered(rng, 20, 6)
    with pytest.warns(UserWarning, match="20 rows for 5 centroids"):
        faiss.Kmeans(6, 5, min_points_per_centroid=39).train(x)


@pytest.mark.parametrize("count", [2, 5])
def test_kmeans_keeps_frozen_centroids(rng: np.random.Generator, count: int) -> None:
    x = clustered(rng, 200, 6).astype(np.float32)
    made = faiss.Kmeans(6, 5, niter=4, frozen_centroids=True)
    made.train(x, init_centroids=x[:count])
    assert made.centroids is not None
    np.testing.assert_array_equal(made.centroids[:count], x[:count])
    assert made.centroids.shape == (5, 6)


def test_kmeans_has_the_objectives_of_faiss(rng: np.random.Generator) -> None:
    original = pytest.importorskip("faiss")
    x = clustered(rng, 400, 6).astype(np.float32)
    for options in ({"niter": 3}, {"niter": 60}, {"niter": 60, "early_stop_threshold": 0.02}):
        theirs, ours = (
            module.Kmeans(6, 5, max_points_per_centroid=1000, **options)
            for module in (original, faiss)
        )
        for made in (theirs, ours):
            made.train(x, init_centroids=x[:5])
        some = min(len(theirs.obj), len(ours.obj))
        assert abs(len(theirs.obj) - len(ours.obj)) <= 1  # float32 sums may not fall once more
        np.testing.assert_allclose(ours.obj[:some], theirs.obj[:some], rtol=1e-4)
        np.testing.assert_allclose(ours.centroids, theirs.centroids, atol=1e-4)


@pytest.mark.parametrize("spherical", [False, True])
def test_kmeans_of_faiss(rng: np.random.Generator, spherical: bool) -> None:
    x = clustered(rng, 200, D)[:, :8]
    x = x[np.linalg.norm(x, axis=1) > 0]
    if spherical:
        x /= np.linalg.norm(x, axis=1, keepdims=True)
    init = np.ascontiguousarray(x[:5])
    made = faiss.Kmeans(8, 5, niter=10, spherical=spherical)
    with pytest.raises(ValueError, match="train must be called before assign"):
        made.assign(x)
    objective = made.train(x, init_centroids=init)
    assert made.obj[-1] == objective
    value, index = made.assign(x)
    assert (value.shape, index.shape) == ((len(x),), (len(x),))
    np.testing.assert_allclose(objective, value.sum(), rtol=1e-4)
    redone = faiss.Kmeans(8, 5, niter=10, nredo=4, spherical=spherical)
    once = faiss.Kmeans(8, 5, niter=10, spherical=spherical).train(x)
    better = redone.train(x)
    assert better >= once if spherical else better <= once
    original = pytest.importorskip("faiss")
    theirs = original.Kmeans(8, 5, niter=10, spherical=spherical, max_points_per_centroid=1000)
    theirs.train(x, init_centroids=init)
    np.testing.assert_allclose(made.centroids, theirs.centroids, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda i: i.add(np.ones((2, 4))), "x must have 3 columns like the index, got 4"),
        (lambda i: i.add(np.ones(3)), "x must be a 2-d float array, got shape (3,)"),
        (lambda i: i.search(np.full((2, 3), np.nan), 1), "NaN or infinity in row 0"),
        (lambda i: i.search(np.ones((2, 3)), 0), "k must be at least 1, got 0"),
        (lambda i: i.reconstruct(1), "key must be from 0 to 0 (the rows of the index), got 1"),
        (lambda i: faiss.IndexFlat(3, 7), "metric must be METRIC_L2 (1) or METRIC_INNER_PRODUCT"),
    ],
)
def test_errors_of_indices(call: Any, message: str) -> None:
    index = faiss.IndexFlatL2(3)
    index.add(np.ones((1, 3)))
    with pytest.raises(ValueError, match=re.escape(message)):
        call(index)

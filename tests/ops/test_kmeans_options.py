"""What k-means takes beside the samples: weights, a tolerance, and first centroids in two steps."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from samples import ADVERSARIAL, adversarial, assert_same, clustered, of_type, told

import meddel_fast as mf
from meddel_fast import _core, reference

BLOCK = reference.BLOCK_ROWS


def some_weights(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Of all sizes that there are, and many of them 0."""
    weights = rng.random(n) * 10.0 ** rng.integers(-4, 4, size=n)
    weights[rng.random(n) < 0.3] = 0.0
    weights[n // 2] = 1.0
    return weights


def check(x: Any, k: int, threads: int = 1, **options: Any) -> Any:
    """Both metrics; the Euclidean result."""
    for spherical in (True, False):
        wanted = told("kmeans", x, k, spherical=spherical, max_iterations=6, **options)
        found = mf.kmeans(x, k, spherical=spherical, max_iterations=6, threads=threads, **options)
        assert_same(found, wanted)
    return found


OPTIONS = ["weights", "tol", "split", "all"]


def options(name: str, rng: np.random.Generator, n: int) -> dict[str, Any]:
    weights = some_weights(rng, n)
    every = {"sample_weight": weights, "tol": 1e-3, "init": "split", "seed": 5}
    kinds = {
        "weights": {"sample_weight": weights},
        "tol": {"tol": 0.03},
        "split": {"init": "split"},
    }
    return kinds.get(name, every)


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("d", [3, 130])
def test_the_bits_of_reference(isa: str, name: str, d: int, rng: np.random.Generator) -> None:
    x = clustered(rng, 220, d, centres=30)
    check(x, 20, **options(name, rng, 220))


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("threads", [1, 3])
def test_many_blocks_and_threads(
    screen: str, name: str, threads: int, rng: np.random.Generator
) -> None:
    n = 2 * BLOCK + 100
    x = clustered(rng, n, 12, centres=40)
    check(x, 25, threads, **options(name, rng, n))


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_adversarial(screen: str, name: str, rng: np.random.Generator) -> None:
    x = adversarial(name, rng, 90, 20)
    check(x, 12, sample_weight=some_weights(rng, 90), tol=1e-4)
    check(x, 12, init="split", sample_weight=1.0 + some_weights(rng, 90))


@pytest.mark.parametrize("dtype", ["float16", "int8", "float64"])
def test_types(dtype: str, rng: np.random.Generator) -> None:
    x = of_type(clustered(rng, 150, 30, centres=20), dtype)
    check(x, 15, init="split", sample_weight=some_weights(rng, 150), tol=0.01)


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_seeds_by_weight(screen: str, name: str, rng: np.random.Generator) -> None:
    x = np.concatenate([adversarial(name, rng, 150, 40), adversarial(name, rng, 60, 40)])
    weights, uniforms = some_weights(rng, len(x)), rng.random(70)
    for spherical in (False, True):
        wanted = told("kmeans_plus_plus", reference.widen(x), 70, spherical, uniforms, weights)
        found = _core.kmeans_plus_plus(x, spherical, list(uniforms), 1, weights)
        np.testing.assert_array_equal(found, wanted)


def test_seeds_of_copies_by_weight(screen: str, rng: np.random.Generator) -> None:
    """Copies weigh differently; more seeds than there are different rows that weigh something."""
    x = clustered(rng, 40, 30, centres=40)[rng.integers(40, size=BLOCK + 300)]
    weights, uniforms = some_weights(rng, len(x)), rng.random(60)
    weights[len(x) // 3 :] = 0.0
    wanted = told("kmeans_plus_plus", reference.widen(x), 60, True, uniforms, weights)
    for threads in (1, 3):
        found = _core.kmeans_plus_plus(x, True, list(uniforms), threads, weights)
        np.testing.assert_array_equal(found, wanted)
    assert (weights[wanted[:20]] > 0).all()


def test_seeds_are_drawn_in_proportion(rng: np.random.Generator) -> None:
    x = np.repeat(np.eye(3, dtype=np.float32), [1, 10, 1], axis=0)
    weights = np.array([1.0, *[0.2] * 10, 3.0])
    first = [
        int(_core.kmeans_plus_plus(x, False, [u, 0.5], 1, weights)[0])
        for u in np.linspace(0, 1, 600, endpoint=False)
    ]
    shares = np.bincount(first, minlength=12) / 600
    np.testing.assert_allclose(shares, weights / weights.sum(), atol=0.004)


@pytest.mark.parametrize("init", ["k-means++", "split"])
def test_equal_weights_are_none(screen: str, init: str, rng: np.random.Generator) -> None:
    x = clustered(rng, BLOCK + 200, 24, centres=30)
    for spherical in (True, False):
        plain = mf.kmeans(x, 20, spherical=spherical, init=init, tol=1e-4)
        for one in (np.ones(len(x)), np.ones(len(x), np.int8)):
            assert_same(
                mf.kmeans(x, 20, spherical=spherical, init=init, tol=1e-4, sample_weight=one), plain
            )
        double = mf.kmeans(x, 20, spherical=spherical, init=init, sample_weight=np.full(len(x), 4))
        np.testing.assert_array_equal(double.labels, mf.kmeans(
            x, 20, spherical=spherical, init=init).labels)  # fmt: skip


@pytest.mark.parametrize("spherical", [True, False])
def test_whole_weights_are_like_repeated_rows(spherical: bool, rng: np.random.Generator) -> None:
    x = clustered(rng, 300, 16, centres=20)
    times = rng.integers(0, 5, size=300)
    init = x[times > 0][:12]
    weighted = mf.kmeans(x, 12, spherical=spherical, init=init, sample_weight=times)
    repeated = mf.kmeans(np.repeat(x, times, axis=0), 12, spherical=spherical, init=init)
    np.testing.assert_array_equal(np.repeat(weighted.labels, times), repeated.labels)
    np.testing.assert_allclose(weighted.centroids, repeated.centroids, rtol=1e-5, atol=1e-6)
    assert weighted.inertia == pytest.approx(repeated.inertia, rel=1e-9)


@pytest.mark.parametrize("spherical", [True, False])
def test_rows_of_weight_0_change_nothing_else(spherical: bool, rng: np.random.Generator) -> None:
    x, weights = clustered(rng, 600, 16, centres=20), some_weights(rng, 600)
    kept = weights > 0
    for init in (x[kept][:12], np.tile(x[kept][:1], (12, 1))):  # all but one of these are empty
        some = mf.kmeans(x[kept], 12, spherical=spherical, init=init, sample_weight=weights[kept])
        whole = mf.kmeans(x, 12, spherical=spherical, init=init, sample_weight=weights)
        assert_same((whole.labels[kept], whole.centroids), (some.labels, some.centroids))
        assert whole.inertia == some.inertia
        nearest = mf.kmeans(x, 12, spherical=spherical, init=whole.centroids, max_iterations=0)
        assert_same((whole.labels, whole.distances), (nearest.labels, nearest.distances))


def test_a_cluster_without_weight_takes_the_farthest_row_that_has_some() -> None:
    x = np.array([[0.0], [1.0], [9.0], [50.0], [100.0], [101.0]], np.float32)
    init = np.array([[0.0], [9.0], [100.0]], np.float32)
    weights = np.array([1.0, 2.0, 3.0, 0.0, 0.0, 0.0])
    # The last has three members, of no weight; of the others' rows the second is the farthest.
    found = mf.kmeans(x, 3, spherical=False, init=init, max_iterations=1, sample_weight=weights)
    np.testing.assert_allclose(found.centroids.ravel(), [2 / 3, 9.0, 1.0], rtol=1e-7)
    assert_same(found, reference.kmeans(
        x, 3, spherical=False, init=init, max_iterations=1, sample_weight=weights))  # fmt: skip


def test_tol_is_that_of_scikit_learn(rng: np.random.Generator) -> None:
    cluster = pytest.importorskip("sklearn.cluster")
    x = rng.normal(size=(3000, 5)).astype(np.float32) + 3
    steps = set()
    for tol in (0.3, 0.1, 0.01, 1e-3):
        theirs = cluster.KMeans(20, init=x[:20], n_init=1, tol=tol, max_iter=200).fit(x)
        ours = mf.kmeans(x, 20, spherical=False, init=x[:20], tol=tol, max_iterations=200)
        assert ours.iterations == theirs.n_iter_
        assert ours.converged
        np.testing.assert_array_equal(ours.labels, theirs.labels_)
        steps.add(ours.iterations)
    assert len(steps) == 4


def test_tol_stops_where_the_shift_is_what_it_says(rng: np.random.Generator) -> None:
    """At just the shift of the third update it ends there, just below it later."""
    x = rng.normal(size=(900, 6)).astype(np.float32)
    for spherical in (True, False):
        steps = [
            mf.kmeans(x, 9, spherical=spherical, init=x[:9], max_iterations=s).centroids
            for s in range(5)
        ]
        shifts = [
            float(np.cumsum(reference.squared_norm(np.float64(b) - np.float64(a)))[-1])
            for a, b in pairwise(steps)
        ]
        least = min(shifts[:3])
        variance = reference.mean_variance(reference.widen(x), spherical)
        at = shifts.index(least) + 1
        tol = least / variance
        while tol * variance < least:
            tol = np.nextafter(tol, 1.0)
        found = mf.kmeans(x, 9, spherical=spherical, init=x[:9], tol=tol)
        assert (found.iterations, found.converged) == (at, True)
        while tol * variance >= least:
            tol = np.nextafter(tol, 0.0)
        assert mf.kmeans(x, 9, spherical=spherical, init=x[:9], tol=tol).iterations > at


def test_mean_variance(rng: np.random.Generator) -> None:
    x = rng.normal(size=(2500, 7)).astype(np.float32) * np.arange(1, 8, dtype=np.float32) + 5
    wide = reference.widen(x)
    assert reference.mean_variance(wide, False) == pytest.approx(wide.var(axis=0).mean())
    unit = wide / np.linalg.norm(wide, axis=1)[:, None]
    assert reference.mean_variance(wide, True) == pytest.approx(unit.var(axis=0).mean())
    assert reference.mean_variance(np.tile(wide[:1], (50, 1)), False) == pytest.approx(0, abs=1e-12)


def test_split_is_about_as_good(rng: np.random.Generator) -> None:
    x = rng.normal(size=(2000, 8)).astype(np.float32)
    x[500:1000] = 0.0  # copies need one cluster
    inertias = {
        init: [
            mf.kmeans(
                x, 100, spherical=False, init=init, seed=s, max_iterations=10, threads=1
            ).inertia
            for s in range(3)
        ]
        for init in ("k-means++", "split")
    }
    assert np.mean(inertias["split"]) < 1.02 * np.mean(inertias["k-means++"])


def test_split_into_few_and_many(rng: np.random.Generator) -> None:
    x = clustered(rng, 130, 10, centres=12)
    x[40:80] = x[3]
    for k in (1, 2, 3, 4, 15, 16, 60, 130):
        found = check(x, k, init="split")
        assert found.centroids.shape == (k, 10)
    x[:] = x[3]
    for k in (1, 7, 130):
        check(x, k, init="split")


def test_split_looks_at_some_rows(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    from meddel_fast.arrays import kmeans_split

    monkeypatch.setattr(kmeans_split, "_ROWS", 12)
    monkeypatch.setattr(kmeans_split, "_LEAST", 3)
    monkeypatch.setattr(reference, "SPLIT_ROWS", 12)
    monkeypatch.setattr(reference, "SPLIT_LEAST", 3)
    x, weights = clustered(rng, 1300, 6, centres=9), some_weights(rng, 1300)
    for more in ({}, {"sample_weight": weights}):
        for k in (5, 60, 200):
            wanted = reference.kmeans(x, k, init="split", max_iterations=2, **more)
            assert_same(mf.kmeans(x, k, init="split", max_iterations=2, **more), wanted)


@pytest.mark.parametrize(("groups", "k"), [(1, 1), (3, 10), (7, 50), (20, 400), (20, 1000)])
def test_shares_of_a_split(groups: int, k: int, rng: np.random.Generator) -> None:
    labels = rng.integers(groups, size=1000) ** 2 // groups
    distances = rng.integers(1, 30, size=1000).astype(np.float64)
    share = reference.split_shares(labels, distances, k, groups)
    size = np.bincount(labels, minlength=groups)
    assert share.sum() == k
    assert (share <= size).all()
    assert (share[size > 0] >= 1).all()


X = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)


@pytest.mark.parametrize("how", [{}, {"memory": "20MB"}])
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"sample_weight": np.ones(9)}, ValueError, "one entry a row of x (10), got 9"),
        ({"sample_weight": np.ones((10, 1))}, TypeError, "1-d array of numbers, got float64 of"),
        ({"sample_weight": ["a"] * 10}, TypeError, "sample_weight must be a 1-d array of numbers"),
        ({"sample_weight": np.zeros(10)}, ValueError, "sample_weight must not be 0 in all rows"),
        (
            {"sample_weight": [1, 2, 3, -1, *[1] * 6]},
            ValueError,
            "sample_weight must be 0 or 1e-100 to 1e+100, got -1 in row 3",
        ),
        ({"sample_weight": [*[1] * 9, np.nan]}, ValueError, "got nan in row 9"),
        ({"sample_weight": [np.inf, *[1] * 9]}, ValueError, "got inf in row 0"),
        ({"sample_weight": [1e-200, *[1] * 9]}, ValueError, "got 1e-200 in row 0"),
        ({"tol": -1e-3}, ValueError, "tol must be from 0 to"),
        ({"tol": np.nan}, ValueError, "tol must be from 0 to"),
        ({"tol": "1"}, TypeError, "tol must be a number, got str '1'"),
        ({"init": "random"}, ValueError, "init must be one of 'k-means++', 'split', got 'random'"),
        (
            {"init": "split", "sample_weight": [1, *[0] * 9]},
            ValueError,
            "init 'split' needs k samples that weigh something: k is 2, got 1",
        ),
    ],
)
def test_refused(
    how: dict[str, Any], options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        mf.kmeans(X, 2, **options, **how)


def test_kinds_of_weights() -> None:
    torch = pytest.importorskip("torch")
    weights = np.arange(10)
    wanted = mf.kmeans(X, 3, sample_weight=weights)
    for kind in (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64):
        assert_same(mf.kmeans(X, 3, sample_weight=torch.arange(10).to(kind)), wanted)
    assert_same(mf.kmeans(X, 3, sample_weight=weights.tolist()), wanted)
    found = mf.kmeans(torch.from_numpy(X), 3, sample_weight=weights, init="split")
    assert isinstance(found.centroids, torch.Tensor)


def test_none_is_the_default_init() -> None:
    assert_same(mf.kmeans(X, 3, init=None), mf.kmeans(X, 3, init="k-means++"))


@pytest.mark.parametrize("memory", [None, "1G"])
def test_an_empty_init_is_refused(memory: str | None) -> None:
    with pytest.raises(ValueError, match="init must be one of"):
        mf.kmeans(np.eye(4, dtype=np.float32), 2, init="", memory=memory)

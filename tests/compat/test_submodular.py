"""Drop-ins for submodular selection: the choices of the plain greedy loops that they replace.

Gains of the loops are worked out anew from the matrix in every step, in fp64. Similarities of made
points have no ties, so that float32 rounding in an original cannot change its choice.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from meddel_fast.compat import apricot, deepcore

N = 120


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    rng = np.random.default_rng(8)
    return (rng.normal(size=(6, 10))[rng.integers(6, size=N)] + rng.normal(size=(N, 10))).astype(
        np.float32
    )


@pytest.fixture(scope="module")
def similarity(x: np.ndarray) -> np.ndarray:
    """Positive definite, from 0 to 1."""
    squared = ((x[:, None] - x[None]) ** 2).sum(axis=2)
    return np.exp(-squared / 10).astype(np.float32)


def facility(s: np.ndarray, chosen: list[int]) -> float:
    return float(s[:, chosen].max(axis=1, initial=0).sum())


def facility_gain(s: np.ndarray, chosen: list[int], i: int) -> float:
    return facility(s, [*chosen, i]) - facility(s, chosen)


def graph_cut_gain(s: np.ndarray, chosen: list[int], i: int) -> float:
    return float(s[:, i].sum() - 2 * s[chosen, i].sum())


def log_determinant_gain(s: np.ndarray, chosen: list[int], i: int) -> float:
    a = np.linalg.pinv(s[np.ix_(chosen, chosen)]) if chosen else np.zeros((0, 0))
    return float(s[i, chosen] @ a @ s[chosen, i])


GAINS: dict[Any, Any] = {
    deepcore.FacilityLocation: facility_gain,
    deepcore.GraphCut: graph_cut_gain,
    deepcore.LogDeterminant: log_determinant_gain,
}


def greedy(gain: Any, s: np.ndarray, k: int, before: list[int]) -> list[int]:
    chosen, s = list(before), s.astype(np.float64)
    while len(chosen) < k:
        gains = [-np.inf if i in chosen else gain(s, chosen, i) for i in range(len(s))]
        chosen.append(int(np.argmax(gains)))
    return chosen


@pytest.mark.parametrize("before", [[], [4, 70]])
@pytest.mark.parametrize(
    ("function", "optimizer"),
    [
        (deepcore.FacilityLocation, deepcore.NaiveGreedy),
        (deepcore.FacilityLocation, deepcore.LazyGreedy),
        (deepcore.GraphCut, deepcore.NaiveGreedy),
        (deepcore.GraphCut, deepcore.LazyGreedy),
        (deepcore.LogDeterminant, deepcore.NaiveGreedy),  # gains that rise: not for the lazy one
    ],
)
def test_deepcore(similarity: np.ndarray, function: Any, optimizer: Any, before: list[int]) -> None:
    wanted = greedy(GAINS[function], similarity, 25, before)
    names = np.arange(N) * 10
    asked: list[int] = []

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        asked.append(int(b.sum()))
        return similarity[np.ix_(a, b)]

    for source in ({"similarity_matrix": similarity}, {"similarity_kernel": kernel}):
        made = function(index=names, already_selected=before, **source)
        chooser = optimizer(None, names, 25, before)
        got = chooser.select(gain_function=made.calc_gain, update_state=made.update_state)
        np.testing.assert_array_equal(got, np.sort(wanted) * 10)
        # The same one step at a time, for a gain function that is not known to be ours.
        made = function(index=names, already_selected=before, **source)
        plain = chooser.select(
            lambda *a, m=made: m.calc_gain(*a), lambda *a, m=made: m.update_state(*a)
        )
        np.testing.assert_array_equal(plain, got)
    assert sum(asked) <= 2 * N  # each column once


@pytest.mark.parametrize("function", GAINS, ids=lambda f: f.__name__)
def test_deepcore_gains(similarity: np.ndarray, function: Any) -> None:
    made = function(index=np.arange(N), similarity_matrix=similarity)
    chosen = [3, 50, 7]
    selected = np.isin(np.arange(N), chosen)
    made.update_state(np.array(chosen), selected)
    some = np.array([9, 2, 100])
    wanted = [GAINS[function](similarity.astype(np.float64), chosen, i) for i in some]
    np.testing.assert_allclose(made.calc_gain(some, selected), wanted, rtol=1e-4)
    mask = np.isin(np.arange(N), some)
    np.testing.assert_array_equal(
        made.calc_gain(mask, selected), made.calc_gain(np.sort(some), selected)
    )
    np.testing.assert_array_equal(
        made.similarity_kernel(some, mask), similarity[np.ix_(some, np.sort(some))]
    )


def test_deepcore_stochastic(similarity: np.ndarray) -> None:
    made = deepcore.FacilityLocation(index=np.arange(N), similarity_matrix=similarity)
    np.random.seed(3)  # noqa: NPY002, DeepCore's own draws
    chosen: list[int] = []
    size = max(round(-np.log(0.5) * N / 10), 1)
    for _ in range(10):
        left = np.setdiff1d(np.arange(N), chosen)
        part = np.random.choice(left, size, replace=False)  # noqa: NPY002
        gains = [facility_gain(similarity.astype(np.float64), chosen, i) for i in part]
        chosen.append(int(part[np.argmax(gains)]))
    np.random.seed(3)  # noqa: NPY002
    got = deepcore.StochasticGreedy(None, np.arange(N), 10, epsilon=0.5).select(
        made.calc_gain, made.update_state
    )
    np.testing.assert_array_equal(got, np.sort(chosen))


def test_deepcore_errors(similarity: np.ndarray) -> None:
    with pytest.raises(ValueError, match="budget must be from 1 to 3"):
        deepcore.NaiveGreedy(None, [1, 2, 3], 4)
    with pytest.raises(ValueError, match=re.escape("must have shape (3, 3), got (120, 120)")):
        deepcore.GraphCut(index=[1, 2, 3], similarity_matrix=similarity)
    with pytest.raises(ValueError, match="similarity_kernel must be callable"):
        deepcore.GraphCut(index=[1, 2, 3])


def test_ties_go_to_the_lowest_index() -> None:
    s = np.ones((6, 6), np.float32)
    made = deepcore.FacilityLocation(index=np.arange(6), similarity_matrix=s)
    got = deepcore.LazyGreedy(None, np.arange(6), 3).select(made.calc_gain, made.update_state)
    np.testing.assert_array_equal(got, [0, 1, 2])
    found = apricot.FacilityLocationSelection(3, "precomputed").fit(s)
    np.testing.assert_array_equal(found.ranking, [0, 1, 2])


def similarities(x: np.ndarray, metric: str) -> np.ndarray:
    x = x.astype(np.float64)
    if metric == "euclidean":
        squared = ((x[:, None] - x[None]) ** 2).sum(axis=2)
        return squared.max() - squared
    x = x - x.mean(axis=1, keepdims=True) if metric == "corr" else x
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    return (unit @ unit.T) ** 2


@pytest.mark.parametrize("before", [None, [5, 60]])
@pytest.mark.parametrize("metric", ["euclidean", "cosine", "corr", "precomputed"])
def test_apricot(
    x: np.ndarray, metric: str, before: list[int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    s = similarities(x, "cosine" if metric == "precomputed" else metric)
    given = s if metric == "precomputed" else x
    # More would come to pairs that cover each other alone: the same gain, but for rounding.
    wanted = greedy(facility_gain, s, 15 + len(before or []), before or [])[len(before or []) :]
    for held in (1 << 31, 0):  # the matrix in memory, and row by row
        monkeypatch.setattr("meddel_fast.compat.apricot._HELD_BYTES", held)
        chooser = apricot.FacilityLocationSelection(15, metric, initial_subset=before)
        assert chooser.fit(given) is chooser
        np.testing.assert_array_equal(chooser.ranking, wanted)
        assert chooser.gains is not None
        total = facility(s, [*(before or []), *wanted]) - facility(s, before or [])
        np.testing.assert_allclose(chooser.gains.sum(), total)
    np.testing.assert_array_equal(chooser.transform(x), x[wanted])
    labels, weights = np.arange(N), np.ones(N)
    rows, some = chooser.fit_transform(given, labels)
    np.testing.assert_array_equal(some, wanted)
    assert len(chooser.transform(x, sample_weight=weights)) == 3
    assert len(rows) == 15


@pytest.mark.parametrize("optimizer", apricot.OPTIMIZERS)
@pytest.mark.parametrize("seed", range(3))
def test_apricot_is_greedy_on_repeated_rows(seed: int, optimizer: str) -> None:
    """apricot 0.6.1 is so by "naive" and "two-stage"; its "lazy" one takes a copy for a gain."""
    x = np.random.default_rng(seed).integers(0, 3, size=(40, 3)).astype(float)
    wanted = greedy(facility_gain, similarities(x, "euclidean"), 12, [])
    ours = apricot.FacilityLocationSelection(12, "euclidean", optimizer=optimizer).fit(x)
    np.testing.assert_array_equal(ours.ranking, wanted)
    assert ours.gains is not None
    assert (np.diff(ours.gains) <= 0).all()
    original = pytest.importorskip("apricot", exc_type=ImportError)
    theirs = original.FacilityLocationSelection(12, "euclidean", optimizer=optimizer).fit(x)
    if optimizer == "lazy":
        assert ours.gains.sum() >= theirs.gains.sum()
    else:
        np.testing.assert_array_equal(theirs.ranking, wanted)


@pytest.mark.parametrize(
    ("metric", "optimizer"),
    [("euclidean", "lazy"), ("euclidean", "naive"), ("cosine", "two-stage"), ("corr", "lazy")],
)
def test_apricot_is_apricot(x: np.ndarray, metric: str, optimizer: str) -> None:
    original = pytest.importorskip("apricot", exc_type=ImportError)
    wide = x.astype(np.float64)  # it keeps similarities of float32 as such
    wanted = original.FacilityLocationSelection(15, metric=metric, optimizer=optimizer).fit(wide)
    got = apricot.FacilityLocationSelection(15, metric=metric, optimizer=optimizer).fit(x)
    np.testing.assert_array_equal(got.ranking, wanted.ranking)
    np.testing.assert_allclose(got.gains, wanted.gains)


@pytest.mark.parametrize(
    ("arguments", "x", "message"),
    [
        ({"n_samples": 0}, np.ones((3, 2)), "n_samples must be at least 1, got 0"),
        ({"n_samples": 4}, np.ones((3, 2)), "n_samples must be at most 3"),
        ({"n_samples": 1, "metric": "l1"}, np.ones((3, 2)), "metric must be one of 'euclidean'"),
        ({"n_samples": 1, "optimizer": "greedi"}, np.ones((3, 2)), "optimizer must be one of"),
        ({"n_samples": 1, "n_neighbors": 3}, np.ones((3, 2)), "n_neighbors must be None, got 3"),
        ({"n_samples": 1, "metric": "precomputed"}, np.ones((3, 2)), "X must be square"),
        ({"n_samples": 1, "metric": "precomputed"}, np.eye(2) - 0.5, "cannot contain negative"),
        ({"n_samples": 1}, np.ones(3), "X must be a 2-d array"),
        ({"n_samples": 1}, np.array([[1.0], [np.nan]]), "NaN or infinity in row 1"),
        ({"n_samples": 1, "initial_subset": [3]}, np.ones((3, 2)), "initial_subset must be rows"),
    ],
)
def test_apricot_errors(arguments: dict[str, Any], x: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        apricot.FacilityLocationSelection(**arguments).fit(x)

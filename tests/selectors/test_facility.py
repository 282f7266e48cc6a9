"""Facility location's greedy loops, beside plain greedy selection in numpy."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from meddel_fast import _core
from meddel_fast.selectors import check_options
from meddel_fast.selectors.neighbor_graph import Edges, edges_to


def _gain(edges: Edges, weights: NDArray[np.float64], best: NDArray[np.float64], j: int) -> float:
    where = edges.of(j)
    rows = edges.source[where]
    terms = np.maximum(edges.value[where] - best[rows], 0.0) * weights[rows]
    return float(np.cumsum(terms)[-1])


def _add(edges: Edges, best: NDArray[np.float64], by: NDArray[np.int64], j: int) -> None:
    for e in range(edges.start[j], edges.start[j + 1]):
        i = edges.source[e]
        if edges.value[e] > best[i] or by[i] < 0:
            best[i], by[i] = edges.value[e], j


def _graph(kind: str, n: int, k: int) -> Edges:
    rng = np.random.default_rng(7)
    indices = np.stack([rng.permutation(np.delete(np.arange(n), i))[:k] for i in range(n)])
    values = rng.random((n, k))
    if kind == "ties":
        values = rng.integers(0, 3, size=(n, k)) / 2.0
    elif kind == "equal":
        values = np.ones((n, k))
    elif kind == "zero":
        values = np.zeros((n, k))
    own = np.where(rng.random(n) < 0.2, 0.0, 1.0)  # rows of zeros are like nothing
    return edges_to(indices, values, own)


@pytest.mark.parametrize("selected", [[], [5, 2]])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["random", "ties", "equal", "zero"])
@pytest.mark.parametrize(("n", "k"), [(40, 39), (60, 7)])
def test_plain_greedy_selection(
    kind: str, n: int, k: int, weighted: bool, selected: list[int]
) -> None:
    edges = _graph(kind, n, k)
    weights = np.random.default_rng(1).integers(0, 3, size=n).astype(float)
    counts = [len(selected) + 1, n // 2, n]
    order, won, found = _core.facility(
        *edges, weights if weighted else None, selected, counts, 1, 2
    )
    if not weighted:
        weights = np.ones(n)
    best, by = np.zeros(n), np.full(n, -1)
    for j in selected:
        _add(edges, best, by, j)
    free = [j for j in range(n) if j not in selected]
    rungs = iter(zip(counts, found, strict=True))
    count, state = next(rungs)
    for step in range(n - len(selected)):
        gains = [_gain(edges, weights, best, j) for j in free]
        at = int(np.argmax(gains))  # the first, and lowest, of equals
        assert (order[step], won[step]) == (free[at], gains[at])
        _add(edges, best, by, free.pop(at))
        if len(selected) + step + 1 == count:
            now = [_gain(edges, weights, best, j) for j in range(n)]
            for got, wanted in zip(state, (now, best, by), strict=True):
                np.testing.assert_array_equal(got, wanted)
            count, state = next(rungs, (0, state))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["random", "ties", "equal"])
def test_the_best_of_those_drawn(kind: str, weighted: bool) -> None:
    n, steps, size = 50, 30, 4
    edges = _graph(kind, n, 7)
    rng = np.random.default_rng(2)
    weights = rng.integers(0, 3, size=n).astype(float) if weighted else np.ones(n)
    draws = rng.random((steps, size))
    draws[:, 1] = draws[:, 0]
    left = np.setdiff1d(np.arange(n), [3])
    order, won, ((gains, best_then, by_then),) = _core.stochastic_facility(
        *edges, weights if weighted else None, [3], left.tolist(), draws
    )
    best, by = np.zeros(n), np.full(n, -1)
    _add(edges, best, by, 3)
    for step in range(steps):
        places = (draws[step] * len(left)).astype(int)
        drawn = np.unique(left[places]).tolist()
        j = max(drawn, key=lambda j: _gain(edges, weights, best, j))  # the lowest of equals
        assert (order[step], won[step]) == (j, _gain(edges, weights, best, j))
        _add(edges, best, by, j)
        left[places[left[places] == j][0]] = left[-1]
        left = left[:-1]
    np.testing.assert_array_equal(best_then, best)
    np.testing.assert_array_equal(by_then, by)
    np.testing.assert_array_equal(gains, [_gain(edges, weights, best, j) for j in range(n)])


def test_what_would_read_outside_is_refused() -> None:
    start, source, value = np.array([0, 1, 2]), np.array([0, 1]), np.ones(2)
    good = (start, source, value, None, [0], [1, 2])
    order, _, found = _core.facility(*good, 1, 1)
    assert order.tolist() == [1]
    assert [state[1].tolist() for state in found] == [[1, 0], [1, 1]]
    bad = [
        (np.array([0, 0, 2]), source, value, None, [0], [2]),
        (start, np.array([0, 2]), value, None, [0], [2]),
        (start, source, np.ones(3), None, [0], [2]),
        (start, source, value, np.ones(3), [0], [2]),
        (start, source, value, None, [2], [2]),
        (start, source, value, None, [0], [0]),
        (start, source, value, None, [0], [1, 1]),
        (start, source, value, None, [0], [3]),
        (start, source, value, None, [0], []),
    ]
    for arguments in bad:
        with pytest.raises(ValueError, match=r"start|source|value|weights|samples|counts"):
            _core.facility(*arguments, 1, 1)
    with pytest.raises(ValueError, match="draws"):
        _core.stochastic_facility(start, source, value, None, [], [0, 1], np.ones((1, 1)))


def test_what_stochastic_greedy_may_lose_is_refused_without_it() -> None:
    text = "epsilon has no effect where greedy is not 'stochastic', got 0.3"
    with pytest.raises(ValueError, match=text):
        check_options("facility", {"epsilon": 0.3})
    check_options("facility", {"epsilon": 0.3, "greedy": "stochastic"})

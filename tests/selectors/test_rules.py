"""The thresholds of MedDEL's rules "greedy" and "components"."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from clouds import cloud, cosines
from numpy.typing import NDArray

from meddel_fast import _core, ops
from meddel_fast.selectors import select, spanning_forest
from meddel_fast.selectors.spanning_forest import joins


def components(s: NDArray[np.float64], threshold: float, selected: list[int]) -> int:
    """Number of components of similar samples that hold no selected one."""
    label = np.arange(len(s))
    for i, j in zip(*np.nonzero(s >= threshold), strict=True):
        label[label == label[j]] = label[i]
    return len(set(label) - set(label[selected]))


@pytest.mark.parametrize("selected", [[], [5], [3, 20, 41, 6]])
def test_joins_count_components_at_every_threshold(selected: list[int]) -> None:
    x, label = cloud(45, seed=2), np.random.default_rng(1).integers(0, 3, 45)
    pool = np.setdiff1d(np.arange(45), [*selected, 30, 31])  # two samples take no part
    rows = np.concatenate([np.array(selected, dtype=np.int64), pool])
    found = joins(x, label, pool, np.array(selected, dtype=np.int64), 0.2, None)
    assert found is not None
    s = cosines(x) * (label[:, None] == label)
    np.fill_diagonal(s, 0.0)
    inside = s[np.ix_(rows, rows)]
    held = list(range(len(selected)))
    for threshold in np.unique(np.concatenate([[0.2, 0.5, 1.0], inside[inside >= 0.2]])):
        joined = len(found) - int(np.searchsorted(found, threshold))
        assert len(pool) - joined == components(inside, threshold, held)


@pytest.mark.parametrize("n", [1, 2, 9, 40])
def test_spanning_weights_are_kruskal_s(n: int) -> None:
    rng = np.random.default_rng(n)
    i, j = np.nonzero(np.triu(rng.random((n, n)) < 0.3, 1))
    weight = rng.integers(0, 5, len(i)).astype(np.float64)  # many ties
    label, kept = np.arange(n), []
    for e in np.argsort(-weight, kind="stable"):
        if label[i[e]] != label[j[e]]:
            label[label == label[j[e]]] = label[i[e]]
            kept.append(weight[e])
    assert sorted(_core.spanning_weights(i, j, weight, n)) == sorted(kept)


def test_components_need_no_list_of_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    x = cloud(120, seed=9)
    whole = select("meddel", x, [0.1, 0.4], rule="components")
    monkeypatch.setattr(spanning_forest, "MAX_PAIRS", 3)
    for a, b in zip(whole, select("meddel", x, [0.1, 0.4], rule="components"), strict=True):
        assert np.array_equal(a.order, b.order)
        assert a.settings == b.settings


@pytest.mark.parametrize("rule", ["greedy", "components"])
@pytest.mark.parametrize("selected", [[], [7, 50]])
def test_rules_keep_what_deduplication_at_their_threshold_keeps(
    rule: str, selected: list[int]
) -> None:
    x = cloud(90, 4, seed=5)
    for budget in (5, 20, 60):
        found = select("meddel", x, budget, rule=rule, clusters=1, epsilon=2.0, selected=selected)
        first = np.argsort(found.distance, kind="stable")
        order = np.concatenate([selected, first[~np.isin(first, selected)]]).astype(np.int64)
        threshold = math.nextafter(found.settings["eta"], 2)
        kept = ops.deduplicate(x, threshold, rule=rule, order=order).keep
        others = np.setdiff1d(found.order, selected)
        if found.settings["tied"] == 0:
            assert set(others) == set(np.flatnonzero(kept)) - set(selected)
        else:
            assert set(np.flatnonzero(kept)) - set(selected) <= set(others)


def test_greedy_asks_for_no_threshold_that_cannot_be_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """None where semdedup keeps too many already, and none below the first too low 1 - 2^-j."""
    x, count = cloud(90, 4, seed=5), 40
    asked: list[float] = []
    whole = ops.deduplicate

    def spy(x: NDArray[np.float32], threshold: float, **options: Any) -> Any:
        asked.append(threshold)
        return whole(x, threshold, **options)

    with monkeypatch.context() as patch:
        patch.setattr(ops, "deduplicate", spy)
        found = select("meddel", x, count, rule="greedy", clusters=1, epsilon=2.0)
    assert found.settings["tied"] == 0
    order = np.argsort(found.distance, kind="stable")
    steps = [1 - 2.0**-j for j in range(52, 0, -1)]
    low = next(t for t in steps if whole(x, t, rule="greedy", order=order).keep.sum() < count)
    assert min(asked) == low
    assert all(whole(x, t, order=order).keep.sum() <= count for t in asked)
    assert len(asked) == len(set(asked))

"""Methods that choose step by step, each against a plain restatement of its paper."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from clouds import Float, cloud, cosines
from numpy.typing import NDArray

from meddel_fast import reference
from meddel_fast.selectors import select


def graph(x: NDArray[Any], k: int) -> Float:
    """Cosines to the k nearest others and to itself, else 0: row i holds the neighbours of i."""
    full = cosines(x)
    kept = np.zeros_like(full)
    for i in range(len(x)):
        others = [j for j in np.lexsort((np.arange(len(x)), -full[i])) if j != i][:k]
        kept[i, [*others, i]] = full[i, [*others, i]]
    return kept


def tight_groups(sizes: tuple[int, ...] = (9, 6, 3), d: int = 8) -> tuple[Float, NDArray[np.int64]]:
    """Orthogonal directions with little noise, the first sample of each without any."""
    rng = np.random.default_rng(5)
    group = np.repeat(np.arange(len(sizes)), sizes)
    x = np.eye(d)[group] + 0.02 * rng.normal(size=(len(group), d))
    first = np.searchsorted(group, np.arange(len(sizes)))
    x[first] = np.eye(d)[: len(sizes)]
    return x, group


# Facility location and CRAIG


def plain_facility(s: Float, budget: int, weights: Float) -> tuple[list[int], list[float], Float]:
    """Greedy facility location with nothing saved: s[i, j] is how well j represents i."""
    best, order, won = np.zeros(len(s)), [], []
    gains = np.zeros(len(s))
    for step in range(budget + 1):
        for j in range(len(s)):
            gains[j] = np.cumsum(weights * np.maximum(s[:, j] - best, 0.0))[-1]
        if step == budget:
            break
        j = min((j for j in range(len(s)) if j not in order), key=lambda j: (-gains[j], j))
        order.append(j)
        won.append(gains[j])
        best = np.maximum(best, s[:, j])
    gains[order] = won
    return order, won, gains


@pytest.mark.parametrize("neighbors", [None, 4])
@pytest.mark.parametrize("weighted", [False, True])
def test_lazy_facility_location_is_plain_greedy_bit_for_bit(
    neighbors: int | None, weighted: bool
) -> None:
    x = cloud()
    weights = np.random.default_rng(1).uniform(0.5, 3, len(x)) if weighted else None
    s = graph(x, neighbors or len(x) - 1)
    plain = np.ones(len(x)) if weights is None else weights
    for found in select("facility", x, [3, 17, 41], neighbors=neighbors, weights=weights):
        order, _, scores = plain_facility(s, len(found), plain)
        assert found.order.tolist() == order
        assert np.array_equal(found.scores, scores)
        value = np.sum(plain * s[:, order].max(axis=1))
        assert found.settings["value"] == pytest.approx(value, rel=1e-12)
        for i, j in enumerate(found.cluster):
            assert j in order if s[i, order].any() else True
            assert j < 0 or s[i, j] == s[i, order].max()


def test_facility_location_takes_one_of_each_group_the_largest_first() -> None:
    x, group = tight_groups()
    found = select("facility", x, 3)
    assert group[found.order].tolist() == [0, 1, 2]
    assert np.array_equal(group[found.cluster], group)
    heavy = select("facility", x, 3, weights=np.where(group == 2, 10.0, 1.0))
    assert group[heavy.order].tolist() == [2, 0, 1]


def test_stochastic_greedy_comes_close_and_loses_no_sample() -> None:
    x = cloud(150, 6, seed=4)
    for budget in (10, 60, 150):
        lazy = select("facility", x, budget)
        drawn = select("facility", x, budget, greedy="stochastic", seed=3)
        assert len(np.unique(drawn.order)) == budget
        assert 0.9 * lazy.settings["value"] <= drawn.settings["value"]
        value = cosines(x)[:, drawn.order].max(axis=1).sum()
        assert drawn.settings["value"] == pytest.approx(value, rel=1e-12)
    others = select("facility", x, 10, greedy="stochastic", seed=4)
    assert not np.array_equal(others.order, select("facility", x, 10, greedy="stochastic").order)
    # with one drawn for each that is left it is greedy selection, as far as draws go
    fine = select("facility", x, 10, greedy="stochastic", epsilon=1e-9, seed=3)
    assert fine.settings["value"] > 0.999 * select("facility", x, 10).settings["value"]


def test_craig_is_plain_greedy_on_distances_and_weighs_its_medoids() -> None:
    x = cloud(copies=False)
    wide = reference.widen(x)
    distance = np.sqrt(np.maximum(2 - 2 * reference.cosine(wide, wide), 0.0))
    order, _, scores = plain_facility(distance.max() - distance, 12, np.ones(len(x)))
    found = select("craig", x, 12)
    assert found.order.tolist() == order
    assert np.allclose(found.scores, scores, atol=1e-12)
    nearest = np.array(order)[distance[:, order].argmin(axis=1)]
    assert np.array_equal(found.cluster, nearest)
    assert np.allclose(found.distance, distance[:, order].min(axis=1), atol=1e-12)
    found = select("craig", tight_groups()[0], 3)
    assert np.bincount(found.cluster)[found.order].tolist() == [9, 6, 3]
    same = select("craig", np.ones((5, 3)), 2)  # all distances are 0
    assert same.cluster.tolist() == [0] * 5


def test_craig_on_few_neighbors_leaves_the_far_unrepresented() -> None:
    x, group = tight_groups()
    found = select("craig", x, 1, neighbors=2)
    assert np.all(group[found.cluster >= 0] == group[found.order[0]])
    assert np.isnan(found.distance[found.cluster < 0]).all()


# Graph cut


@pytest.mark.parametrize("neighbors", [None, 4])
@pytest.mark.parametrize("trade_off", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_graph_cut_is_plain_greedy(neighbors: int | None, trade_off: float, weighted: bool) -> None:
    x = cloud(50, copies=False)
    weights = np.random.default_rng(1).uniform(0.5, 3, 50) if weighted else None
    plain = np.ones(50) if weights is None else weights
    directed = graph(x, neighbors or 49)
    s = np.maximum(directed, directed.T)
    order: list[int] = []
    won = []
    for _ in range(20):
        gains = [
            plain @ s[:, j] - trade_off * (2 * s[order, j].sum() + s[j, j]) if j not in order
            else -math.inf
            for j in range(50)
        ]  # fmt: skip
        order.append(int(np.argmax(gains)))
        won.append(max(gains))
    options = {"neighbors": neighbors, "trade_off": trade_off, "weights": weights}
    found = select("graphcut", x, 20, **options)
    assert found.order.tolist() == order
    assert np.allclose(found.scores[order], won)


def test_graph_cut_trades_density_for_variety() -> None:
    x, group = tight_groups()
    dense = select("graphcut", x, 3, trade_off=0.0)
    varied = select("graphcut", x, 3, trade_off=4.0)
    assert group[dense.order].tolist() == [0, 0, 0]
    assert sorted(group[varied.order]) == [0, 1, 2]


# Herding


def plain_herding(x: NDArray[Any], budget: int, weights: Float | None = None) -> list[int]:
    wide = reference.widen(x)
    norm = np.sqrt(reference.squared_norm(wide))[:, None]
    unit = np.divide(wide, norm, out=np.zeros_like(wide), where=norm > 0)
    weights = np.ones(len(x)) if weights is None else weights
    mean = np.cumsum(unit * weights[:, None], axis=0)[-1] / np.cumsum(weights)[-1]
    w, order = mean.copy(), []
    for _ in range(budget):
        value = reference.inner(unit, w[None])[:, 0]
        value[order] = -np.inf
        order.append(int(np.argmax(value)))
        w = (w + mean) - unit[order[-1]]
    return order


@pytest.mark.parametrize("d", [1, 3, 40])
def test_herding_is_its_description_at_close_calls(d: int) -> None:
    x = cloud(70, d, seed=2)
    x[30:60] = x[29] * (1 + 1e-7 * np.random.default_rng(0).normal(size=(30, d)))
    x[60] = x[0] * 1e18
    x[61] = x[1] * 1e-18
    assert select("herding", x, 70).order.tolist() == plain_herding(x, 70)
    weights = np.random.default_rng(1).uniform(0.1, 9, 70)
    heavy = select("herding", x, 70, weights=weights)
    assert heavy.order.tolist() == plain_herding(x, 70, weights)


def test_herding_of_more_samples_than_it_widens_at_a_time() -> None:
    x = cloud(2500, 2, seed=3)
    assert select("herding", x, 5).order.tolist() == plain_herding(x, 5)


def test_herding_keeps_the_mean() -> None:
    x = cloud(300, 8, seed=6, copies=False).astype(np.float64)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    found = select("herding", x, 15)
    gap = np.linalg.norm(unit[found.order].mean(axis=0) - unit.mean(axis=0))
    assert found.settings["gap"] == pytest.approx(gap, rel=1e-5)
    drawn = [
        np.linalg.norm(unit[select("random", x, 15, seed=s).order].mean(axis=0) - unit.mean(axis=0))
        for s in range(20)
    ]
    assert gap < min(drawn) / 2


# D2


def plain_d2(
    x: NDArray[Any], score: Float, k: int, forward: float, reverse: float, budget: int
) -> list[int]:
    full = reference.cosine(reference.widen(x), reference.widen(x))
    near = [
        [j for j in np.lexsort((np.arange(len(x)), -full[i])) if j != i][:k] for i in range(len(x))
    ]
    value = [
        score[i] + sum(math.exp(-forward * max(0, 2 - 2 * full[i, j])) * score[j] for j in near[i])
        for i in range(len(x))
    ]
    order: list[int] = []
    for _ in range(budget):
        i = min((i for i in range(len(x)) if i not in order), key=lambda i: (-value[i], i))
        order.append(i)
        for j in near[i]:
            value[j] -= math.exp(-reverse * max(0, 2 - 2 * full[i, j])) * value[i]
    return order


@pytest.mark.parametrize(
    ("k", "forward", "reverse"), [(10, 1.0, 1.0), (3, 5.0, 0.1), (49, 0.5, 9.0)]
)
def test_d2_is_its_description(k: int, forward: float, reverse: float) -> None:
    x = cloud(50, copies=False)
    score = np.random.default_rng(3).uniform(size=50)
    options = {"neighbors": k, "forward": forward, "reverse": reverse}
    found = select("d2", x, 50, score=score, **options)
    assert found.order.tolist() == plain_d2(x, score, k, forward, reverse, 50)
    heavy = np.random.default_rng(4).uniform(1, 2, 50)
    found = select("d2", x, 20, score=score, weights=heavy, **options)
    assert found.order.tolist() == plain_d2(x, score * heavy, k, forward, reverse, 20)


def test_d2_spreads_over_dense_groups() -> None:
    x, group = tight_groups((5, 5, 5))
    found = select("d2", x, 3, neighbors=4, reverse=0.0)
    assert sorted(group[found.order]) == [0, 1, 2]

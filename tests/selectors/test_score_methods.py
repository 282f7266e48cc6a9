"""Methods by score, stratum, centroid and density, each against a restatement of its paper."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from clouds import Float, cloud
from numpy.typing import NDArray

from meddel_fast.selectors import select
from meddel_fast.selectors.base import random_keys
from meddel_fast.selectors.exp_log import exp, log

# Scores: loss, CCS


def test_loss_ranks_by_score() -> None:
    x, score = np.ones((6, 2)), np.array([3, 9, 1, 9, 5, 0])
    assert select("loss", x, 3, score=score).order.tolist() == [1, 3, 4]
    assert select("loss", x, 3, score=score, keep="low").order.tolist() == [5, 2, 0]
    weights = np.array([9, 1, 1, 1, 1, 1.0])
    assert select("loss", x, 1, score=score, weights=weights).order.tolist() == [0]


def plain_ccs(score: Float, budget: int, strata: int, cutoff: int, keys: Float) -> list[int]:
    """Strata of one width, one sample at a time from each of them that has any left."""
    rising = sorted(range(len(score)), key=lambda i: (score[i], i))
    used = rising[: len(score) - cutoff]
    low, high = score[used[0]], score[used[-1]]
    bins: list[list[int]] = [[] for _ in range(strata)]
    for i in used:
        bins[min(strata - 1, math.floor((score[i] - low) / ((high - low) / strata)))].append(i)
    for members in bins:
        members.sort(key=lambda i: (-keys[i], i))
    order: list[int] = []
    while any(bins):
        order += sorted((b.pop(0) for b in bins if b), key=lambda i: (-keys[i], i))
    return (order + rising[len(used) :])[:budget]


@pytest.mark.parametrize("cutoff", [0, 12])
def test_ccs_is_its_description(cutoff: int) -> None:
    x = cloud(120)
    score = np.random.default_rng(7).gamma(1.0, size=120)
    found = select("ccs", x, 50, score=score, strata=10, cutoff=cutoff / 120, seed=4)
    order = plain_ccs(score, 50, 10, cutoff, random_keys(120, 4))
    assert found.order.tolist() == order
    assert found.scores[order].tolist() == [-place for place in range(50)]
    assert np.count_nonzero(found.reason == "disruptive") == cutoff
    per_stratum = np.bincount(found.cluster[found.order], minlength=10)
    size = np.bincount(found.cluster[found.cluster >= 0], minlength=10)
    full = per_stratum == size
    assert np.ptp(per_stratum[~full]) <= 1  # what is not used up got equally much


def test_ccs_gives_back_what_was_cut_off_when_nothing_else_is_left() -> None:
    score = np.arange(10.0)
    found = select("ccs", np.ones((10, 1)), 9, score=score, strata=3, cutoff=0.3)
    assert found.order[-2:].tolist() == [7, 8]
    assert found.reason[9] == "disruptive"
    assert len(select("ccs", np.ones((10, 1)), 4, score=score, cutoff=1.0)) == 4


# Random and stratified


def test_stratified_shares_are_met() -> None:
    strata = np.repeat(["a", "b", "c"], [60, 30, 10])
    for budget in (10, 20, 55, 99):
        found = select("stratified", np.ones((100, 1)), budget, strata=strata, seed=budget)
        got = np.bincount(found.cluster[found.order], minlength=3)
        assert np.abs(got - budget * np.array([0.6, 0.3, 0.1])).max() <= 1
        keys = random_keys(100, budget)
        for stratum in range(3):  # the highest keys of each
            inside = keys[found.cluster == stratum]
            kept = keys[found.mask & (found.cluster == stratum)]
            assert np.array_equal(np.sort(kept), np.sort(inside)[len(inside) - len(kept) :])


def test_weighted_draws_are_in_proportion() -> None:
    x, weights = np.ones((4, 1)), np.array([1.0, 2.0, 3.0, 4.0])
    firsts = np.bincount(
        [select("random", x, 1, seed=s, weights=weights).order[0] for s in range(1500)], minlength=4
    )
    # 4 standard deviations of a binomial share
    assert np.abs(firsts / 1500 - weights / 10).max() < 4 * math.sqrt(0.25 / 1500)


# Distances to centroids


@pytest.mark.parametrize("keep", ["hard", "easy"])
def test_prototypes_by_hand(keep: str) -> None:
    x = cloud(40)
    found = select("prototypes", x, 12, keep=keep, clusters=4)
    wide = x.astype(np.float64)
    unit = wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-30)
    distance = np.empty(40)
    for c in range(4):
        members = found.cluster == c
        centre = unit[members].sum(axis=0)
        distance[members] = 1 - unit[members] @ (centre / np.linalg.norm(centre))
    assert found.settings["converged"]
    assert np.allclose(found.distance, distance, atol=1e-6)
    sign = -1 if keep == "hard" else 1
    assert found.order.tolist() == np.argsort(sign * found.distance, kind="stable")[:12].tolist()
    weights = np.random.default_rng(0).uniform(1, 5, 40)
    heavy = select("prototypes", x, 12, keep=keep, clusters=4, weights=weights)
    wanted = -distance * weights if keep == "hard" else distance / weights
    assert heavy.order.tolist() == np.argsort(wanted, kind="stable")[:12].tolist()


def test_moderate_keeps_the_middle() -> None:
    x, labels = cloud(60), np.repeat(["x", "y"], 30)
    found = select("moderate", x, 20, labels=labels)
    unit = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-30)
    distance = np.empty(60)
    for label in ("x", "y"):
        centre = unit[labels == label].mean(axis=0)
        distance[labels == label] = 1 - unit[labels == label] @ (centre / np.linalg.norm(centre))
    assert np.allclose(found.distance, distance, atol=1e-6)
    off = np.abs(found.distance - np.median(found.distance))
    assert found.order.tolist() == np.argsort(off, kind="stable")[:20].tolist()
    clustered = select("moderate", x, 20, clusters=3)
    assert len(np.unique(clustered.cluster)) == 3
    line = np.float32([[1, t] for t in np.linspace(-1, 1, 21)])  # the centre is direction (1, 0)
    kept = select("moderate", line, 4, labels=np.zeros(21, int)).indices
    assert kept.tolist() == [5, 6, 14, 15]  # neither the centre nor the ends


@pytest.mark.parametrize("keep", ["hard", "easy"])
def test_d4_is_semdedup_then_prototypes(keep: str) -> None:
    x = cloud(90, seed=3)
    dedup = select("semdedup", x, 0.75)
    left = dedup.indices
    inner = select("prototypes", x[left], 20, keep=keep)
    found = select("d4", x, 20, keep=keep)
    assert found.settings["left"] == len(left) == 68
    assert found.order.tolist() == left[inner.order].tolist()
    repeats = found.reason == "duplicate"
    assert np.array_equal(repeats, dedup.reason == "duplicate")
    assert np.array_equal(found.duplicate_of[repeats], dedup.duplicate_of[repeats])
    assert np.array_equal(found.scores[repeats], -1 - found.similarity[repeats])
    assert np.all(found.cluster[~dedup.mask] == -1)
    everything = select("d4", x, 80, keep=keep)  # above the share that SemDeDup leaves
    assert set(everything.indices) == set(select("semdedup", x, 80).indices)


# Density-based pruning


def test_density_is_the_optimum_of_its_programme() -> None:
    """Every whole-number solution of a small programme is tried."""
    x = cloud(24, seed=1)
    for budget in (4, 5, 9, 17):
        found = select("density", x, budget, clusters=3, temperature=0.5)
        label = found.cluster
        size = np.bincount(label)
        target = budget * shares(x, label, found.distance, 0.5)
        costs = {
            split: float(np.sum((np.array(split) - target) ** 2))
            for split in itertools.product(*(range(1, s + 1) for s in size))
            if sum(split) == budget
        }
        got = tuple(np.bincount(label[found.order], minlength=3).tolist())
        assert costs[got] == pytest.approx(min(costs.values()), abs=1e-9)
        for c in range(3):  # the hardest of each cluster
            inside = np.sort(found.distance[label == c])
            kept = np.sort(found.distance[found.mask & (label == c)])
            assert np.array_equal(kept, inside[len(inside) - len(kept) :])


def shares(x: NDArray[Any], label: NDArray[np.int64], distance: Float, tau: float) -> Float:
    """Softmax of d_intra d_inter, by numpy, from the cluster's own means."""
    k = int(label.max()) + 1
    unit = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-30)
    centres = np.stack([unit[label == c].sum(axis=0) for c in range(k)])
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    away = 1 - centres @ centres.T
    inside = np.array([distance[label == c].mean() for c in range(k)])
    between = (away.sum(axis=1) - np.diag(away)) / (k - 1)
    raised = np.exp(inside * between / tau)
    return np.asarray(raised / raised.sum(), dtype=np.float64)


def test_density_agrees_with_a_solver() -> None:
    optimize = pytest.importorskip("scipy.optimize")
    x = cloud(300, 6, seed=8)
    for budget in (30, 90, 200):
        found = select("density", x, budget, clusters=8, temperature=0.1)
        size = np.bincount(found.cluster)
        target = budget * shares(x, found.cluster, found.distance, 0.1)
        solved = optimize.minimize(
            lambda v, t=target / budget: np.sum((v - t) ** 2),
            np.minimum(size, budget / 8) / budget,
            jac=lambda v, t=target / budget: 2 * (v - t),
            bounds=[(1 / budget, s / budget) for s in size],
            constraints={"type": "eq", "fun": lambda v: v.sum() - 1},
            method="SLSQP",
            options={"ftol": 1e-10},
        )
        assert solved.success
        assert solved.x.sum() == pytest.approx(1)
        got = np.bincount(found.cluster[found.order], minlength=8)
        assert np.abs(got - budget * solved.x).max() < 1.01


def test_density_gives_the_wide_cluster_more_and_each_at_least_one() -> None:
    rng = np.random.default_rng(2)
    x = np.eye(6)[np.repeat([0, 1, 2], [60, 60, 60])]
    x[:60] += 0.01 * rng.normal(size=(60, 6))
    x[60:120] += 0.2 * rng.normal(size=(60, 6))
    x[120:] += 0.01 * rng.normal(size=(60, 6))
    found = select("density", x, 40, clusters=3, temperature=0.02, seed=1)
    planted = np.repeat([0, 1, 2], 60)
    assert len({(int(a), int(b)) for a, b in zip(planted, found.cluster, strict=True)}) == 3
    got = np.bincount(planted[found.order], minlength=3)
    assert got[1] > 2 * max(got[0], got[2])
    assert got.min() >= 1
    two = select("density", x, 2, clusters=3, temperature=1e-3, seed=1)  # fewer than clusters
    assert planted[two.order].tolist() == [1, 1]


# What the methods are made of


def test_exp_and_log_are_right_to_two_units() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(-700, 700, 20_000), rng.normal(size=20_000) * 1e-3, [0.0]])
    truth = np.array([math.exp(v) for v in x])
    assert np.all(np.abs(exp(x) - truth) <= 2 * np.spacing(truth))
    assert exp(np.zeros(1))[0] == 1.0
    assert np.array_equal(exp(np.array([-800.0, 800.0])), exp(np.array([-700.0, 700.0])))
    y = np.concatenate([rng.uniform(0, 3, 20_000), np.exp(rng.uniform(-600, 600, 20_000)), [1.0]])
    truth = np.array([math.log(v) for v in y])
    assert np.all(np.abs(log(y) - truth) <= np.maximum(2 * np.spacing(np.abs(truth)), 1e-16))

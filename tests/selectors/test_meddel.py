"""MedDEL: what is disruptive, and what is said where nothing is."""

from __future__ import annotations

import numpy as np
import pytest
from samples import blobs

from meddel_fast.selectors import meddel, select


def planted() -> tuple[np.ndarray, list[int], list[int]]:
    """Ten separate directions of one cluster, five repeated (10-14), two outcasts (15, 16)."""
    rng = np.random.default_rng(1)
    base = np.zeros(48)
    base[0] = 2.0
    x = np.zeros((17, 48))
    for i in range(10):
        x[i] = base
        x[i, i + 1] = 1.0 + 0.01 * i
    x[10:15] = x[:5] + rng.normal(size=(5, 48)) * 1e-4
    x[15, 40] = x[16, 41] = 3.0
    return x.astype(np.float32), list(range(10, 15)), [15, 16]


@pytest.mark.parametrize("rule", ["semdedup", "greedy", "components"])
@pytest.mark.parametrize("keep", ["far", "near", "random"])
@pytest.mark.parametrize("disruptive", [{"epsilon": 0.9}, {"disruptive_fraction": 0.12}])
def test_planted_duplicates_and_outcasts_are_what_goes(
    rule: str, keep: str, disruptive: dict[str, float]
) -> None:
    x, copies, outcasts = planted()
    s = meddel(x, 10, rule=rule, keep=keep, clusters=1, **disruptive)
    assert set(np.flatnonzero(s.reason == "disruptive")) == set(outcasts)
    assert np.all(s.distance[outcasts] > 0.9)
    if "epsilon" in disruptive:
        assert np.array_equal(s.scores[outcasts], -2 - s.distance[outcasts])
    duplicates = np.flatnonzero(s.reason == "duplicate")
    assert len(duplicates) == 5
    pairs = {frozenset((int(i), int(s.duplicate_of[i]))) for i in duplicates}
    assert pairs == {frozenset((i, i - 10)) for i in copies}
    assert s.settings["disruptive"] == 2
    assert s.settings["returned"] == 0
    assert 0.75 < s.settings["eta"] < 1.0  # between the other pairs and the copies


def test_the_least_disruptive_come_back_when_nothing_else_is_left() -> None:
    x, _, _ = planted()
    everything, one_short = meddel(x, 17, clusters=1), meddel(x, 16, clusters=1)
    assert everything.settings["returned"] == 2
    assert one_short.settings["returned"] == 1
    (dropped,) = np.flatnonzero(~one_short.mask)
    assert dropped == 16  # equal distances: the lowest index comes back
    assert one_short.reason[16] == "disruptive"
    assert list(everything.order[-2:]) == [15, 16]


def test_all_disruptive() -> None:
    s = meddel(np.zeros((4, 3)), 2, epsilon=0.9)  # a zero row has cosine 0 to its centroid
    assert s.counts() == {
        "kept": 2, "duplicate": 0, "disruptive": 2, "budget": 0, "excluded": 0
    }  # fmt: skip
    assert list(s.order) == [0, 1]
    assert (s.settings["eta"], s.settings["tied"]) == (None, 0)


@pytest.mark.parametrize("scale", [1, 1e-20, 1e18])
def test_disruptive_are_those_whose_distance_from_the_mean_stands_out(scale: float) -> None:
    x = (np.random.default_rng(5).standard_t(3, size=(300, 4)) * scale).astype(np.float32)
    wide = x.astype(np.float64)
    far = np.linalg.norm(wide - wide.mean(axis=0), axis=1)
    spread = 1.4826 * np.median(np.abs(far - np.median(far)))
    for fraction, deviations in ((1.0, 2.5), (1.0, 5), (0.04, 2.5), (0.3, 0)):
        s = meddel(x, 5, disruptive_fraction=fraction, deviations=deviations, seed=4)
        farthest = np.argsort(-far)[: round(fraction * 300)]
        expected = farthest[far[farthest] > np.median(far) + deviations * spread]
        assert 3 < len(expected) < 300
        assert set(np.flatnonzero(s.reason == "disruptive")) == set(expected)
        assert s.scores[expected] == pytest.approx(-2 - far[expected] / far.max())
        assert s.settings["disruptive"] == len(expected)
    assert (s.settings["disruptive_fraction"], s.settings["deviations"]) == (0.3, 0)


def test_what_is_disruptive_does_not_depend_on_the_centre_or_on_the_clusters() -> None:
    """Eighteen of 200 resemble each other alone: a cluster of their own, which is near to them."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(200, 16)) + 3
    x[:18] = 0.1 * x[:18] + np.r_[8.0, np.full(15, -4.0)]
    for moved in (x, x - x.mean(axis=0)):
        for clusters in (1, 7, 20):
            s = meddel(moved, 20, clusters=clusters)
            assert np.flatnonzero(s.reason == "disruptive").tolist() == list(range(18))
    near = meddel(x, 20, clusters=7, epsilon=2.0).distance  # to the centroids
    assert near[:18].max() < near[18:].min()


def test_copies_do_not_make_the_others_disruptive() -> None:
    """Where most are copies of one, any distance stands out: the share is the limit."""
    x = np.repeat(np.random.default_rng(0).normal(size=(41, 8)), [60] + [1] * 40, axis=0)
    assert meddel(x, 10).settings["disruptive"] == 10


def test_of_samples_equally_far_all_or_none_are_disruptive() -> None:
    x = np.float32([[4], [-4], [1], [-1], [1], [-1]])
    for fraction, disruptive in ((0.17, []), (0.33, [0, 1]), (0.5, [0, 1]), (1.0, [0, 1])):
        s = meddel(x, 2, disruptive_fraction=fraction, clusters=1)
        assert np.flatnonzero(s.scores < -1).tolist() == disruptive
        assert s.settings["disruptive"] == len(disruptive)


@pytest.mark.parametrize(
    ("rule", "end"),
    [("semdedup", ": the selection is that of semdedup with keep = 'near'"), ("greedy", "")],
)
def test_an_epsilon_that_removes_nothing_says_so(rule: str, end: str) -> None:
    x = np.delete(blobs(), 7, axis=0)  # the zero row is at 1
    text = r"meddel: epsilon = 0.9 removed nothing, the farthest sample is 0\.\d+ from its centroid"
    with pytest.warns(UserWarning, match=f"{text}{end}$"):
        s = meddel(x, 5, epsilon=0.9, rule=rule)
    assert s.settings["disruptive"] == 0
    assert s.settings["disruptive_fraction"] is s.settings["deviations"] is None
    same = select("semdedup", x, 5, keep="near")
    assert (s.order.tolist() == same.order.tolist()) == (rule == "semdedup")
    for silent in (2.0, 0.5 * s.distance.max()):
        meddel(x, 5, epsilon=silent)

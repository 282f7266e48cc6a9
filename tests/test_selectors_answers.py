"""Sets so small that the whole selection is known by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from meddel_fast.selectors import Selection, meddel, select
from meddel_fast.selectors.base import random_keys

COPIES_AND_ANOTHER = np.float32([[1, 0], [1, 0], [1, 0], [1, 2]])


def fates(s: Selection) -> list[tuple[str, int]]:
    return list(zip(s.reason.tolist(), s.duplicate_of.tolist(), strict=True))


def test_semdedup_tells_copies_from_samples_that_were_one_too_many() -> None:
    """Five copies, and two opposite samples at right angles to them, which are swept first."""
    x = np.float32([[1, 0]] * 5 + [[0, 1], [0, -1]])
    s = select("semdedup", x, 4, clusters=1)
    assert s.order.tolist() == [0, 5, 6, 1]
    assert fates(s) == [
        ("kept", -1), ("kept", -1), *[("duplicate", 0)] * 3, ("kept", -1), ("kept", -1)
    ]  # fmt: skip
    assert (s.settings["eta"], s.settings["tied"]) == (1.0, 3)
    assert s.scores.tolist() == [0, -1, -1, -1, -1, 0, 0]
    s = select("semdedup", x, 2, clusters=1)
    assert s.order.tolist() == [0, 5]
    assert fates(s)[6] == ("budget", -1)  # like no earlier sample, so no duplicate
    assert np.isnan(s.similarity[6])
    assert (s.settings["eta"], s.settings["tied"]) == (0.0, 1)


def test_meddel_s_semdedup_agrees_with_semdedup() -> None:
    x = np.float32([[1, 0]] * 5 + [[0, 1], [0, -1]])
    for budget in (2, 4):
        ours = meddel(x, budget, clusters=1, epsilon=2.0)
        theirs = select("semdedup", x, budget, clusters=1)
        assert ours.order.tolist() == theirs.order.tolist()
        assert fates(ours) == fates(theirs)
        for name in ("eta", "tied"):
            assert ours.settings[name] == theirs.settings[name]


@pytest.mark.parametrize("rule", ["greedy", "components"])
@pytest.mark.parametrize(
    ("budget", "order", "of", "scores", "eta", "tied"),
    [
        # All are similar at threshold 0: the first of the sweep stands for them.
        (1, [3], [3, 3, 3, -1], [-(0.2**0.5)] * 3 + [1], math.nextafter(0, -1), 0),
        # At 1 the copies alone go, one too many for the third budget.
        (2, [3, 0], [-1, 0, 0, -1], [1, -1, -1, 1], None, 0),
        (3, [3, 0, 1], [-1, -1, 0, -1], [1, 1, -1, 1], math.nextafter(1, 0), 1),
        (4, [3, 0, 1, 2], [-1] * 4, [1] * 4, math.nextafter(1, 0), 0),
    ],
)
def test_meddel_on_three_copies_and_another(
    rule: str,
    budget: int,
    order: list[int],
    of: list[int],
    scores: list[float],
    eta: float | None,
    tied: int,
) -> None:
    s = meddel(COPIES_AND_ANOTHER, budget, rule=rule, clusters=1, epsilon=2.0)
    assert s.order.tolist() == order
    assert s.duplicate_of.tolist() == of
    assert s.scores == pytest.approx(scores, rel=1e-15)
    assert s.settings["tied"] == tied
    if eta is None:  # any threshold above the cosine of the others
        assert 0.2**0.5 <= s.settings["eta"] <= 1
    else:
        assert s.settings["eta"] == eta


@pytest.mark.parametrize("rule", ["greedy", "components"])
def test_meddel_on_opposite_samples(rule: str) -> None:
    """Nothing is similar at any threshold from 0 on, and still one has to go."""
    s = meddel(np.float32([[2, 1], [-2, 1]]), 1, rule=rule, clusters=1, epsilon=2.0)
    assert s.order.tolist() == [0]
    assert fates(s) == [("kept", -1), ("budget", -1)]
    assert s.scores.tolist() == [1, 0]
    assert (s.settings["eta"], s.settings["tied"]) == (math.nextafter(0, -1), 1)


@pytest.mark.parametrize("rule", ["greedy", "components"])
def test_meddel_finds_the_threshold_of_a_tie_to_the_last_bit(rule: str) -> None:
    x = np.float32([[5, 0, 0, 0], [3, 4, 0, 0], [0, 0, 5, 0], [0, 0, 3, 4]])
    options: dict[str, Any] = {"clusters": 1, "epsilon": 2.0, "weights": [4, 3, 2, 1]}
    s = meddel(x, 3, rule=rule, **options)
    assert s.order.tolist() == [0, 1, 2]  # of two pairs alike one is dropped, the last of the sweep
    assert fates(s)[3] == ("duplicate", 2)
    assert s.settings["tied"] == 1
    assert math.nextafter(s.settings["eta"], 2) == s.similarity[3] == pytest.approx(0.6)


def test_a_disruptive_sample_joins_no_components() -> None:
    """Rows 0 and 1 resemble each other less than both resemble the disruptive row 2."""

    def away(tilt: float, turn: float, plane: int) -> list[float]:
        out = [math.cos(math.radians(tilt)), 0.0, 0.0, 0.0, 0.0]
        side, turn = math.sin(math.radians(tilt)), math.radians(turn)
        out[plane], out[plane + 1] = side * math.cos(turn), side * math.sin(turn)
        return out

    x = [away(60, -30, 1), away(60, 30, 1), away(70, 0, 1), away(65, 180, 1)]
    x += [away(60, 0, 3), away(60, 43, 3), *[away(0, 0, 1)] * 20]
    # 0.63 to each other, 0.87 to the row between them; the other two 0.8, so that one has to go
    s = meddel(x, 4, rule="components", clusters=1, disruptive_fraction=2 / 26)
    assert np.flatnonzero(s.reason == "disruptive").tolist() == [2, 3]
    assert set(s.indices) == {0, 1, 4, 6} or set(s.indices) == {0, 1, 5, 6}
    assert 0.7 < s.settings["eta"] < 0.85


def test_a_sample_exactly_epsilon_away_is_not_disruptive() -> None:
    x = np.float32([[1, 0], [1, 0], [0, 0]])  # a zero row is 1 from its centroid
    for epsilon, disruptive in ((1.0, 0), (math.nextafter(1, 0), 1)):
        s = meddel(x, 1, clusters=1, epsilon=epsilon)
        assert s.distance[2] == 1
        assert s.settings["disruptive"] == disruptive


def test_split_takes_turns_by_the_share_of_each_group() -> None:
    score, groups = np.array([9, 8, 7, 6, 5, 4, 3, 2, 1]), [0] * 6 + [1] * 3
    s = select("loss", np.ones((9, 1)), 6, score=score, groups=groups, group_rule="split")
    # 4 and 2 places: turns 1/8, 3/8, 5/8, 7/8 and 1/4, 3/4
    assert s.order.tolist() == [0, 6, 1, 2, 7, 3]
    assert s.counts()["kept"] == 6


@pytest.mark.parametrize(("start", "order"), [(0, [0, 3]), (1, [1, 3]), (4, [2, 4]), (5, [2, 5])])
def test_split_starts_in_each_group_at_the_next_sample_or_its_last(
    start: int, order: list[int]
) -> None:
    x = np.arange(6.0)[:, None]
    groups = [0, 0, 0, 1, 1, 1]
    s = select("kcenter", x, 2, start=start, groups=groups, group_rule="split")
    assert s.order.tolist() == order
    assert s.settings["start"] == start


def test_split_with_a_group_that_is_full() -> None:
    """Group 0 has no place but that of its selected sample; the method is not asked about it."""
    x = np.array([[0.0], [1.0], [5.0], [9.0]])
    s = select("kcenter", x, 2, selected=[0], groups=[0, 0, 1, 1], group_rule="split")
    assert s.order.tolist() == [0, 2]
    np.testing.assert_array_equal(s.distance, [np.nan, np.nan, 0, 4])


def test_split_numbers_the_clusters_of_all_groups_from_0() -> None:
    options: dict[str, Any] = {"groups": [5, 5, 7, 7, 7], "group_rule": "split"}
    s = select("prototypes", np.ones((5, 2)), 2, clusters=1, **options)
    assert s.cluster.tolist() == [0, 0, 1, 1, 1]


def test_split_gives_the_smallest_group_its_place() -> None:
    groups = np.array([0] + [1] * 9)
    s = select("loss", np.ones((10, 1)), 2, score=np.arange(10), groups=groups, group_rule="split")
    assert s.indices.tolist() == [0, 9]  # in proportion group 1 would have both


def test_cover_leaves_each_group_its_last_sample() -> None:
    score, groups = np.array([9, 8, 7, 6, 1, 2]), np.array([1, 1, 0, 0, 2, 3])
    s, all_there = select("loss", np.ones((6, 1)), [4, 6], score=score, groups=groups)
    assert s.order.tolist() == [0, 2, 5, 4]  # 3 goes, 2 is then the last of group 0, so 1 goes
    assert (s.settings["replaced"], all_there.settings["replaced"]) == (2, 0)


def test_selected_samples_stand_for_their_groups() -> None:
    groups = np.array([-1, 0, 1, 2])
    s = select("loss", np.ones((4, 1)), 3, score=np.arange(4), groups=groups, selected=[2])
    assert s.order.tolist() == [2, 3, 1]
    with pytest.raises(ValueError, match="beside the 1 selected samples, which takes 4, got 3"):
        select("loss", np.ones((4, 1)), 3, score=np.arange(4), groups=groups, selected=[0])


@pytest.mark.parametrize("kind", [np.int64, np.str_, object])
def test_negative_and_empty_groups_need_no_sample(kind: type) -> None:
    groups = [-1, -1, -1, 0, 1, 1] if kind is np.int64 else ["", "", "", "a", "b", "b"]
    score = np.array([9, 8, 7, 1, 2, 3])
    given = np.array(groups, dtype=kind)
    for s in select("loss", np.ones((6, 1)), [2, 3], score=score, groups=given):
        assert s.order.tolist() == [0, 5, 3][3 - len(s) :]
        assert (s.settings["groups"], s.settings["replaced"]) == (2, 2)


def splitmix64(z: int) -> int:
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


@pytest.mark.parametrize("seed", [0, 7, 2**64 - 1, 2**64 + 7])
def test_keys_are_splitmix64_of_64_bits_of_the_seed(seed: int) -> None:
    state = splitmix64(seed % 2**64)
    steps = [(state + i * 0x9E3779B97F4A7C15) % 2**64 for i in range(1, 300)]
    wanted = [(splitmix64(step) >> 11) / 2**53 for step in steps]
    assert random_keys(299, seed).tolist() == wanted

"""Sets so small that the whole selection is known by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from test_selectors import given

from meddel_fast.selectors import SELECTORS, Selection, meddel, plan, select
from meddel_fast.selectors.base import random_keys
from meddel_fast.selectors.neighbor_graph import check_neighbors
from meddel_fast.selectors.spanning_forest import joins

COPIES_AND_ANOTHER = np.float32([[1, 0], [1, 0], [1, 0], [1, 2]])


def fates(s: Selection) -> list[tuple[str, int]]:
    return list(zip(s.reason.tolist(), s.duplicate_of.tolist(), strict=True))


COPIES_AND_OPPOSITES = np.float32([[1, 0]] * 7 + [[0, 1], [0, -1]])


def test_semdedup_tells_copies_from_samples_that_were_one_too_many() -> None:
    """Seven copies, and two opposite samples at right angles to them, which are swept first."""
    s = select("semdedup", COPIES_AND_OPPOSITES, 4, clusters=1)
    assert s.order.tolist() == [0, 7, 8, 1]
    assert fates(s) == [*[("kept", -1)] * 2, *[("duplicate", 0)] * 5, *[("kept", -1)] * 2]
    assert (s.settings["eta"], s.settings["tied"]) == (1.0, 5)
    assert s.scores.tolist() == [0, -1, -1, -1, -1, -1, -1, 0, 0]
    s = select("semdedup", COPIES_AND_OPPOSITES, 2, clusters=1)
    assert s.order.tolist() == [0, 7]
    assert fates(s)[8] == ("budget", -1)  # like no earlier sample, so no duplicate
    assert np.isnan(s.similarity[8])
    assert (s.settings["eta"], s.settings["tied"]) == (0.0, 1)


def test_samples_at_right_angles_are_no_duplicates() -> None:
    for name in ("semdedup", "meddel"):
        s = select(name, np.eye(3), 1, clusters=1)
        assert fates(s) == [("kept", -1), ("budget", -1), ("budget", -1)]


def test_d4_names_the_first_sample_as_what_is_repeated() -> None:
    s = select("d4", np.float32([[1, 0], [1, 0], [0, 1]]), 2, dedup=0.6, clusters=1)
    assert fates(s) == [("kept", -1), ("duplicate", 0), ("kept", -1)]


def test_meddel_s_semdedup_agrees_with_semdedup() -> None:
    for budget in (2, 4):
        ours = meddel(COPIES_AND_OPPOSITES, budget, clusters=1, epsilon=2.0)
        theirs = select("semdedup", COPIES_AND_OPPOSITES, budget, clusters=1, keep="near")
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
    s = meddel(COPIES_AND_ANOTHER, budget, rule=rule, clusters=1, epsilon=2.0, keep="far")
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


@pytest.mark.parametrize(("tilt", "clusters"), [(65, 1), (85, 1), (85, 2)])
def test_a_disruptive_sample_joins_no_components(tilt: float, clusters: int) -> None:
    """Rows 0 and 1 resemble each other less than both resemble the disruptive row 2."""

    def away(tilt: float, turn: float, plane: int) -> list[float]:
        out = [math.cos(math.radians(tilt)), 0.0, 0.0, 0.0, 0.0]
        side, turn = math.sin(math.radians(tilt)), math.radians(turn)
        out[plane], out[plane + 1] = side * math.cos(turn), side * math.sin(turn)
        return out

    x = [away(60, -30, 1), away(60, 30, 1), away(80, 0, 1), away(tilt, 180, 1)]
    x += [away(60, 0, 3), away(60, 43, 3), *[away(0, 0, 1)] * 20]
    if clusters == 2:
        x += [away(180, 0, 1)] * 20
    # 0.63 to each other, 0.83 to the row between them; the other two 0.8, so that one has to go
    options: dict[str, Any] = {"clusters": clusters, "epsilon": 0.55}
    s = meddel(x, 3 + clusters, rule="components", **options)
    assert s.cluster[0] == clusters - 1
    assert np.flatnonzero(s.reason == "disruptive").tolist() == [2, 3]
    assert (s.distance[2] > s.distance[3]) == (tilt < 80)
    assert set(s.indices) - {26} in ({0, 1, 4, 6}, {0, 1, 5, 6})
    assert 0.7 < s.settings["eta"] < 0.85


def test_a_sample_exactly_epsilon_away_is_not_disruptive() -> None:
    x = np.float32([[1, 0], [1, 0], [0, 0]])  # a zero row is 1 from its centroid
    s = meddel(x, 1, clusters=1, epsilon=math.nextafter(1, 0))
    assert (s.distance[2], s.settings["disruptive"]) == (1, 1)
    with pytest.warns(UserWarning, match="epsilon = 1 removed nothing, the farthest sample is 1 f"):
        assert meddel(x, 1, clusters=1, epsilon=1.0).settings["disruptive"] == 0


def test_split_takes_turns_by_the_share_of_each_group() -> None:
    score, groups = np.array([9, 8, 7, 6, 5, 4, 3]), [0] * 5 + [1] * 2
    s = select("loss", np.ones((7, 1)), 7, score=score, groups=groups, group_rule="split")
    # turns 0.1, 0.3, 0.5, 0.7, 0.9 and 0.25, 0.75
    assert s.order.tolist() == [0, 5, 1, 2, 3, 6, 4]


def test_what_no_kept_sample_represents_has_no_medoid() -> None:
    """With one neighbour each, the pair 0, 2 knows nothing of the others, whose hub is 5."""
    x = np.float32([[0, 0, 1], [0, 1, 0], [0, 0, 1], [1, 0.1, 0], [1, -0.1, 0], [1, 0, 0]])
    groups = [0, 1, 0, 0, 0, 0]
    split = select("facility", x, 2, groups=groups, group_rule="split", neighbors=1)
    assert split.cluster.tolist() == [-1, 1, -1, 5, 5, 5]
    alone = select("facility", x, 1, exclude=np.arange(6) == 1, neighbors=1)
    assert alone.cluster.tolist() == [-1, -1, -1, 5, 5, 5]


@pytest.mark.parametrize(("start", "order"), [(0, [0, 4]), (1, [1, 4]), (5, [3, 5]), (6, [3, 6])])
def test_split_starts_in_each_group_at_the_next_sample_or_its_last(
    start: int, order: list[int]
) -> None:
    x = np.arange(7.0)[:, None]
    groups = [0, 0, 0, 0, 1, 1, 1]
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


@pytest.mark.parametrize(("small", "large", "kept"), [(0, 1, 1), (1, 0, 1), (-1, 0, 0)])
def test_split_gives_the_smallest_group_its_place(small: int, large: int, kept: int) -> None:
    groups = np.array([small] + [large] * 9)  # in proportion the large one would have both
    s = select("loss", np.ones((10, 1)), 2, score=np.arange(10), groups=groups, group_rule="split")
    assert np.count_nonzero(s.mask & (groups == small)) == kept


def test_cover_leaves_each_group_its_last_sample() -> None:
    score, groups = np.array([9, 8, 7, 6, 1, 2]), np.array([1, 1, 0, 0, 2, 3])
    s, all_there = select("loss", np.ones((6, 1)), [4, 6], score=score, groups=groups)
    assert s.order.tolist() == [0, 2, 5, 4]  # 3 goes, 2 is then the last of group 0, so 1 goes
    assert (s.settings["replaced"], all_there.settings["replaced"]) == (2, 0)
    s = select("loss", np.ones((5, 1)), 3, score=[9, 8, 7, 1, 2], groups=[2, 2, -1, 0, 1])
    assert s.order.tolist() == [0, 4, 3]


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
    two, three = select("loss", np.ones((6, 1)), [2, 3], score=score, groups=given)
    assert two.order.tolist() == [5, 3]
    assert three.order.tolist() == [0, 5, 3]
    assert (three.settings["groups"], three.settings["replaced"]) == (2, 2)


def test_craig_of_two_samples() -> None:
    s = select("craig", np.float32([[5, 0], [3, 4]]), 1)
    away = 0.8**0.5  # sqrt(2 - 2 cos)
    assert s.distance == pytest.approx([0, away])
    assert s.scores == pytest.approx([away, away])
    assert s.cluster.tolist() == [0, 0]
    assert s.settings["largest"] == pytest.approx(away)


@pytest.mark.parametrize(
    ("name", "default"), [("facility", 39), ("craig", 39), ("graphcut", 39), ("d2", 10)]
)
def test_settings_tell_the_number_of_neighbors(name: str, default: int) -> None:
    x = np.random.default_rng(0).normal(size=(40, 3))
    assert select(name, x, 2).settings["neighbors"] == default
    assert select(name, x, 2, neighbors=4).settings["neighbors"] == 4
    assert select(name, x[:5], 2).settings["neighbors"] == 4
    assert [check_neighbors(None, n) for n in (1, 2000, 2001)] == [0, 1999, 32]


@pytest.mark.parametrize(
    ("name", "options"), [("herding", {}), ("density", {}), ("d2", {"score": -np.ones(20)})]
)
def test_scores_of_what_is_left_end_at_0(name: str, options: dict[str, Any]) -> None:
    s = select(name, np.random.default_rng(0).normal(size=(20, 3)), 5, **options)
    assert s.scores[s.order].tolist() == [5, 4, 3, 2, 1]
    assert s.scores[~s.mask].max() == 0
    assert np.isfinite(s.scores).all()


def test_density_of_one_cluster_ranks_by_distance() -> None:
    s = select("density", np.random.default_rng(0).normal(size=(20, 3)), 5, clusters=1)
    rank = np.argsort(-s.distance, kind="stable")
    assert s.scores[rank] == pytest.approx(np.arange(5, -15, -1))


@pytest.mark.parametrize("name", [n for n in SELECTORS if n not in ("kcenter", "loss")])
def test_the_scale_of_the_samples_does_not_matter(name: str) -> None:
    x = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    options = {"metric": "cosine"} if name == "hierarchical" else given(name, 30, 3)
    large, small = (select(name, x * scale, 9, **options) for scale in (64, 1 / 64))
    assert large.order.tolist() == small.order.tolist()
    assert large.settings == small.settings
    for field in ("scores", "distance", "similarity"):
        np.testing.assert_array_equal(getattr(large, field), getattr(small, field))


@pytest.mark.parametrize("name", ["semdedup", "meddel", "prototypes", "d4", "density"])
def test_one_iteration_of_k_means_is_enough_to_ask_for(name: str) -> None:
    s = select(name, np.random.default_rng(0).normal(size=(30, 3)), 9, max_iterations=1)
    assert (s.settings["max_iterations"], s.settings["iterations"]) == (1, 1)


@pytest.mark.parametrize("keep", ["hard", "easy"])
@pytest.mark.parametrize(
    ("name", "options"), [("prototypes", {}), ("density", {}), ("d4", {"dedup": 1.0})]
)
def test_weights_make_a_distance_count_more_or_less(
    name: str, options: dict[str, Any], keep: str
) -> None:
    """In one cluster all three rank alike, and the heavier of two equally far is wanted more."""
    rng = np.random.default_rng(0)
    x, weights = rng.normal(size=(30, 3)), rng.uniform(0.01, 9, 30)
    x[5] = x[4]
    s = select(name, x, 30, keep=keep, clusters=1, weights=weights, **options)
    wanted = -s.distance * weights if keep == "hard" else s.distance / weights
    assert s.order.tolist() == np.argsort(wanted, kind="stable").tolist()
    place = {i: k for k, i in enumerate(s.order.tolist())}
    assert (place[4] < place[5]) == (weights[4] > weights[5])


def test_a_zero_row_costs_graph_cut_nothing() -> None:
    s = select("graphcut", np.float32([[0, 0], [1, 0]]), 1, trade_off=0.25)
    assert s.scores.tolist() == [0, 0.75]


def test_stochastic_facility_with_one_draw_a_step_is_a_random_selection() -> None:
    x = np.random.default_rng(0).normal(size=(25, 3))
    s = select("facility", x, 6, greedy="stochastic", epsilon=1.0, seed=9)
    left, order = list(range(25)), []
    for key in random_keys(6, 9):
        place = int(key * len(left))
        order.append(left[place])
        left[place] = left[-1]
        left.pop()
    assert s.order.tolist() == order


def test_stochastic_facility_goes_on_from_the_selected() -> None:
    x = np.eye(4)[[0, 0, 0, 1, 1, 2, 2]]
    s = select("facility", x, 4, greedy="stochastic", epsilon=1e-9, selected=[0, 1])
    assert sorted(s.order[2:].tolist()) == [3, 5]
    assert s.settings["value"] == 7


def test_moderate_knows_classes_of_one_and_of_opposites() -> None:
    x = np.float32([[0, 3], [4, 0], [5, 0], [1, 1], [-2, -2]])
    s = select("moderate", x, 1, labels=["a", "b", "b", "c", "c"])
    assert s.distance.tolist() == [0, 0, 0, 1, 1]  # opposites have no mean direction


def test_stratified_gives_the_small_stratum_its_share() -> None:
    s = select("stratified", np.ones((7, 1)), 4, strata=[0] * 6 + [1])
    # 6 / (r + 0.5): 12, 4, 2.4, 1.7 and 1 / 0.5: 2
    assert np.bincount(s.cluster[s.order]).tolist() == [3, 1]


def test_joins_pass_over_samples_that_are_alone() -> None:
    x, every = np.ones((3, 2), np.float32), np.arange(3)
    for label, wanted in (([0, 1, 1], [1.0]), ([0, 1, 2], [])):
        found = joins(x, np.array(label), every, every[:0], 0.5, None)
        assert found is not None
        assert found.tolist() == pytest.approx(wanted)


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


def test_a_key_of_0_has_a_logarithm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "random_keys", lambda n, seed: np.zeros(n))
    s = select("random", np.ones((2, 1)), 1, weights=[1, 2])
    assert s.order.tolist() == [1]
    assert s.scores[0] == pytest.approx(-54 * math.log(2))

"""Several objectives in one greedy: known answers, and the greedy restated in plain numpy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from test_selectors import blobs

from meddel_fast import reference
from meddel_fast.selectors import check_options, combine, greedy, select

RIGHT_ANGLES = np.float32([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 0, 0]])


def test_diversity_alone_is_k_center_by_cosine() -> None:
    x = np.abs(blobs(60))  # no negative cosine, which counts as 0 here
    ours = combine(x, [5, 20], objectives=[("diversity", 1)])
    theirs = select("kcenter", x, [5, 20], metric="cosine")
    for one, other in zip(ours, theirs, strict=True):
        assert one.order.tolist() == other.order.tolist()
        np.testing.assert_array_equal(one.distance, other.distance)


def test_one_static_objective_ranks() -> None:
    score = np.array([3.0, 1, 5, 5, 2])
    s = combine(RIGHT_ANGLES, 3, objectives={"score": 2}, score=score)
    assert s.order.tolist() == [2, 3, 0]
    assert s.scores.tolist() == [1, 0, 2, 2, 0.5]
    assert s.settings["value"] == 5
    assert s.settings["means"] == {"score": 2.5 / 3}
    s = combine(RIGHT_ANGLES, 2, objectives={"score": -1}, score=score)
    assert s.order.tolist() == [1, 4]


def test_strengths_trade_spread_for_score() -> None:
    """Row 1 repeats row 0: at 0.5 its score is worth less than a new direction, at 2 more."""
    score = np.array([1.0, 0.9, 0.5, 0, 0])
    objectives = {"diversity": 1, "score": 0.5}
    s = combine(RIGHT_ANGLES, 4, objectives=objectives, score=score)
    assert s.order.tolist() == [0, 2, 3, 4]  # 1.5, 1.25, 1, 1 (opposite rows are not alike)
    assert s.settings["value"] == 4.75
    assert s.settings["means"] == {"score": 0.375, "diversity": 1}
    assert s.scores.tolist() == [1.5, 0.45, 1.25, 1, 1]
    s = combine(RIGHT_ANGLES, 2, objectives={"diversity": 1, "score": 4}, score=score)
    assert s.order.tolist() == [0, 1]


def test_like_and_unlike() -> None:
    ask = np.float32([[1, 0, 0], [0, 0, 1]])
    found = combine(RIGHT_ANGLES, 5, objectives=[("like", 1)], like=ask)
    assert found.order.tolist() == [0, 1, 3, 2, 4]
    found = combine(RIGHT_ANGLES, 5, objectives=[("unlike", 1)], unlike=ask)
    assert found.order.tolist() == [2, 4, 0, 1, 3]
    assert found.settings["value"] == -3
    assert found.settings["means"] == {"unlike": 0.6}


def test_copies_are_left_out_until_nothing_else_is_left() -> None:
    score = np.array([1.0, 0.9, 0.5, 0, 0])
    objectives = [("score", 1), ("dedup", 0.99)]
    with pytest.warns(UserWarning, match="combine: 1 of 5 samples are near copies, for want of"):
        ladder = combine(RIGHT_ANGLES, [2, 5], objectives=objectives, score=score)
    assert [s.order.tolist() for s in ladder] == [[0, 2], [0, 2, 3, 4, 1]]
    assert ladder[0].reason.tolist() == ["kept", "duplicate", "kept", "budget", "budget"]
    assert ladder[0].duplicate_of[1] == 0
    assert ladder[0].similarity[1] == 1
    assert [s.settings["copies"] for s in ladder] == [0, 1]
    beside = combine(RIGHT_ANGLES, 2, objectives=objectives, score=score, selected=[1])
    assert beside.order.tolist() == [1, 2]
    assert beside.duplicate_of[0] == 1


def test_a_cosine_at_the_threshold_is_that_of_a_copy() -> None:
    """(3, 4) has exactly 0.6 to (1, 0), and equal rows have 1."""
    x, score = np.float32([[1, 0], [3, 4], [0, 1]]), np.float32([3, 2, 1])
    for threshold, order in ((0.6, [0, 2]), (float(np.nextafter(0.6, 1)), [0, 1])):
        wanted = {"score": 1, "dedup": threshold}
        for selected in ([], [0]):
            found = combine(x, 2, objectives=wanted, score=score, selected=selected)
            assert found.order.tolist() == order
    found = combine(x[[0, 0, 2]], 2, objectives={"score": 1, "dedup": 1}, score=score)
    assert found.order.tolist() == [0, 2]


def test_typicality_is_the_mean_cosine_to_the_nearest() -> None:
    x = blobs(30)
    s = combine(x, 4, objectives=[("typicality", 1)], neighbors=3)
    wide = reference.widen(x)
    among = reference.cosine(wide, wide)
    np.fill_diagonal(among, -2)
    typical = np.sort(among, axis=1)[:, -3:].mean(axis=1)
    assert set(s.indices) == set(np.argsort(-typical)[:4])


def restated(
    x: np.ndarray, terms: dict[str, np.ndarray], strengths: dict[str, float], count: int,
    selected: list[int],
) -> tuple[list[int], list[float]]:  # fmt: skip
    """All sums anew for each sample that is kept."""
    wide = reference.widen(x)
    among = reference.cosine(wide, wide)
    base = np.zeros(len(x))
    for name in strengths:
        if name in terms:
            low, high = terms[name].min(), terms[name].max()
            scaled = (terms[name] - low) / (high - low) if high > low else np.zeros(len(x))
            base = base + (-1 if name == "unlike" else 1) * strengths[name] * scaled
    kept, gains = list(selected), []
    while len(kept) < count:
        alike = among[:, kept].max(axis=1) if kept else np.full(len(x), -1.0)
        sums = base + strengths.get("diversity", 0.0) * (1.0 - np.maximum(alike, 0.0))
        left = [i for i in range(len(x)) if i not in kept]
        good = [i for i in left if alike[i] < strengths.get("dedup", 2.0)]
        best = max(good or left, key=lambda i: (sums[i], -i))
        kept.append(best)
        gains.append(float(sums[best]))
    return kept, gains


@pytest.mark.filterwarnings("ignore:combine. .* are near copies")
@pytest.mark.parametrize("seed", range(16))
def test_it_is_its_description(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if seed % 2:  # few samples to choose among at a time, and reading by tiles
        monkeypatch.setattr(greedy, "_LEAST", 4)
        monkeypatch.setattr(greedy, "_MOST", 6)
    rng = np.random.default_rng(seed)
    grid = rng.integers(-2, 3, (150, 3)).astype(np.float32)  # many ties and copies, zero rows too
    x = grid if seed % 4 < 2 else rng.normal(size=(150, 8)).astype(np.float32)
    like, unlike = x[rng.integers(0, 150, 3)] + 1, x[rng.integers(0, 150, 2)]
    score = rng.integers(0, 4, 150).astype(np.float64)
    every = {"diversity": 1.0, "like": 0.5, "unlike": 0.25, "score": -0.3, "typicality": 0.4,
             "dedup": 0.9}  # fmt: skip
    names = [n for n in rng.permutation(list(every)).tolist() if rng.random() < 0.6]
    strengths = {name: every[name] for name in [*names, "diversity"]}
    wide = reference.widen(x)
    terms = {
        "like": reference.cosine(wide, reference.widen(like)).max(axis=1),
        "unlike": reference.cosine(wide, reference.widen(unlike)).max(axis=1),
        "score": score,
        "typicality": np.cumsum(reference.topk_similarity(x, None, 20)[0], axis=1)[:, -1] / 20,
    }
    arrays: dict[str, Any] = {"like": like, "unlike": unlike, "score": score}
    options = {name: value for name, value in arrays.items() if name in strengths}
    selected = [[], [3, 90, 17]][seed % 3 == 0]
    counts = [4, 10, 37, 150]
    found = combine(x, counts, objectives=strengths, selected=selected, **options)
    stored = combine(
        x, counts, objectives=strengths, selected=selected, memory="40MB", threads=1, **options
    )
    order, gains = restated(x, terms, strengths, 150, selected)
    for one, same, count in zip(found, stored, counts, strict=True):
        assert one.order.tolist() == order[:count]
        chosen = count - len(selected)
        assert one.settings["value"] == math.fsum(gains[:chosen])
        assert one.settings == same.settings
        np.testing.assert_array_equal(one.scores, same.scores)
        np.testing.assert_array_equal(one.distance, same.distance)
        among = reference.cosine(wide, wide[one.order]).max(axis=1)
        left = ~one.mask
        np.testing.assert_array_equal(one.distance[left], 1.0 - np.maximum(among[left], 0.0))
        copies = left & (among >= strengths.get("dedup", 2.0))
        assert np.array_equal(one.reason == "duplicate", copies)
        np.testing.assert_array_equal(one.similarity[copies], among[copies])


def test_values_and_copies_of_classes_add_up() -> None:
    rows, classes = np.repeat(RIGHT_ANGLES, 2, axis=0), ["a"] * 5 + ["b"] * 5
    wanted = {"diversity": 1, "dedup": 0.9}
    with pytest.warns(UserWarning, match="are near copies"):
        found = combine(rows, 8, objectives=wanted, classes=classes)
    parts = []
    for part in (rows[:5], rows[5:]):
        with pytest.warns(UserWarning, match="are near copies"):
            parts.append(combine(part, 4, objectives=wanted).settings)
    assert [p["copies"] for p in parts] == [2, 1]
    assert found.settings["copies"] == 3
    assert found.settings["value"] == sum(p["value"] for p in parts)


@pytest.mark.parametrize(
    ("error", "text", "options"),
    [
        (TypeError, "objectives must be pairs .*, got 'like'", {"objectives": "like"}),
        (TypeError, "objectives must be pairs", {"objectives": ["like", "score"]}),
        (TypeError, "objectives must be pairs", {"objectives": 3}),
        (ValueError, "objectives must be of 'div.*got 'size'", {"objectives": {"size": 1}}),
        (ValueError, r"objectives must be of 'div.*got \['like'\]",
         {"objectives": [(["like"], 1)]}),
        (ValueError, "neighbors must be None where 'typicality' is not an objective, got 3",
         {"objectives": {"diversity": 1}, "neighbors": 3}),
        (ValueError, "must hold each objective once, got 'like'",
         {"objectives": [("like", 1), ("like", 2)]}),
        (ValueError, "must hold one beside 'dedup'", {"objectives": {"dedup": 0.9}}),
        (ValueError, "must hold one beside 'dedup'", {"objectives": []}),
        (ValueError, "objectives: diversity must be from 0 to", {"objectives": {"diversity": -1}}),
        (ValueError, "dedup must be from 0.5 to 1",
         {"objectives": {"diversity": 1, "dedup": 0.3}}),
        (TypeError, "objectives: like must be a number", {"objectives": {"like": "much"}}),
        (ValueError, "like must be an array where 'like' is an objective",
         {"objectives": {"like": 1}}),
        (ValueError, "score must be None where 'score' is not an objective", {"score": np.ones(5)}),
        (ValueError, "like must have 3 columns like x, got 2",
         {"objectives": {"like": 1}, "like": np.ones((1, 2))}),
        (ValueError, "weights must be None for combine", {"weights": np.ones(5)}),
    ],
)  # fmt: skip
def test_refusals(error: type[Exception], text: str, options: dict[str, Any]) -> None:
    with pytest.raises(error, match=text):
        combine(RIGHT_ANGLES, 2, **options)
    if "objectives:" in text or "must hold" in text or "must be of" in text:
        with pytest.raises(error, match=text):
            check_options("combine", options)


def test_a_budget_too_small_says_what_is_needed() -> None:
    with pytest.raises(ValueError, match=r"memory must be at least \d+ bytes for 9 of 40 x 6 rows"):
        combine(blobs(), 9, objectives={"diversity": 1}, memory=1000)

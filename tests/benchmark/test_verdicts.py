"""The rule of verdicts: by hand, against Dunnett's test, and what it says when it cannot judge."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("scipy")

from scipy import stats

from meddel_fast.benchmark.scores.bootstrap import Floats, Sample
from meddel_fast.benchmark.scores.statistics import FLOORS, Rows, Table, differences
from meddel_fast.benchmark.scores.verdicts import (
    ALIKE,
    BETTER,
    NOT_JUDGED,
    ONE_IMAGE,
    ONE_REPETITION,
    WORSE,
    Comparison,
    cleared,
    compare,
    marks,
    rule,
)

REPEATS, HEADS, IMAGES = 3, 2, 50
RUNS = tuple((r, h) for r in range(REPEATS) for h in range(HEADS))


def sample(scores: Floats, image_noise: Floats | float = 0.0, heads: float = 0.0) -> Sample:
    """Scores of repetitions, each of two heads about it; the draws add noise (draws,) to all."""
    observed = np.repeat(scores, HEADS) + heads * np.tile([1, -1], REPEATS)
    noise = np.broadcast_to(image_noise, 400)
    drawn = observed + noise[:, None]
    return Sample(observed, drawn, np.full_like(drawn, 1 / len(RUNS)), RUNS, IMAGES)


def family(rng: np.random.Generator, size: int) -> list[Sample]:
    return [sample(0.6 + 0.01 * rng.normal(size=REPEATS)) for _ in range(size + 1)]


def width(one: Comparison) -> float:
    return (one.high - one.low) / 2


def width_of_all(one: Comparison) -> float:
    return (one.all_high - one.all_low) / 2


def test_without_images_it_is_a_t_test_of_the_pooled_spread(rng: np.random.Generator) -> None:
    other, *others = family(rng, 4)
    found = compare(dict(enumerate(others)), other)
    scores = np.array([s.observed[::HEADS] for s in (other, *others)])
    rest = scores - scores.mean(axis=1, keepdims=True)
    rest -= rest.mean(axis=0)
    variance = (rest**2).sum() / (4 * (REPEATS - 1))
    quieter = 0
    for row, one in zip(scores[1:], found.values(), strict=True):
        own = (row - scores[0]).var(ddof=1)
        quieter += own < 2 * variance
        wanted = stats.t.ppf(0.975, 8) * np.sqrt(max(own, 2 * variance) / REPEATS)
        assert width(one) == pytest.approx(wanted, rel=0.03)
        assert one.difference == pytest.approx((row - scores[0]).mean())
        assert (one.low + one.high) / 2 == pytest.approx(one.difference)
        assert one.comparisons == 4
    assert 0 < quieter < 4


@pytest.mark.parametrize("size", [2, 5, 11])
def test_all_at_once_it_is_dunnetts_test(rng: np.random.Generator, size: int) -> None:
    other, *others = family(rng, size)
    found = compare(dict(enumerate(others)), other)
    freedom = size * (REPEATS - 1)
    by_t = stats.t.ppf(0.975, freedom)
    critical = np.mean([by_t * width_of_all(one) / width(one) for one in found.values()])
    shape = np.full((size, size), 0.5) + 0.5 * np.eye(size)
    dunnett = stats.multivariate_t(shape=shape, df=freedom, seed=0)
    ends = np.full(size, critical)
    assert dunnett.cdf(ends, lower_limit=-ends) == pytest.approx(0.95, abs=0.008)


def test_what_differs_between_images_widens(rng: np.random.Generator) -> None:
    other, one, *_ = family(rng, 2)
    shared = 0.05 * rng.normal(size=400)
    alone = compare({"x": one}, other)["x"]
    both = compare(
        {"x": replace(one, drawn=one.drawn + shared[:, None])},
        replace(other, drawn=other.drawn + shared[:, None]),
    )["x"]
    assert width(both) == pytest.approx(width(alone))  # the same images: it cancels
    wider = compare({"x": replace(one, drawn=one.drawn + shared[:, None])}, other)["x"]
    images = shared.var() * IMAGES / (IMAGES - 1)
    runs = (one.observed[::HEADS] - other.observed[::HEADS]).var(ddof=1) / REPEATS
    assert width(wider) > 1.9 * np.sqrt(images + runs)


def test_luck_of_a_run_with_its_images_counts_once(rng: np.random.Generator) -> None:
    other, one = family(rng, 1)
    luck = np.repeat(0.02 * rng.normal(size=(2000, REPEATS)), HEADS, axis=1)
    drawn = np.tile(one.observed, (2000, 1)) + luck
    plain = np.tile(other.observed, (2000, 1))
    lucky = compare({"x": replace(one, drawn=drawn)}, replace(other, drawn=plain))["x"]
    assert width(lucky) < 1.1 * width(compare({"x": one}, other)["x"])


def test_heads_are_no_repetitions() -> None:
    scores = 0.6 + np.array([0.0, 0.01, 0.02])
    quiet, other = sample(scores), sample(scores - 0.03 * np.array([1, 2, 1]))
    loud = sample(scores, heads=0.1)
    assert compare({"x": loud}, other)["x"] == compare({"x": quiet}, other)["x"]


def test_equal_selections_count_once_and_what_does_not_vary_has_no_spread(
    rng: np.random.Generator,
) -> None:
    other, one, two = family(rng, 2)
    found = compare({"a": one, "b": one, "c": two, "same": other}, other)
    assert {x.comparisons for x in found.values()} == {3}
    assert found["a"] == found["b"]
    assert (found["same"].difference, found["same"].verdict) == (0.0, ALIKE)
    fixed = [sample(np.full(REPEATS, score)) for score in (0.5, 0.6, 0.4)]
    exact = compare(dict(enumerate(fixed[1:])), fixed[0])
    assert [x.verdict for x in exact.values()] == [BETTER, WORSE]
    assert [exact[0].low, exact[0].all_high] == pytest.approx([0.1, 0.1])
    # a floor without spread does not make that of the others small
    alone = compare({"a": one}, fixed[0], alike=[two])["a"]
    pooled = np.mean([s.observed[::HEADS].var(ddof=1) for s in (one, two)])
    assert width(alone) > 0.9 * stats.t.ppf(0.975, 2) * np.sqrt(pooled / REPEATS / 2)


def test_others_that_train_alike_tell_of_the_spread(rng: np.random.Generator) -> None:
    other, one, *alike = family(rng, 8)
    few = compare({"x": one}, other)["x"]
    many = compare({"x": one}, other, alike=alike)["x"]
    own = (one.observed - other.observed)[::HEADS].std(ddof=1) / np.sqrt(REPEATS)
    assert width(few) == pytest.approx(stats.t.ppf(0.975, 2) * own, rel=0.05)
    assert width(many) >= 0.97 * stats.t.ppf(0.975, 14) * own


def test_one_repetition_is_judged_by_nothing() -> None:
    runs = ((0, 0), (0, 1), (0, 2))
    scores = np.array([0.6, 0.61, 0.62])
    one, other = (
        Sample(s, np.tile(s, (400, 1)), np.full((400, 3), 1 / 3), runs, IMAGES)
        for s in (scores, scores - 0.3 + np.array([0, 0.001, 0]))
    )
    found = compare({"x": one}, other)["x"]
    assert (found.verdict, found.why) == (NOT_JUDGED, ONE_REPETITION)
    assert 0 < found.low < found.difference < found.high  # of heads
    told = rule(runs)
    assert (told["repeats"], told["heads"], told["judged"]) == (1, 3, False)
    assert told["why"].startswith(ONE_REPETITION)
    assert rule(RUNS)["judged"]
    assert rule(RUNS)["why"] == ""
    assert "one encoder" in rule(RUNS)["leaves_out"]


def test_one_image_is_judged_by_nothing() -> None:
    # Neither varies: without this the interval would be a point, and any difference a verdict.
    high, low = (replace(sample(np.full(REPEATS, score)), units=1) for score in (0.7, 0.4))
    found = compare({"x": high}, low)["x"]
    assert (found.verdict, found.why) == (NOT_JUDGED, ONE_IMAGE)


def test_other_runs_are_refused(rng: np.random.Generator) -> None:
    other, one = family(rng, 1)
    with pytest.raises(ValueError, match="samples must be of the same runs"):
        compare({"x": replace(one, runs=RUNS[::-1])}, other)
    assert compare({}, other) == {}


# Tables


def judged_table(rng: np.random.Generator, **levels: float) -> Rows:
    """Differences of a table: the level of each selection, all at 10 % but for full and floors."""
    table: dict[tuple[str, float], dict[str, Sample]] = {}
    for name, level in levels.items():
        ratio = {"full": 1.0, "untrained": 0.0, "nothing": 0.0}.get(name, 0.1)
        noise = 0.0 if name == "nothing" else 0.002
        table[name, ratio] = {"a": sample(level + noise * rng.normal(size=REPEATS))}
    found: Table = table
    return differences(found, {key: key[1] for key in table if key[0] not in FLOORS}, 1.0)


def verdict_of(rows: Rows, selector: str, against: str) -> tuple[str, str]:
    (row,) = [
        r for r in rows if (r["selector"], r["against"], r["dataset"]) == (selector, against, "a")
    ]
    return row["verdict"], row["why"]


def test_only_what_is_above_the_floor_is_judged(rng: np.random.Generator) -> None:
    rows = judged_table(rng, untrained=0.5, nothing=0.45, full=0.6, random=0.48, low=0.4, high=0.7)
    assert verdict_of(rows, "high", "untrained")[0] == BETTER
    assert verdict_of(rows, "full", "nothing")[0] == BETTER
    assert verdict_of(rows, "high", "random") == (BETTER, "")
    assert verdict_of(rows, "low", "random") == (NOT_JUDGED, "neither clears the floor")
    assert verdict_of(rows, "low", "full") == (WORSE, "")  # full is above
    assert cleared(rows, FLOORS) >= {("high", 0.1, "a"), ("full", 1.0, "a")}
    assert ("random", 0.1, "a") not in cleared(rows, FLOORS)  # above one of two
    assert marks(rows) == {("high", 0.1, "a"), ("high", 0.1, "mean")}
    without = judged_table(rng, full=0.6, random=0.48, low=0.4)
    assert verdict_of(without, "low", "random")[0] == WORSE


def test_normdel_of_a_floor_is_at_the_share_of_the_selection(rng: np.random.Generator) -> None:
    rows = judged_table(rng, untrained=0.5, nothing=0.45, full=0.6, random=0.6)
    for row in rows:
        if row["against"] == "nothing" and row["dataset"] == "a":
            score = row["miou_difference"] + 0.45
            ends = [1 / (1 + np.exp(-m * np.exp(-row["ratio"]))) for m in (score, 0.45)]
            assert row["normdel_difference"] == pytest.approx(ends[0] - ends[1], abs=1e-5)

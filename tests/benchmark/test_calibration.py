"""How often the rule of verdicts is wrong, on stored results of runs that differ in nothing.

``tests/data/null_runs.npz`` has the counts of 48 trainings on random selections, two heads each
(how it was made stands beside it). Dealt to made-up selectors by chance, all are useless alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy")

from meddel_fast.benchmark.scores.bootstrap import Sample, combine, resample, run_weights
from meddel_fast.benchmark.scores.verdicts import ALIKE, BETTER, NOT_JUDGED, WORSE, compare

STORED = Path(__file__).parents[1] / "data" / "null_runs.npz"
DRAWS = 500
TRIALS = 300
LEVEL = 0.05
MARGIN = 2.5 * np.sqrt(LEVEL * (1 - LEVEL) / TRIALS)
HEADS = 2

Rule = Callable[[list[Sample]], list[str]]


@cache
def population() -> Sample:
    """All stored runs, as if they were those of one selection."""
    with np.load(STORED) as file:
        counts, groups = file["counts"].astype(np.int64), file["groups"].tolist()
        runs = [(int(repeat), int(head)) for repeat, head in file["runs"]]
    return resample({"x": counts}, runs, "null", groups=groups, draws=DRAWS)["x"]


@cache
def shares(repeats: int) -> np.ndarray:
    return run_weights([(r, h) for r in range(repeats) for h in range(HEADS)], DRAWS)


def deal(rng: np.random.Generator, selectors: int, repeats: int) -> list[Sample]:
    """Deal trainings to "random", which comes first, and to as many selectors."""
    every = population()
    trainings = rng.permutation(len(every.runs) // HEADS)[: (selectors + 1) * repeats]
    runs = tuple((r, h) for r in range(repeats) for h in range(HEADS))
    found = []
    for mine in trainings.reshape(-1, repeats):
        columns = (HEADS * mine[:, None] + np.arange(HEADS)).ravel()
        found.append(
            Sample(
                every.observed[columns],
                every.drawn[:, columns],
                shares(repeats),
                runs,
                every.units,
            )
        )
    return found


def verdicts(samples: list[Sample]) -> list[str]:
    return [one.verdict for one in compare(dict(enumerate(samples[1:])), samples[0]).values()]


def percentile(samples: list[Sample]) -> list[str]:
    """The rule of old: the percentile interval of each difference by itself, as drawn."""
    found = []
    for sample in samples[1:]:
        difference = combine([sample, samples[0]], [1, -1])
        means = (difference.drawn * difference.weights).sum(axis=1)
        low, high = np.quantile(means, [0.025, 0.975])
        found.append(BETTER if low > 0 else WORSE if high < 0 else ALIKE)
    return found


def false_verdicts(
    rule: Rule, selectors: int, repeats: int, trials: int = TRIALS
) -> tuple[float, float]:
    """The share of families with a false verdict, and of pairs."""
    rng = np.random.default_rng(18)
    found = [rule(deal(rng, selectors, repeats)) for _ in range(trials)]
    wrong = np.array([[verdict in (BETTER, WORSE) for verdict in family] for family in found])
    return float(wrong.any(axis=1).mean()), float(wrong.mean())


@pytest.mark.parametrize(("selectors", "repeats"), [(11, 3), (3, 3), (1, 3), (5, 6)])
def test_useless_selectors_get_verdicts_in_one_family_of_twenty(
    selectors: int, repeats: int
) -> None:
    family, pair = false_verdicts(verdicts, selectors, repeats)
    assert family <= LEVEL + MARGIN
    assert pair <= family


def test_intervals_by_themselves_are_no_narrower_than_they_say() -> None:
    rng = np.random.default_rng(5)
    outside = 0
    for _ in range(TRIALS):
        random, *others = deal(rng, 3, 3)
        for one in compare(dict(enumerate(others)), random).values():
            assert one.all_low <= one.low <= one.difference <= one.high <= one.all_high
            outside += not one.low <= 0 <= one.high
    assert outside / (3 * TRIALS) <= LEVEL + MARGIN


def test_a_rule_that_is_too_narrow_is_caught() -> None:
    once, _ = false_verdicts(percentile, 11, 1, trials=60)
    thrice, _ = false_verdicts(percentile, 11, 3, trials=60)
    assert once > 0.4
    assert thrice > LEVEL + 2 * MARGIN


def test_one_repetition_is_not_judged() -> None:
    rng = np.random.default_rng(7)
    assert {v for _ in range(5) for v in verdicts(deal(rng, 3, 1))} == {NOT_JUDGED}


@pytest.mark.parametrize(("shift", "wanted"), [(4.0, BETTER), (-4.0, WORSE)])
def test_a_planted_shift_is_found(shift: float, wanted: str) -> None:
    # in standard deviations of the trainings
    every = population().observed.reshape(-1, HEADS).mean(axis=1)
    points = shift * float(every.std(ddof=1))
    rng = np.random.default_rng(3)
    found: Counter[str] = Counter()
    for _ in range(60):
        samples = deal(rng, 11, 3)
        samples[4] = samples[4].map(lambda score: score + points)
        found[verdicts(samples)[3]] += 1
    assert found[wanted] >= 0.7 * 60
    assert set(found) <= {wanted, ALIKE}


def test_verdicts_hold_for_other_images(rng: np.random.Generator) -> None:
    # One is good at some images and one at others, on average alike; each time other images
    # are tested, and the repetitions hardly differ: all that is uncertain is in the images.
    wrong = blind = 0
    for trial in range(TRIALS):
        gain = rng.normal(0, 1, 25)
        counts = {}
        for name, sign in (("x", 1), ("random", -1)):
            hit = np.clip(50 + 10 * sign * gain + rng.normal(0, 1, (3, 25)), 0, 100).astype(int)
            cells = [np.full_like(hit, 900), np.zeros_like(hit), 100 - hit, hit]
            counts[name] = np.stack(cells, axis=-1).reshape(3, 25, 2, 2)
        runs = [(0, 0), (1, 0), (2, 0)]
        samples = resample(counts, runs, f"{trial}", draws=300)
        wrong += compare({"x": samples["x"]}, samples["random"])["x"].verdict != ALIKE
        no_images = {n: replace(s, drawn=0 * s.drawn + s.observed) for n, s in samples.items()}
        blind += compare({"x": no_images["x"]}, no_images["random"])["x"].verdict != ALIKE
    assert wrong / TRIALS <= LEVEL + MARGIN
    assert blind / TRIALS > 0.3  # as they would be, were images not drawn

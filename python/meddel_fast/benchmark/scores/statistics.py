"""What a run's scores say: intervals, paired differences, NormDEL over alpha and ratio, ranks.

Works on mIoU samples by selection and data set (`bootstrap.Sample`); NormDEL follows from them run
by run and draw by draw. The row "mean" averages the data sets, run by run. ``docs/benchmark.md``
holds the formulas.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from meddel_fast.benchmark.results import NOTHING, UNTRAINED
from meddel_fast.benchmark.scores.bootstrap import (
    CONFIDENCE,
    DRAWS,
    Floats,
    Sample,
    average,
    combine,
)
from meddel_fast.benchmark.scores.normdel import normdel
from meddel_fast.benchmark.scores.ranks import rank
from meddel_fast.benchmark.scores.verdicts import (
    NOT_JUDGED,
    Comparison,
    cleared,
    compare,
    rule,
)

MEAN = "mean"
FULL, RANDOM = "full", "random"
FLOORS = (UNTRAINED, NOTHING)
"""Keys (floor, 0.0) of a table: an encoder with its first weights, and what predicts no pixel."""
BELOW_FLOOR = "neither clears the floor"
ALL_RATIOS = "all"

Key = tuple[str, float]
"""Selector and ratio."""
Table = Mapping[Key, Mapping[str, Sample]]
"""Selection -> data set -> sample of a score."""
Rows = list[dict[str, Any]]

INTERVAL_COLUMNS = ("miou_low", "miou_high", "normdel_low", "normdel_high")
DIFFERENCE_PARTS = ("difference", "low", "high", "all_low", "all_high")
COLUMNS = {
    "differences": (
        *("selector", "ratio", "dataset", "against", "runs", "comparisons"),
        *(f"{metric}_{part}" for metric in ("miou", "normdel") for part in DIFFERENCE_PARTS),
        *("verdict", "why"),
    ),
    "alphas": (
        *("alpha", "selector", "ratio", "dataset"),
        *("normdel_mean", "normdel_low", "normdel_high", "rank"),
    ),
    "areas": ("alpha", "selector", "dataset", "from", "to", "points", "area", "low", "high"),
    "ranks": (
        *("ratio", "selector", "average_rank", "datasets", "selectors"),
        *("friedman", "p_value", "critical_difference"),
    ),
}


def _selections(table: Table) -> dict[Key, Mapping[str, Sample]]:
    """Leave the floors out."""
    return {key: sets for key, sets in table.items() if key[0] not in FLOORS}


def with_mean(table: Table) -> dict[Key, dict[str, Sample]]:
    """Add the mean of the data sets to each selection."""
    return {key: {**sets, MEAN: average(list(sets.values()))} for key, sets in table.items()}


def normdel_table(table: Table, retained: Mapping[Key, float], alpha: float) -> Table:
    """Turn samples of mIoU, one for each data set, into samples of NormDEL."""

    def score(share: float, miou: Floats) -> Floats:
        return np.asarray(normdel(miou, share, alpha))

    return {
        key: {name: sample.map(partial(score, retained[key])) for name, sample in sets.items()}
        for key, sets in table.items()
    }


def intervals(table: Table, retained: Mapping[Key, float], alpha: float) -> dict[Key, Any]:
    """Give the columns `INTERVAL_COLUMNS` by selection and data set, "mean" included."""
    table = _selections(table)
    quality = with_mean(table)
    score = with_mean(normdel_table(table, retained, alpha))
    return {
        key: {
            name: dict(
                zip(
                    INTERVAL_COLUMNS,
                    (*sample.interval(), *score[key][name].interval()),
                    strict=True,
                )
            )
            for name, sample in sets.items()
        }
        for key, sets in quality.items()
    }


def differences(table: Table, retained: Mapping[Key, float], alpha: float) -> Rows:
    """Compare the selections of each ratio with the floors, with "random" and with all data.

    Those that are compared with the same other at one ratio and on one data set are a family of
    `verdicts.compare`. Against random and all data there is a verdict only where one of the two
    clears every floor that the table has. NormDEL of a floor is that at the ratio's share.
    """
    quality = with_mean(table)
    floors = [floor for floor, _ in table if floor in FLOORS]
    rows = []
    for other, family, alike in families(table, floors):
        share = retained[family[0]]
        shares = {**retained, **{(floor, 0.0): share for floor in floors}}
        metrics = {"miou": quality, "normdel": with_mean(normdel_table(table, shares, alpha))}
        for name in quality[other]:
            pairs = {
                metric: compare(
                    {key: found[key][name] for key in family},
                    found[other][name],
                    alike=[found[key][name] for key in alike],
                )
                for metric, found in metrics.items()
            }
            runs = len(quality[other][name].observed)
            rows += [
                _difference(key, name, other[0], runs, {m: p[key] for m, p in pairs.items()})
                for key in family
            ]
    return judge_above_floors(rows, floors)


def families(
    keys: Collection[Key], floors: Sequence[str]
) -> Iterator[tuple[Key, list[Key], list[Key]]]:
    """List what is compared: with each floor, with "random" and with all data, at each ratio.

    Parameters
    ----------
    keys
        The selections, and the floors at ratio 0.
    floors
        Names of the floors.

    Yields
    ------
    other, family, alike
        What each of the family is compared with, the family, and the selections that are trained
        as these are (see `verdicts.compare`). All data are held against floors alone.
    """
    kept = [key for key in keys if key[0] not in floors]
    for ratio in dict.fromkeys(ratio for _, ratio in kept):
        # with less data repetitions differ rather more than less
        alike = [key for key in kept if key[1] <= ratio]
        for other in (*((floor, 0.0) for floor in floors), (RANDOM, ratio), (FULL, 1.0)):
            family = [
                key
                for key in kept
                if key[1] == ratio and key != other and (key[0] != FULL or other[0] in floors)
            ]
            if other in keys and family:
                yield other, family, alike


def _difference(
    key: Key, name: str, against: str, runs: int, found: Mapping[str, Comparison]
) -> dict[str, Any]:
    """Make a row of `COLUMNS` "differences"; the verdict is that of mIoU."""
    main = found["miou"]
    row: dict[str, Any] = dict(zip(("selector", "ratio"), key, strict=True))
    row |= {"dataset": name, "against": against, "runs": runs, "comparisons": main.comparisons}
    for metric, one in found.items():
        values = one.row()
        row |= {f"{metric}_{part}": values[part] for part in DIFFERENCE_PARTS}
    return row | {"verdict": main.verdict, "why": main.why}


def judge_above_floors(rows: Rows, floors: Sequence[str]) -> Rows:
    """Judge what is compared with random and all data only where one of the two is above floors."""
    above = cleared(rows, floors)
    for row in rows:
        name, against = row["dataset"], row["against"]
        if not floors or against in floors or row["verdict"] == NOT_JUDGED:
            continue
        other = (against, row["ratio"] if against == RANDOM else 1.0, name)
        if not {(row["selector"], row["ratio"], name), other} & above:
            row |= {"verdict": NOT_JUDGED, "why": BELOW_FLOOR}
    return rows


def alpha_sweep(table: Table, retained: Mapping[Key, float], alphas: Iterable[float]) -> Rows:
    """Score every selection with other weights of the retained share, and rank all of them."""
    rows = []
    for alpha in alphas:
        score = with_mean(normdel_table(table, retained, alpha))
        means = {
            name: sorted((sets[name].mean for sets in score.values()), reverse=True)
            for name in next(iter(score.values()))
        }
        for (selector, ratio), sets in score.items():
            for name, sample in sets.items():
                low, high = sample.interval()
                rows.append({
                    "alpha": alpha, "selector": selector, "ratio": ratio, "dataset": name,
                    "normdel_mean": sample.mean, "normdel_low": low, "normdel_high": high,
                    "rank": 1 + means[name].index(sample.mean),
                })  # fmt: skip
    return rows


def areas(table: Table, retained: Mapping[Key, float], alphas: Iterable[float]) -> Rows:
    """Integrate each selector's NormDEL over the retained share, all data being its last point.

    Trapezoids over R from the smallest to the largest share, divided by the width: the mean height
    of the curve, on NormDEL's own scale. Selectors with fewer than two points have none.
    """
    rows = []
    selectors = list(dict.fromkeys(s for s, _ in table if s != FULL))
    for alpha in alphas:
        score = with_mean(normdel_table(table, retained, alpha))
        for selector in selectors:
            keys = [key for key in table if key[0] in (selector, FULL)]
            keys.sort(key=lambda key: retained[key])
            shares = np.array([retained[key] for key in keys])
            if shares[0] == shares[-1]:
                continue
            factors = trapezoid(shares)
            for name in score[keys[0]]:
                sample = combine([score[key][name] for key in keys], factors.tolist())
                low, high = sample.interval()
                rows.append({
                    "alpha": alpha, "selector": selector, "dataset": name,
                    "from": float(shares[0]), "to": float(shares[-1]), "points": len(keys),
                    "area": sample.mean, "low": low, "high": high,
                })  # fmt: skip
    return rows


def trapezoid(places: Floats) -> Floats:
    """Weights (k,) of the trapezoid rule at rising places (k,), that add to 1."""
    steps = np.diff(places)
    weights = np.zeros(len(places))
    weights[:-1] += steps / 2
    weights[1:] += steps / 2
    weights /= places[-1] - places[0]
    return weights


def rank_rows(table: Table) -> Rows:
    """Rank the selectors by mIoU over the data sets: at each ratio, and by the mean of all ratios.

    Only selectors that have every ratio take part in the mean; all data, which is no selector,
    does not.
    """
    ratios = sorted({ratio for selector, ratio in table if selector != FULL}, reverse=True)
    chosen = {ratio: [s for s, r in table if r == ratio and s != FULL] for ratio in ratios}
    asked: list[tuple[Any, list[str], list[float]]] = [(r, chosen[r], [r]) for r in ratios]
    if len(ratios) > 1:
        first, *others = chosen.values()
        complete = [s for s in first if all(s in other for other in others)]
        asked.append((ALL_RATIOS, complete, ratios))
    rows = []
    for label, selectors, used in asked:
        if len(selectors) < 2:
            continue
        names = list(table[selectors[0], used[0]])
        scores = [
            [np.mean([table[s, r][name].mean for r in used]) for s in selectors] for name in names
        ]
        found = rank(scores)
        for selector, average_rank in zip(selectors, found.ranks, strict=True):
            rows.append({
                "ratio": label, "selector": selector, "average_rank": float(average_rank),
                "datasets": found.datasets, "selectors": len(selectors),
                "friedman": found.friedman, "p_value": found.p_value,
                "critical_difference": found.critical_difference,
            })  # fmt: skip
    return rows


def all_statistics(
    table: Table, retained: Mapping[Key, float], alpha: float, alphas: Sequence[float]
) -> dict[str, Any]:
    """Give the tables of `COLUMNS` by name, and what the intervals are.

    Parameters
    ----------
    table
        Samples of mIoU: selection -> data set, without a mean. The runs of all samples are the
        same ones in the same order. With the `FLOORS`, where they are known.
    retained
        Selection -> share of the pool that was truly kept.
    alpha
        NormDEL's weight, of the differences.
    alphas
        Weights of the sweep and the areas.
    """
    judged = differences(table, retained, alpha)
    runs = next(iter(next(iter(table.values())).values())).runs
    table = _selections(table)
    return {
        "confidence": CONFIDENCE,
        "draws": DRAWS,
        "rule": rule(runs),
        "differences": judged,
        "alphas": alpha_sweep(table, retained, alphas),
        "areas": areas(table, retained, alphas),
        "ranks": rank_rows(table),
    }

"""What a run's scores say: intervals, paired differences, NormDEL over alpha and ratio, ranks.

Works on mIoU samples by selection and data set (`bootstrap.Sample`); NormDEL follows from them run
by run and draw by draw. The row "mean" averages the data sets, run by run. ``docs/benchmark.md``
holds the formulas.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

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

MEAN = "mean"
FULL, RANDOM = "full", "random"
ALL_RATIOS = "all"

Key = tuple[str, float]
"""Selector and ratio."""
Table = Mapping[Key, Mapping[str, Sample]]
"""Selection -> data set -> sample of a score."""
Rows = list[dict[str, Any]]

INTERVAL_COLUMNS = ("miou_low", "miou_high", "normdel_low", "normdel_high")
COLUMNS = {
    "differences": (
        *("selector", "ratio", "dataset", "against", "runs"),
        *("miou_difference", "miou_low", "miou_high"),
        *("normdel_difference", "normdel_low", "normdel_high"),
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
    """Compare each selection with "random" at its ratio and with all data, run by run."""
    quality = with_mean(table)
    score = with_mean(normdel_table(table, retained, alpha))
    rows = []
    for (selector, ratio), sets in quality.items():
        for other in ((RANDOM, ratio), (FULL, 1.0)):
            if other not in quality or selector in (FULL, other[0]):
                continue
            for name in sets:
                row: dict[str, Any] = {"selector": selector, "ratio": ratio, "dataset": name}
                row |= {"against": other[0], "runs": len(sets[name].observed)}
                for metric, found in (("miou", quality), ("normdel", score)):
                    pair = (found[selector, ratio][name], found[other][name])
                    sample = combine(pair, (1.0, -1.0))
                    low, high = sample.interval()
                    row |= {f"{metric}_difference": sample.mean}
                    row |= {f"{metric}_low": low, f"{metric}_high": high}
                rows.append(row)
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
        same ones in the same order.
    retained
        Selection -> share of the pool that was truly kept.
    alpha
        NormDEL's weight, of the differences.
    alphas
        Weights of the sweep and the areas.
    """
    return {
        "confidence": CONFIDENCE,
        "draws": DRAWS,
        "differences": differences(table, retained, alpha),
        "alphas": alpha_sweep(table, retained, alphas),
        "areas": areas(table, retained, alphas),
        "ranks": rank_rows(table),
    }

"""The floors of a run: what an encoder is worth that learned nothing, and a mask that is empty.

A selection says something only where it is better than both. The untrained encoders have the
architecture of the pre-trained ones; that of repetition r has the very weights from which the
pre-training of repetition r starts, and heads of the same seeds, so that runs are paired. What
"nothing" scores follows from the truths: it predicts no pixel, in every run the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.benchmark.results import NOTHING, UNTRAINED
from meddel_fast.benchmark.scores.normdel import normdel
from meddel_fast.benchmark.scores.score import METRICS, as_csv, values_of
from meddel_fast.benchmark.scores.statistics import MEAN, Key, Table, with_mean
from meddel_fast.benchmark.scores.verdicts import BETTER, NOT_JUDGED
from meddel_fast.common.atomic import write_json, write_text

KEYS: tuple[Key, Key] = ((UNTRAINED, 0.0), (NOTHING, 0.0))
"""Their keys in a table of samples."""

TITLES = {UNTRAINED: "untrained encoder", NOTHING: "nothing segmented"}

Rows = Sequence[Mapping[str, Any]]


def nothing_of(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give the counts of predicting no pixel of the same truths, int64 (..., truth, prediction)."""
    found = np.zeros_like(counts)
    found[..., 0] = counts.sum(axis=-1)
    return found


def floor_rows(
    table: Table,
    results: Mapping[str, Sequence[Mapping[str, Any]]],
    empty: Mapping[str, Mapping[str, Any]],
    shares: Mapping[float, float],
    alpha: float,
) -> list[dict[str, Any]]:
    """Make the rows of both floors: one for each data set, then one named "mean".

    Parameters
    ----------
    table
        Samples of mIoU, those of `KEYS` among them.
    results
        Data set -> the results of the untrained encoders, run by run; empty where there are none.
    empty
        Data set -> the result of predicting no pixel.
    shares
        Ratio -> share of the pool that was truly kept at it.
    alpha
        NormDEL's weight.

    Returns
    -------
    list of dict
        "floor", "dataset", "runs", "miou_mean", "miou_low", "miou_high" (95 % interval), and the
        means of the other `METRICS`, as fractions. "normdel_low_end" gives, for each ratio, the
        NormDEL of "nothing" at the share kept: the end of its scale that means no success at all.
    """
    spans = with_mean({key: table[key] for key in KEYS if key in table})
    lowest = {
        name: {ratio: normdel(one["miou"], share, alpha) for ratio, share in shares.items()}
        for name, one in empty.items()
    }
    lowest[MEAN] = {r: float(np.mean([one[r] for one in lowest.values()])) for r in shares}
    values = {}
    if results:
        values[UNTRAINED] = {
            name: np.mean([values_of(run) for run in runs], axis=0)
            for name, runs in results.items()
        }
    values[NOTHING] = {name: np.array(values_of(one)) for name, one in empty.items()}
    rows = []
    for floor, sets in values.items():
        for name, means in [*sets.items(), (MEAN, np.mean(list(sets.values()), axis=0))]:
            sample = spans[floor, 0.0][name]
            low, high = sample.interval()
            scores = dict(zip(METRICS, means.tolist(), strict=True))
            row = {"floor": floor, "dataset": name, "runs": len(sample.observed)}
            row |= {"miou_mean": scores.pop("miou"), "miou_low": low, "miou_high": high}
            row |= {f"{metric}_mean": value for metric, value in scores.items()}
            rows.append(row | {"normdel_low_end": {str(r): v for r, v in lowest[name].items()}})
    return rows


def write_floors(folder: Path, rows: Rows) -> None:
    """Write ``floors.json`` and ``floors.csv``, which has a column for each ratio's low end."""
    write_json(folder / "floors.json", rows)
    flat = []
    for row in rows:
        ends = {f"normdel_low_end_{ratio}": v for ratio, v in row["normdel_low_end"].items()}
        flat.append({k: v for k, v in row.items() if k != "normdel_low_end"} | ends)
    write_text(folder / "floors.csv", as_csv(list(flat[0]), flat))


# What is said of them


def told(floors: Rows, differences: Rows, metric: str = "miou") -> list[str]:
    """Say in lines what the floors come to, and which selections do not clear them.

    Parameters
    ----------
    floors
        Rows of ``score/floors.json``; without any there is nothing to say.
    differences
        Those of ``score/statistics.json``.
    metric
        One of `METRICS`.
    """
    if not floors:
        return []
    lines = []
    names = list(dict.fromkeys(str(row["dataset"]) for row in floors))
    shown = names if len(names) > 2 else names[:1]  # one set is its own mean
    for floor, title in TITLES.items():
        rows = {row["dataset"]: row for row in floors if row["floor"] == floor}
        cells = [f"{name} {100 * rows[name][f'{metric}_mean']:.2f}" for name in shown if rows]
        lines += [f"Floor, {title}: {', '.join(cells)}"] if cells else []
    return lines + [f"{name}: {_cleared(differences, name)}" for name in shown]


def _cleared(differences: Rows, dataset: str) -> str:
    """Say which selections are not better than each floor on a data set."""
    held = [r for r in differences if r["dataset"] == dataset and r["against"] in TITLES]
    if not held:
        return "no selection was held against the floors."
    if all(row["verdict"] == NOT_JUDGED for row in held):
        return f"not judged whether a selection clears the floors ({held[0]['why']})."
    missed: dict[Key, list[str]] = {}
    for row in held:
        if row["verdict"] != BETTER:
            missed.setdefault((row["selector"], row["ratio"]), []).append(row["against"])
    if not missed:
        return "every selection clears the floors."
    alike: dict[tuple[str, str], list[str]] = {}
    for (selector, ratio), floors in missed.items():
        alike.setdefault((selector, " and ".join(floors)), []).append(f"{100 * ratio:g}")
    named = [f"{s} at {', '.join(ratios)} % ({floors})" for (s, floors), ratios in alike.items()]
    return f"not shown to be better than a floor: {'; '.join(named)}."

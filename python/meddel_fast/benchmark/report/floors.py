"""The floors: an encoder that was never trained, and predicting nothing. Where a run clears them.

A difference between two selections says little where neither of them is better than these.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from meddel_fast.benchmark.report.figures import NOTHING_STYLE, UNTRAINED_STYLE, Point, Series
from meddel_fast.benchmark.report.load import Run
from meddel_fast.benchmark.report.measures import Group, Key, Measure
from meddel_fast.benchmark.report.text import data_sets, listed, percent, where
from meddel_fast.benchmark.results import NOTHING, UNTRAINED
from meddel_fast.benchmark.scores.floors import TITLES
from meddel_fast.benchmark.scores.normdel import normdel
from meddel_fast.benchmark.scores.statistics import MEAN

STYLES = {UNTRAINED: UNTRAINED_STYLE, NOTHING: NOTHING_STYLE}

Row = dict[str, Any]


def found(run: Run, dataset: str) -> dict[str, Row]:
    """Give the floors of a data set, or of the mean of all."""
    rows = {str(r["floor"]): r for r in run.floors if r["dataset"] == dataset}
    return {floor: rows[floor] for floor in TITLES if floor in rows}


def clause(measure: Measure, best: Key | None) -> str:
    """Say in the part of a sentence where the floors are cleared: by `best`, or by how many."""
    groups = [group for group in measure.groups if group.floors]
    if not groups:
        return "no floor was measured"
    told = {g.name: g.cleared if best is None else g.clears(best) for g in groups}
    low, high = ([n for n, clear in told.items() if clear is c] for c in (False, True))
    if low:
        return f"this run does not clear the floors on {listed(low)}" + (" with it" if best else "")
    if high:
        if best is None:
            high = [group.name + _but_few(group) for group in groups if told[group.name]]
        return f"the floors are cleared on {listed(high)}" + (" by it" if best else "")
    return "whether the floors are cleared is not judged"


def _but_few(group: Group) -> str:
    """Say how many selections clear a group's floors, unless all do."""
    clear = _cleared(group)
    few = clear.count(True) < len(clear)
    return f" (by {clear.count(True)} of {len(clear)} selections)" if few else ""


def _cleared(group: Group) -> list[bool | None]:
    keys = {d.key for d in group.differences if d.against in group.floors}
    return [group.clears(key) for key in keys]


def sentences(measure: Measure) -> list[str]:
    """Say of each group how many of its selections clear the floors, and where none does."""
    told = []
    for group in measure.groups:
        clear = _cleared(group)
        if not clear:
            continue
        floor = listed(group.floors) if measure.probe else listed([TITLES[f] for f in group.floors])
        if None in clear:
            told.append(f"{group.name}: whether a selection clears the floors is not judged.")
        elif True in clear:
            told.append(
                f"{group.name}: {clear.count(True)} of {len(clear)} selections "
                f"{'clears' if clear.count(True) == 1 else 'clear'} the floors ({floor})."
            )
        else:
            told.append(
                f"{group.name}: this run does not clear the floors ({floor}): "
                f"none of {len(clear)} selections is better than each of them."
            )
    return told


def low_ends(run: Run) -> list[str]:
    """Say of each data set what NormDEL is of predicting nothing: the lower end of its axis."""
    told = []
    names = data_sets(run.floors)
    for row in (row for row in run.floors if row["dataset"] in names):
        ends = row.get("normdel_low_end") or {}
        if row["floor"] == NOTHING and ends:
            by_share = sorted(((float(r), float(v)) for r, v in ends.items()), reverse=True)
            each = [f"{100 * value:.2f} at {percent(ratio)}" for ratio, value in by_share]
            told.append(f"{where(str(row['dataset']))}: {listed(each)}.")
    return told


def lines(
    run: Run, dataset: str, metric: str, shares: Sequence[tuple[float, float]]
) -> list[Series]:
    """Give the floors as lines over the shares of a chart: pairs of ratio and share retained."""
    series = []
    for floor, row in found(run, dataset).items():
        points = []
        for ratio, retained in sorted(shares):
            value = _at(run, row, floor, dataset, metric, retained)
            if value is not None:
                points.append(Point(ratio, 100 * value, 0.0, ""))
        if points:
            series.append(Series(TITLES[floor], STYLES[floor], points, line_only=True))
    return series


def _at(run: Run, row: Row, floor: str, dataset: str, metric: str, retained: float) -> float | None:
    if metric != "normdel":
        value = row.get(f"{metric}_mean")
        return None if value is None else float(value)
    sets = [row]
    if dataset == MEAN:  # NormDEL is averaged after it is computed
        sets = [r for r in run.floors if r["floor"] == floor and r["dataset"] != MEAN]
    scores = [float(normdel(float(r["miou_mean"]), retained, run.alpha)) for r in sets]
    return sum(scores) / len(scores)


def legend(run: Run) -> list[tuple[str, int]]:
    """List the floors there are, with their styles."""
    there = {str(row["floor"]) for row in run.floors}
    return [(TITLES[floor], STYLES[floor]) for floor in TITLES if floor in there]

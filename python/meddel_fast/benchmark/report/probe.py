"""The probe's section: what is learnt from the selected samples alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meddel_fast.benchmark.report import floors
from meddel_fast.benchmark.report.answer import runs
from meddel_fast.benchmark.report.figures import (
    NOTHING_STYLE,
    Axis,
    Chart,
    Point,
    Series,
    chart,
    style_of,
)
from meddel_fast.benchmark.report.load import Run
from meddel_fast.benchmark.report.measures import Group, Key, Measure, probing
from meddel_fast.benchmark.report.picture import Picture, picture
from meddel_fast.benchmark.report.tables import DOWN, NOTHING, UP, Cell, Head, Row, Table, share
from meddel_fast.benchmark.report.text import counted, number, percent, signed, span
from meddel_fast.benchmark.scores.statistics import FULL, RANDOM


def probe(run: Run) -> dict[str, Any] | None:
    """Give the probe's pictures, sentences and tables; None where it did not run."""
    measure = probing(run)
    if measure is None:
        return None
    return {
        "draws": runs(measure),
        "about": [_about(row) for row in run.probe.get("data", [])],
        "floors": floors.sentences(measure),
        "pictures": [one for group in measure.groups for one in _pictures(run, measure, group)],
        "curves": [_curve(run, group) for group in measure.groups],
        "tables": [_table(run, group) for group in (*measure.groups, *measure.beside)],
    }


def _about(row: Mapping[str, Any]) -> str:
    """Say how much is learnt from and asked about."""
    text = f"{row['dataset']}: {row['task']}"
    if "classes" in row:
        text += f" of {counted(int(row['classes']), 'class', 'classes')}"
    asked = "held out of the pool" if row["test"] == "held out" else "of the test split"
    text += f", chosen from {number(int(row['pool']))} samples, asked about "
    return f"{text}{number(round(row['tested']))} {asked}, in {counted(int(row['draws']), 'draw')}."


def _pictures(run: Run, measure: Measure, group: Group) -> list[Picture]:
    laid_out = [picture(run, measure, group, ratio) for ratio in measure.ratios]
    return [one for one in laid_out if one is not None]


def _curve(run: Run, group: Group) -> Chart:
    """Plot the scores of a group against the share kept, its floors as lines."""
    kept = _selections(group)
    ratios = sorted({ratio for _, ratio in kept})
    axis = Axis("share of the data kept", True, [(r, percent(r)) for r in ratios])

    def point(key: Key, shared: bool = False) -> Point:
        mean, (low, high) = 100 * group.scores[key], _percents(group, key)
        tip = f"{key[0]}, {percent(key[1])} kept: {group.metric} {mean:.2f} [{low:.2f}, {high:.2f}]"
        return Point(key[1], mean, 0.0, tip, shared, (low, high))

    whole, series = (FULL, 1.0), []
    for selector in dict.fromkeys(s for s, _ in kept if s != FULL):
        points = [point(key) for key in sorted(kept, key=lambda k: k[1]) if key[0] == selector]
        points += [point(whole, shared=True)] if whole in kept else []
        series.append(Series(selector, style_of(selector, run.selectors), points))
    if whole in kept:
        series.append(Series(FULL, 0, [point(whole)]))
    spoken = [p.tip for one in series for p in one.points if not p.shared]
    for name in group.floors:
        value = 100 * group.scores[name, 0.0]
        line = [Point(ratio, value, 0.0, "") for ratio in ratios]
        series.append(Series(name, NOTHING_STYLE, line, line_only=True))
        spoken.append(f"{name} {value:.2f}")
    full = 100 * group.scores[whole] if whole in kept else None
    text = f"{group.metric} of {group.name}, per cent. {'; '.join(spoken)}"
    return chart(f"{group.name}: {group.metric}", text, series, axis, full)


def _selections(group: Group) -> list[Key]:
    """List the selections, all data first, without the floors."""
    kept = [key for key in group.scores if key[0] not in group.floors]
    return sorted(kept, key=lambda key: (key[0] != FULL, -key[1]))


def _percents(group: Group, key: Key) -> tuple[float, float]:
    low, high = group.ends[key]
    return 100 * low, 100 * high


def _table(run: Run, group: Group) -> Table:
    heads = [Head("Selector", UP), Head("Kept", UP), Head(group.metric, DOWN)]
    heads += [Head("Against random", DOWN, "at once"), Head("Verdict", UP)]
    heads += [Head("Against all data", DOWN, "at once"), Head("Verdict", UP)]
    lines, previous = [], -1.0
    for floor in group.floors:
        value = group.scores[floor, 0.0]
        cells = [NOTHING, Cell(f"{100 * value:.2f}", value), *[NOTHING] * 4]
        lines.append(Row(floor, cells, NOTHING_STYLE))
    for key in _selections(group):
        mean, (low, high) = group.scores[key], _percents(group, key)
        cells = [
            share(key[1])._replace(small=number(group.kept[key])),
            Cell(f"{100 * mean:.2f}", mean, f"[{low:.2f}, {high:.2f}]", key in group.better),
            *_compared(group, key, RANDOM),
            *_compared(group, key, FULL),
        ]
        lines.append(Row(key[0], cells, style_of(key[0], run.selectors), key[1] != previous))
        previous = key[1]
    return Table(f"{group.name}: {group.metric}", heads, lines, "probed")


def _compared(group: Group, key: Key, against: str) -> list[Cell]:
    d = group.of(key, against)
    if d is None:
        return [NOTHING, NOTHING]
    return [Cell(signed(d.mean), d.mean, span(d.low, d.high)), Cell(d.verdict, None, d.why)]

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
from meddel_fast.benchmark.report.load import FULL, Run
from meddel_fast.benchmark.report.measures import RANDOM, Group, Key, Measure, probing
from meddel_fast.benchmark.report.picture import Picture, picture
from meddel_fast.benchmark.report.tables import DOWN, NOTHING, UP, Cell, Head, Row, Table, share
from meddel_fast.benchmark.report.text import number, percent, signed, span


def probe(run: Run) -> dict[str, Any] | None:
    """Give the probe's pictures, sentences and tables; None where it did not run."""
    measure = probing(run)
    if measure is None:
        return None
    rows: dict[str, dict[Key, Mapping[str, Any]]] = {}
    for row in run.probe["rows"]:
        key = (str(row["selector"]), float(row["ratio"]))
        rows.setdefault("\n".join(_names(row)), {})[key] = row
    found = list(zip(measure.groups, rows.values(), strict=True))
    return {
        "draws": runs(measure),
        "groups": len(found),
        "floors": floors.sentences(measure),
        "pictures": [one for group in measure.groups for one in _pictures(run, measure, group)],
        "curves": [_curve(run, group, scored) for group, scored in found],
        "tables": [_table(run, group, scored) for group, scored in found],
    }


def _names(row: Mapping[str, Any]) -> list[str]:
    return [str(row[name]) for name in ("probe", "task", "dataset", "metric")]


def _pictures(run: Run, measure: Measure, group: Group) -> list[Picture]:
    laid_out = [picture(run, measure, group, ratio) for ratio in measure.ratios]
    return [one for one in laid_out if one is not None]


def _curve(run: Run, group: Group, rows: Mapping[Key, Mapping[str, Any]]) -> Chart:
    """Plot the scores of a group against the share kept, its floors as lines."""
    kept = {key: row for key, row in rows.items() if key[0] not in group.floors}
    ratios = sorted({ratio for _, ratio in kept})
    axis = Axis("share of the data kept", True, [(r, percent(r)) for r in ratios])

    def point(key: Key, shared: bool = False) -> Point:
        row = kept[key]
        mean, low, high = (100 * float(row[name]) for name in ("mean", "low", "high"))
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
    for name, value in _floors(group, rows).items():
        line = [Point(ratio, 100 * value, 0.0, "") for ratio in ratios]
        series.append(Series(name, NOTHING_STYLE, line, line_only=True))
        spoken.append(f"{name} {100 * value:.2f}")
    full = 100 * float(kept[whole]["mean"]) if whole in kept else None
    text = f"{group.metric} of {group.name}, per cent. {'; '.join(spoken)}"
    return chart(f"{group.name}: {group.metric}", text, series, axis, full)


def _floors(group: Group, rows: Mapping[Key, Mapping[str, Any]]) -> dict[str, float]:
    """Give the score of each floor: its own row's, or random's less the difference."""
    given = {key[0]: float(row["mean"]) for key, row in rows.items() if key[0] in group.floors}
    for d in group.differences:
        if d.against in group.floors and d.against not in given and d.key in group.scores:
            given[d.against] = group.scores[d.key] - d.mean
    return given


def _table(run: Run, group: Group, rows: Mapping[Key, Mapping[str, Any]]) -> Table:
    heads = [Head("Selector", UP), Head("Kept", UP), Head(group.metric, DOWN)]
    heads += [Head("Against random", DOWN, "at once"), Head("Verdict", UP)]
    heads += [Head("Against all data", DOWN, "at once"), Head("Verdict", UP)]
    lines, previous = [], -1.0
    for floor, value in _floors(group, rows).items():
        cells = [NOTHING, Cell(f"{100 * value:.2f}", value), *[NOTHING] * 4]
        lines.append(Row(floor, cells, NOTHING_STYLE))
    kept = [key for key in rows if key[0] not in group.floors]
    for key in sorted(kept, key=lambda k: (k[0] != FULL, -k[1])):
        row = rows[key]
        mean = float(row["mean"])
        ends = f"[{100 * float(row['low']):.2f}, {100 * float(row['high']):.2f}]"
        cells = [share(key[1])._replace(small=number(int(row["kept"])))]
        cells += [Cell(f"{100 * mean:.2f}", mean, ends)]
        cells += _compared(group, key, RANDOM) + _compared(group, key, FULL)
        lines.append(Row(key[0], cells, style_of(key[0], run.selectors), key[1] != previous))
        previous = key[1]
    return Table(f"{group.name}: {group.metric}", heads, lines)


def _compared(group: Group, key: Key, against: str) -> list[Cell]:
    d = group.of(key, against)
    if d is None:
        return [NOTHING, NOTHING]
    strong = against == RANDOM and key in group.better
    return [Cell(signed(d.mean), d.mean, span(d.low, d.high)), Cell(d.verdict, None, d.why, strong)]

"""The first screen's picture: selections with their intervals against random, floors drawn in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from meddel_fast.benchmark.report import floors
from meddel_fast.benchmark.report.figures import (
    NOTHING_STYLE,
    Mark,
    Scale,
    looks,
    marker,
    round_marks,
    style_of,
)
from meddel_fast.benchmark.report.load import Run
from meddel_fast.benchmark.report.measures import Difference, Group, Measure
from meddel_fast.benchmark.report.text import percent, signed, span
from meddel_fast.benchmark.scores.floors import TITLES
from meddel_fast.benchmark.scores.statistics import FULL, MEAN, RANDOM

WIDTH, LEFT, RIGHT = 600.0, 128.0, 110.0
TOP, STEP, BOTTOM = 58.0, 30.0, 40.0
_LONGEST = 20  # letters of a name beside the plot
_STRETCH = 0.5  # how far beyond the intervals, of their width, a floor still has its line


class Item(NamedTuple):
    """A selection in its place: pixels of its mark and of the ends of its interval."""

    name: str
    mark: Mark
    left: float
    right: float
    verdict: str
    tip: str


class FloorLine(NamedTuple):
    """A floor's line; one too far away for the picture has an arrow at its edge in its place."""

    colour: int
    x: float
    y: float
    text: str
    beyond: bool
    anchor: str


class Picture(NamedTuple):
    """The picture laid out, in pixels."""

    title: str
    description: str
    size: tuple[float, float]
    frame: tuple[float, float, float, float]  # left, right, top, floor
    ticks: Sequence[tuple[float, str]]
    label: str
    zero: float
    items: Sequence[Item]
    floors: Sequence[FloorLine]


def picture(run: Run, measure: Measure, group: Group, ratio: float) -> Picture | None:
    """Lay out a group's selections at one share; None where nothing is compared with random."""
    shown = [d for d in group.judged() if d.key[1] == ratio]
    if not shown:
        return None
    whole = group.of((RANDOM, ratio), FULL)
    bars = [(d.key[0], d.mean, _ends(d), d.verdict) for d in shown]
    if whole is not None:  # turned round: all data against random
        low, high = _ends(whole)
        turned = {"better": "worse", "worse": "better"}.get(whole.verdict, whole.verdict)
        bars.append((FULL, -whole.mean, (-high, -low), turned))
    low = min(0.0, *(ends[0] for _, _, ends, _ in bars))
    high = max(0.0, *(ends[1] for _, _, ends, _ in bars))
    found = _floors(run, measure, group, ratio)
    reach = _STRETCH * (high - low)
    near = [value for _, _, value in found if low - reach <= value <= high + reach]
    low, high = min(low, *near, math.inf), max(high, *near, -math.inf)
    margin = 0.06 * (high - low) or 0.01
    low, high = low - margin, high + margin
    height = TOP + STEP * len(bars) + BOTTOM
    scale = Scale(low, high, LEFT, WIDTH - RIGHT)
    items = []
    for place, (name, mean, (start, end), verdict) in enumerate(bars):
        y = TOP + STEP * (place + 0.5)
        tip = f"{_title(name)}: {signed(mean)} {span(start, end)}, {verdict}"
        mark = marker(style_of(name, run.selectors), scale(mean), y)
        items.append(Item(_short(_title(name)), mark, scale(start), scale(end), verdict, tip))
    title = f"{percent(ratio)} kept, against random: {_where(group)}"
    told = [f"{name} {signed(value)}" for name, _, value in found]
    spoken = "; ".join([*(item.tip for item in items), *told])
    return Picture(
        title=title,
        description=f"{title}, points of {group.metric}. {spoken}",
        size=(WIDTH, height),
        frame=(LEFT, WIDTH - RIGHT, TOP, height - BOTTOM),
        ticks=[
            (scale(value / 100), text.replace("-", "\u2212"))
            for value, text in round_marks(100 * low, 100 * high, 5)
        ],
        label=f"points of {group.metric} above random",
        zero=scale(0.0),
        items=items,
        floors=_lines(found, scale, low, high),
    )


def _ends(d: Difference) -> tuple[float, float]:
    return (d.mean if d.low is None else d.low, d.mean if d.high is None else d.high)


def _where(group: Group) -> str:
    return "mean of the data sets" if group.name == MEAN else group.name


def _title(name: str) -> str:
    return "all data" if name == FULL else name


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "\u2026"


def _floors(run: Run, measure: Measure, group: Group, ratio: float) -> list[tuple[str, int, float]]:
    """Give name, style, and distance from random of each floor."""
    chance = group.scores.get((RANDOM, ratio))
    if chance is None:
        return []
    if not measure.probe:
        rows = floors.found(run, group.name)
        return [
            (TITLES[name], floors.STYLES[name], float(row["miou_mean"]) - chance)
            for name, row in rows.items()
        ]
    given = [d for d in group.differences if d.key == (RANDOM, ratio) and d.against in group.floors]
    return [(d.against, NOTHING_STYLE, -d.mean) for d in given]


def _lines(
    found: Sequence[tuple[str, int, float]], scale: Scale, low: float, high: float
) -> list[FloorLine]:
    lines = []
    # those beyond the edge first: the line of another would run through what is written below it
    placed = sorted(found, key=lambda floor: low <= floor[2] <= high)
    for place, (name, style, value) in enumerate(placed):
        x = scale(min(max(value, low), high))
        beyond = not low <= value <= high
        arrow = "" if not beyond else "\u2190 " if value < low else "\u2192 "
        anchor = "start" if x < (LEFT + WIDTH - RIGHT) / 2 else "end"
        text = f"{arrow}{name} {signed(value)}"
        lines.append(FloorLine(looks(style)[0], x, 34.0 + 14 * place, text, beyond, anchor))
    return lines

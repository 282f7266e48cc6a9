"""Line charts: where all of a chart's parts lie, which ``templates/charts.html.j2`` draws as SVG.

Drawn by us so that they follow the page's colours, print sharp, and need no script; see
docs/handed-over.md for what libraries would give.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

WIDTH, HEIGHT = 420.0, 290.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 16.0, 34.0, 42.0
_DODGE = 5.0  # pixels between the error bars of neighbouring series

# Colours (page.css) and shapes go together, so that no reader depends on the colour alone.
_SHAPES = ("circle", "square", "triangle", "diamond", "wedge", "plus", "cross")
_STYLES = {"full": 0, "random": 1, "kcenter": 2, "meddel": 3, "semdedup": 4, "prototypes": 5}
_COLOURS = 8  # of page.css, beside the black of "full"
UNTRAINED_STYLE, NOTHING_STYLE = -1, -2  # floors: lines without marks


@dataclass(frozen=True)
class Point:
    """A value with the half-length of its error bar, or the bar's `ends`, and what to say about it.

    A `shared` point ends the lines of several series, and one of them alone marks it.
    """

    x: float
    y: float
    error: float
    tip: str
    shared: bool = False
    ends: tuple[float, float] | None = None

    @property
    def bar(self) -> tuple[float, float]:
        """Lower and upper end of the error bar."""
        return self.ends or (self.y - self.error, self.y + self.error)


@dataclass(frozen=True)
class Series:
    """Points of one selector, by rising x; `style` is a number of :func:`style_of`."""

    name: str
    style: int
    points: list[Point]
    line_only: bool = False


@dataclass(frozen=True)
class Axis:
    """The x axis: its title, whether it is logarithmic, and where it has marks."""

    title: str
    log: bool
    marks: list[tuple[float, str]]


def style_of(selector: str, selectors: Sequence[str]) -> int:
    """Return the number of a selector's colour and shape; the same in every report if known."""
    if selector in _STYLES:
        return _STYLES[selector]
    others = [name for name in selectors if name not in _STYLES]
    return len(_STYLES) + others.index(selector)


def looks(style: int) -> tuple[int, str]:
    """Return a style's colour and shape; no two of the first 56 have both in common."""
    if style < 0:
        return _COLOURS - style, "circle"
    if style == 0:
        return 0, "diamond"
    turn, colour = divmod(style - 1, _COLOURS)
    return 1 + colour, _SHAPES[(style - 1 + turn) % len(_SHAPES)]


class Mark(NamedTuple):
    """A selector's mark: a polygon's corners, or without them a circle."""

    colour: int
    x: float
    y: float
    size: float
    corners: Sequence[tuple[float, float]]


def marker(style: int, x: float, y: float, size: float = 4.5) -> Mark:
    """Lay out the mark of a style at a place."""
    colour, shape = looks(style)
    s = size
    outlines = {
        "circle": (),
        "square": ((-s, -s), (s, -s), (s, s), (-s, s)),
        "triangle": ((0, -1.2 * s), (1.15 * s, 0.9 * s), (-1.15 * s, 0.9 * s)),
        "wedge": ((0, 1.2 * s), (1.15 * s, -0.9 * s), (-1.15 * s, -0.9 * s)),
        "diamond": ((0, -1.3 * s), (1.3 * s, 0), (0, 1.3 * s), (-1.3 * s, 0)),
        "plus": _plus(s),
        "cross": tuple((0.7 * (a - b), 0.7 * (a + b)) for a, b in _plus(s)),
    }
    return Mark(colour, x, y, s, [(x + a, y + b) for a, b in outlines[shape]])


def _plus(s: float) -> tuple[tuple[float, float], ...]:
    a, b = 1.25 * s, 0.42 * s
    return (
        (-b, -a), (b, -a), (b, -b), (a, -b), (a, b), (b, b),
        (b, a), (-b, a), (-b, b), (-a, b), (-a, -b), (-b, -b),
    )  # fmt: skip


class Spot(NamedTuple):
    """A point in its place: the mark, what it says, and upper and lower end of its error bar."""

    mark: Mark
    tip: str
    top: float
    bottom: float


class Line(NamedTuple):
    """A series in its place: the corners of its line, and the points that have marks."""

    style: int
    colour: int
    path: Sequence[tuple[float, float]]
    spots: Sequence[Spot]


class Chart(NamedTuple):
    """A chart laid out: all numbers are pixels, ticks and marks have their text beside them."""

    title: str
    description: str
    size: tuple[float, float]
    frame: tuple[float, float, float]  # left, right, floor
    grid: Sequence[tuple[float, str]]
    ticks: Sequence[tuple[float, str]]
    label: str
    reference: float | None
    lines: Sequence[Line]


def chart(
    title: str, description: str, series: Sequence[Series], axis: Axis, reference: float | None
) -> Chart:
    """Lay out a chart.

    Parameters
    ----------
    title
        Shown above the plot.
    description
        What a screen reader says of it.
    series
        Drawn in order.
    axis
        The x axis.
    reference
        A y value to draw a dashed line at; None for none.
    """
    low, high, marks = _y_range(series, reference)
    scale_x = Scale(axis.marks[0][0], axis.marks[-1][0], LEFT + 16, WIDTH - RIGHT - 8, axis.log)
    scale_y = Scale(low, high, HEIGHT - BOTTOM, TOP)
    beside = [one for one in series if one.style != 0 and not one.line_only]
    lines = []
    for one in series:
        place = beside.index(one) - (len(beside) - 1) / 2 if one in beside else 0.0
        lines.append(_line(one, scale_x, scale_y, place * _DODGE))
    return Chart(
        title=title,
        description=description,
        size=(WIDTH, HEIGHT),
        frame=(LEFT, WIDTH - RIGHT, HEIGHT - BOTTOM),
        grid=[(scale_y(value), text) for value, text in marks],
        ticks=[(scale_x(value), text) for value, text in axis.marks],
        label=axis.title,
        reference=None if reference is None else scale_y(reference),
        lines=lines,
    )


def _line(one: Series, scale_x: Scale, scale_y: Scale, dodge: float) -> Line:
    path = [(scale_x(p.x) + (0.0 if p.shared else dodge), scale_y(p.y)) for p in one.points]
    spots = []
    for (x, y), point in zip(path, one.points, strict=True):
        if not (point.shared or one.line_only):
            bottom, top = map(scale_y, point.bar)
            spots.append(Spot(marker(one.style, x, y), point.tip, top, bottom))
    return Line(one.style, looks(one.style)[0], path, spots)


class Scale:
    """A map from values to pixels."""

    def __init__(
        self, low: float, high: float, first: float, last: float, log: bool = False
    ) -> None:
        self._log = log
        self._low, high = self._value(low), self._value(high)
        self._first = first
        self._slope = (last - first) / (high - self._low) if high > self._low else 0.0
        if self._slope == 0.0:
            self._first = (first + last) / 2

    def __call__(self, value: float) -> float:
        """Return the pixel of a value."""
        return self._first + (self._value(value) - self._low) * self._slope

    def _value(self, value: float) -> float:
        return math.log(value) if self._log else value


def _y_range(
    series: Sequence[Series], reference: float | None
) -> tuple[float, float, list[tuple[float, str]]]:
    """Choose round marks that hold all points with their error bars."""
    ends = [end for one in series for p in one.points for end in p.bar]
    ends += [] if reference is None else [reference]
    low, high = min(ends), max(ends)
    margin = 0.06 * (high - low) or max(abs(high) * 0.02, 1e-3)
    low, high = low - margin, high + margin
    return low, high, round_marks(low, high)


def round_marks(low: float, high: float, parts: int = 6) -> list[tuple[float, str]]:
    """Choose round values between two ends, about so many parts apart, with their texts."""
    rough = (high - low) / parts
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough)
    first = math.ceil(low / step)
    digits = max(0, -math.floor(math.log10(step) + 1e-9)) + (f"{step / power:g}" == "2.5")
    return [(i * step, f"{i * step:.{digits}f}") for i in range(first, math.floor(high / step) + 1)]

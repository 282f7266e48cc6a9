"""Average ranks on a line, in Demšar's way: bars join what does not differ; inline SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from meddel_fast.benchmark.statistics import ALL_RATIOS
from meddel_fast.report.text import escape, percent

WIDTH = 560.0
_EDGE = 180.0  # left and right of the axis, for the names
_AXIS, _ROW, _BAR = 66.0, 19.0, 9.0  # height of the axis; between names; between bars


def rank_plot(rows: Sequence[Mapping[str, Any]]) -> str:
    """Draw the average ranks of two or more selectors at one ratio.

    Parameters
    ----------
    rows
        Of one ratio, rows of `statistics.rank_rows`.

    Returns
    -------
    str
        An SVG element in the classes of the report's style sheet, and ``clique`` for the bars.
    """
    placed = sorted((float(row["average_rank"]), str(row["selector"])) for row in rows)
    critical, ratio = rows[0]["critical_difference"], rows[0]["ratio"]
    share = "mean of all shares" if ratio == ALL_RATIOS else f"{percent(ratio)} kept"
    title = f"{share}, {rows[0]['datasets']} data sets"
    spoken = ", ".join(f"{name} {rank:.2f}" for rank, name in placed)
    bars = [] if critical is None else cliques([rank for rank, _ in placed], critical)
    first = _AXIS + 20 + _BAR * len(bars)
    height = first + _ROW * math.ceil(len(placed) / 2)
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH:g} {height:g}" role="img" '
        f'aria-label="{escape(f"Average ranks, {title}: {spoken}")}">'
        f'<text class="title" x="0" y="16">{escape(title)}</text>'
        f"{_axis(len(placed))}{_measure(critical, len(placed))}"
        + "".join(_clique(*bar, i, len(placed)) for i, bar in enumerate(bars))
        + _names(placed, first)
        + "</svg>"
    )


def cliques(ranks: Sequence[float], critical: float) -> list[tuple[float, float]]:
    """Give first and last rank of the longest stretches within a critical difference.

    Parameters
    ----------
    ranks
        Rising.
    critical
        Ranks that are no farther apart than this do not differ.
    """
    found: list[tuple[float, float]] = []
    for low in ranks:
        high = max(rank for rank in ranks if rank - low <= critical)
        if high > low and not any(high <= end for _, end in found):
            found.append((low, high))
    return found


def _step(count: int) -> float:
    return (WIDTH - 2 * _EDGE) / (count - 1)


def _x(rank: float, count: int) -> float:
    return _EDGE + (rank - 1) * _step(count)


def _axis(count: int) -> str:
    ends = f'x1="{_x(1, count):.1f}" x2="{_x(count, count):.1f}"'
    ticks = "".join(
        f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{_AXIS - 5:g}" y2="{_AXIS:g}"/>'
        f'<text x="{x:.1f}" y="{_AXIS - 9:g}" text-anchor="middle">{rank}</text>'
        for rank in range(1, count + 1)
        for x in [_x(rank, count)]
    )
    return f'<line class="axis" {ends} y1="{_AXIS:g}" y2="{_AXIS:g}"/>{ticks}'


def _measure(critical: float | None, count: int) -> str:
    """Show the critical difference as a number, and as a length where the plot has room for it."""
    if critical is None:
        return ""
    text = f'<text x="{WIDTH:g}" y="16" text-anchor="end">critical difference {critical:.2f}</text>'
    width = critical * _step(count)
    if width > WIDTH - 2 * _EDGE:  # few data sets: every difference is smaller
        return text
    left = WIDTH - width
    return f'{text}<path class="bar s0" d="M{left:.1f} 23v6m0 -3H{WIDTH:g}m0 -3v6"/>'


def _clique(low: float, high: float, place: int, count: int) -> str:
    y = _AXIS + 10 + _BAR * place
    ends = f'x1="{_x(low, count) - 3:.1f}" x2="{_x(high, count) + 3:.1f}"'
    return f'<line class="clique" {ends} y1="{y:g}" y2="{y:g}"/>'


def _names(placed: Sequence[tuple[float, str]], first: float) -> str:
    """Write the better half to the left and the others to the right, the outermost highest."""
    count, left = len(placed), math.ceil(len(placed) / 2)
    parts = []
    for i, (rank, name) in enumerate(placed):
        before = i < left
        y = first + _ROW * (i if before else count - 1 - i)
        end, text = (_EDGE - 8, _EDGE - 12) if before else (WIDTH - _EDGE + 8, WIDTH - _EDGE + 12)
        parts.append(
            f'<path class="bar s1" d="M{_x(rank, count):.1f} {_AXIS:g}V{y:g}H{end:g}"/>'
            f'<text x="{text:g}" y="{y + 4:g}" text-anchor="{"end" if before else "start"}">'
            f"{escape(name)} {rank:.2f}</text>"
        )
    return "".join(parts)

"""Average ranks on a line, in Demšar's way: bars join what does not differ."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from meddel_fast.benchmark.report.figures import Scale
from meddel_fast.benchmark.report.text import percent
from meddel_fast.benchmark.scores.statistics import ALL_RATIOS

WIDTH = 560.0
_EDGE = 180.0  # left and right of the axis, for the names
_AXIS, _ROW, _BAR = 66.0, 19.0, 9.0  # height of the axis; between names; between bars


class Name(NamedTuple):
    """A selector's name: its rank's x, its own y, and where its line ends and its text stands."""

    text: str
    x: float
    y: float
    end: float
    place: float
    before: bool  # left of the axis


class RankPlot(NamedTuple):
    """A plot laid out, in pixels; `templates/charts.html.j2` draws it."""

    title: str
    description: str
    size: tuple[float, float]
    axis: float
    ticks: Sequence[tuple[float, int]]
    critical: float | None
    measure: float | None  # where the critical difference begins as a length, if it has room
    cliques: Sequence[tuple[float, float, float]]  # left, right, y
    names: Sequence[Name]


def rank_plot(rows: Sequence[Mapping[str, Any]]) -> RankPlot:
    """Lay out the average ranks of two or more selectors at one ratio.

    Parameters
    ----------
    rows
        Of one ratio, rows of `statistics.rank_rows`.
    """
    placed = sorted((float(row["average_rank"]), str(row["selector"])) for row in rows)
    critical, ratio = rows[0]["critical_difference"], rows[0]["ratio"]
    share = "mean of all shares" if ratio == ALL_RATIOS else f"{percent(ratio)} kept"
    title = f"{share}, {rows[0]['datasets']} data sets"
    spoken = ", ".join(f"{name} {rank:.2f}" for rank, name in placed)
    bars = [] if critical is None else cliques([rank for rank, _ in placed], critical)
    first = _AXIS + 20 + _BAR * len(bars)
    count = len(placed)
    place = Scale(1, count, _EDGE, WIDTH - _EDGE)
    length = 0.0 if critical is None else place(1 + critical) - _EDGE
    return RankPlot(
        title=title,
        description=f"Average ranks, {title}: {spoken}",
        size=(WIDTH, first + _ROW * math.ceil(count / 2)),
        axis=_AXIS,
        ticks=[(place(rank), rank) for rank in range(1, count + 1)],
        critical=critical,
        # without room there are few data sets: every difference is smaller
        measure=None if length > WIDTH - 2 * _EDGE else WIDTH - length,
        cliques=[
            (place(low) - 3, place(high) + 3, _AXIS + 10 + _BAR * i)
            for i, (low, high) in enumerate(bars)
        ],
        names=_names(placed, first, place),
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


def _names(placed: Sequence[tuple[float, str]], first: float, place: Scale) -> list[Name]:
    """Write the better half to the left and the others to the right, the outermost highest."""
    count, left = len(placed), math.ceil(len(placed) / 2)
    names = []
    for i, (rank, name) in enumerate(placed):
        before = i < left
        y = first + _ROW * (i if before else count - 1 - i)
        end, text = (_EDGE - 8, _EDGE - 12) if before else (WIDTH - _EDGE + 8, WIDTH - _EDGE + 12)
        names.append(Name(f"{name} {rank:.2f}", place(rank), y, end, text, before))
    return names

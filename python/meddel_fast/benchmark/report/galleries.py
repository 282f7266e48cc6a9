"""What each selection kept and dropped, in pictures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meddel_fast.benchmark.report.frames import Audit, Nearest
from meddel_fast.benchmark.report.load import Run, Tag
from meddel_fast.benchmark.report.text import number, percent
from meddel_fast.benchmark.report.thumbnails import Figure, Frame, Gallery, Thumbnails
from meddel_fast.benchmark.scores.statistics import FULL
from meddel_fast.selectors import REASONS, Selection

PAIRS = 8
FRAMES = 12
FATES = {
    "kept": "kept",
    "duplicate": "dropped: redundant",
    "disruptive": "dropped: disruptive",
    "budget": "left out: others were wanted more",
    "excluded": "left out: not to be chosen from",
}


def choices(run: Run) -> list[tuple[str, str, list[tuple[str, str]], str]]:
    """Give the switches between the selections: name, title, values with their texts, chosen."""
    shown = [tag for tag in run.tags if tag.name in run.selections]
    selectors = list(dict.fromkeys(tag.selector for tag in shown))
    ratios = sorted({tag.ratio for tag in shown}, reverse=True)
    first = default_tag(run)
    if first is None:
        return []
    return [
        ("selector", "Selector", [(s, s) for s in selectors], first.selector),
        ("ratio", "Kept", [(f"{r:g}", percent(r)) for r in ratios], f"{first.ratio:g}"),
    ]


def default_tag(run: Run) -> Tag | None:
    """Return the selection shown at first: the smallest one of the paper's method, if it ran."""
    shown = [t for t in run.tags if t.name in run.selections and t.selector != FULL]
    return min(shown, key=lambda t: (t.selector != "meddel", t.ratio), default=None)


class Panel(NamedTuple):
    """What one selection did; `later` ones are not shown at first."""

    selector: str
    ratio: float
    later: bool
    shares: list[tuple[str, int, str]]  # reason, how many, in words
    note: str
    galleries: list[Gallery]


def panels(run: Run, audit: Audit, thumbnails: Thumbnails) -> list[Panel]:
    """Make a panel for each selection; the page shows one at a time."""
    shown = [tag for tag in run.tags if tag.name in run.selections and tag.selector != FULL]
    if run.pool is None:
        return []
    names, first = run.pool.ids, default_tag(run)
    made = []
    for tag in shown:
        selection = run.selections[tag.name]
        counts = selection.counts()
        frames = _Frames(selection, names, thumbnails)
        made.append(
            Panel(
                tag.selector,
                tag.ratio,
                tag != first,
                [(reason, counts[reason], FATES[reason]) for reason in REASONS if counts[reason]],
                thresholds(selection),
                _galleries(selection, audit.rows, audit.nearest.get(tag.name), frames),
            )
        )
    return made


def _galleries(
    selection: Selection, rows: NDArray[np.int64], nearest: Nearest | None, frames: _Frames
) -> list[Gallery]:
    closest, marginal = _pairs(selection)
    shown = [
        frames.pairs(title, selection.duplicate_of[chosen], chosen, selection.similarity[chosen])
        for title, chosen in (
            ("Redundant: the most similar pairs", closest),
            ("Closest calls: the least similar that were dropped as redundant", marginal),
        )
    ]
    shown += _stand_ins(rows, nearest, frames)
    shown = [gallery for gallery in shown if gallery.figures]
    disruptive = np.flatnonzero(selection.reason == "disruptive")
    if len(disruptive):
        farthest = disruptive[np.argsort(selection.scores[disruptive], kind="stable")]
        by_mean = selection.settings.get("epsilon") is None
        what = "mean of all, as a share of the largest" if by_mean else "centroid of the cluster"
        title = f"Most disruptive first, with the distance to the {what}"
        shown.append(frames.row(title, farthest[:FRAMES], -2.0 - selection.scores))
    shown.append(frames.row("Kept, most wanted first", selection.order[:FRAMES]))
    left = np.flatnonzero(selection.reason == "budget")
    if len(left):
        least = left[np.argsort(selection.scores[left], kind="stable")]
        shown.append(frames.row("Left out, least wanted first", least[:FRAMES]))
    return shown


def _stand_ins(
    rows: NDArray[np.int64], nearest: Nearest | None, frames: _Frames
) -> Iterator[Gallery]:
    """Show dropped samples beside their nearest kept one: the least similar, and the most."""
    if nearest is None:
        return
    dropped = np.flatnonzero(nearest.row >= 0)
    order = dropped[np.argsort(nearest.similarity[dropped], kind="stable")]
    least = order[: PAIRS // 2]
    most = order[len(least) :][::-1][: PAIRS // 2]
    for title, chosen in (
        ("Dropped, and the least like any kept frame: what may be missing", least),
        ("Dropped, and the most like a kept frame", most),
    ):
        yield frames.pairs(title, nearest.row[chosen], rows[chosen], nearest.similarity[chosen])


def _pairs(selection: Selection) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pick redundant samples: the most similar ones, and those nearest to the threshold.

    Those whose counterpart stayed come first: they show what stands for what.
    """
    dropped = np.flatnonzero(selection.reason == "duplicate")
    gone = ~selection.mask[selection.duplicate_of[dropped]]
    similarity = selection.similarity[dropped]
    highest = dropped[np.lexsort((-similarity, gone))][: PAIRS // 2]
    lowest = dropped[np.lexsort((similarity, gone))]
    return highest, lowest[~np.isin(lowest, highest)][: PAIRS // 2]


def thresholds(selection: Selection) -> str:
    """Name the thresholds that a selection came to, and a filter that had nothing to do."""
    told = []
    settings = selection.settings
    if settings.get("eta") is not None:
        told.append(f"cosine threshold η = {settings['eta']:.4f}")
    if settings.get("epsilon") is not None:
        told.append(f"disruptive beyond ε = {settings['epsilon']:g}")
        if not settings["disruptive"]:
            farthest = float(np.max(selection.distance))
            told[-1] += f", which no sample is: the farthest is at {farthest:.3g}"
    if settings.get("disruptive_fraction") is not None:
        told.append(
            f"{number(settings['disruptive'])} disruptive, by their distance from the mean of all"
        )
    if settings.get("clusters") is not None:
        told.append(f"{number(settings['clusters'])} clusters")
    if settings.get("radius") is not None:
        told.append(f"covering radius {settings['radius']:.4g}")
    return "; ".join(told)


def _short(distance: float) -> str:
    return f"{distance:.4f}" if distance < 1 else f"{distance:.4g}"


class _Frames:
    """Shows frames of one selection with their captions."""

    def __init__(self, selection: Selection, names: list[str], thumbnails: Thumbnails) -> None:
        self._selection = selection
        self._names = names
        self._thumbnails = thumbnails

    def pairs(
        self,
        title: str,
        beside: NDArray[np.int64],
        rows: NDArray[np.int64],
        similarity: NDArray[np.float64],
    ) -> Gallery:
        """Show samples, each beside another one, with their cosine."""
        couples = list(zip(beside.tolist(), rows.tolist(), similarity.tolist(), strict=True))
        self._thumbnails.prepare([row for *couple, _ in couples for row in couple])
        return Gallery(title, [
            Figure([self._frame(a), self._frame(b)], [("cosine", f"{cosine:.4f}")])
            for a, b, cosine in couples
        ])  # fmt: skip

    def row(
        self, title: str, rows: NDArray[np.int64], distances: NDArray[np.float64] | None = None
    ) -> Gallery:
        """Show samples one by one, with these distances, or the method's where it has some."""
        self._thumbnails.prepare([int(row) for row in rows])
        figures = []
        if distances is None:
            distances = self._selection.distance
        for row in map(int, rows):
            distance = distances[row]
            told = None if np.isnan(distance) else [("distance", _short(distance))]
            figures.append(Figure([self._frame(row)], told))
        return Gallery(title, figures)

    def _frame(self, row: int) -> Frame:
        name = self._names[row]
        reason = str(self._selection.reason[row])
        kind = "kept" if reason == "kept" else "dropped"
        return Frame(
            self._thumbnails.picture(row, f"{name}, {kind}"),
            "✓ kept" if kind == "kept" else "✕ dropped",
            name.rpartition("/")[2],
            f"{name} ({FATES[reason]})",
            kind,
        )

"""What each selection kept and dropped, in pictures."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from meddel_fast.report.frames import Audit, Nearest
from meddel_fast.report.load import FULL, Run, Tag
from meddel_fast.report.text import escape, number, percent
from meddel_fast.report.thumbnails import Thumbnails
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


def chooser(run: Run) -> str:
    """Make the switch between the selections, which serves galleries and map."""
    shown = [tag for tag in run.tags if tag.name in run.selections]
    selectors = list(dict.fromkeys(tag.selector for tag in shown))
    ratios = sorted({tag.ratio for tag in shown}, reverse=True)
    first = default_tag(run)
    if first is None:
        return ""
    groups = (
        ("selector", "Selector", [(s, s) for s in selectors], first.selector),
        ("ratio", "Kept", [(f"{r:g}", percent(r)) for r in ratios], f"{first.ratio:g}"),
    )
    return "".join(
        f'<fieldset class="switch choose"><legend>{title}</legend>'
        + "".join(
            f'<label><input type="radio" name="{name}" value="{escape(value)}"'
            f"{' checked' * (value == chosen)}><span>{escape(text)}</span></label>"
            for value, text in choices
        )
        + "</fieldset>"
        for name, title, choices, chosen in groups
    )


def default_tag(run: Run) -> Tag | None:
    """Return the selection shown at first: the smallest one of the paper's method, if it ran."""
    shown = [t for t in run.tags if t.name in run.selections and t.selector != FULL]
    return min(shown, key=lambda t: (t.selector != "meddel", t.ratio), default=None)


def galleries(run: Run, audit: Audit, thumbnails: Thumbnails) -> str:
    """Make a panel for each selection; the page shows one at a time."""
    shown = [tag for tag in run.tags if tag.name in run.selections and tag.selector != FULL]
    if not shown or run.pool is None:
        return '<p class="empty">No selections yet.</p>'
    names = run.pool.ids
    first = default_tag(run)
    return "".join(
        f'<section class="panel" data-selector="{escape(tag.selector)}" '
        f'data-ratio="{tag.ratio:g}"{"" if tag == first else " data-later"}>'
        f"<h3>{escape(tag.selector)}, {percent(tag.ratio)} kept</h3>"
        f"{_panel(run.selections[tag.name], audit.rows, audit.nearest.get(tag.name), frames)}"
        "</section>"
        for tag in shown
        for frames in [_Frames(run.selections[tag.name], names, thumbnails)]
    )


def _panel(
    selection: Selection, rows: NDArray[np.int64], nearest: Nearest | None, frames: _Frames
) -> str:
    blocks = [_shares(selection)]
    closest, marginal = _pairs(selection)
    for title, chosen in (
        ("Redundant: the most similar pairs", closest),
        ("Closest calls: the least similar that were dropped as redundant", marginal),
    ):
        blocks.append(
            frames.pairs(
                title, selection.duplicate_of[chosen], chosen, selection.similarity[chosen]
            )
        )
    blocks += _stand_ins(rows, nearest, frames)
    disruptive = np.flatnonzero(selection.reason == "disruptive")
    if len(disruptive):
        farthest = disruptive[np.argsort(-selection.distance[disruptive], kind="stable")]
        blocks.append(
            frames.row("Most disruptive, with the distance to the centroid", farthest[:FRAMES])
        )
    blocks.append(frames.row("Kept, most wanted first", selection.order[:FRAMES]))
    left = np.flatnonzero(selection.reason == "budget")
    if len(left):
        least = left[np.argsort(selection.scores[left], kind="stable")]
        blocks.append(frames.row("Left out, least wanted first", least[:FRAMES]))
    return "".join(blocks)


def _stand_ins(rows: NDArray[np.int64], nearest: Nearest | None, frames: _Frames) -> Iterator[str]:
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


def _shares(selection: Selection) -> str:
    """Draw how the pool was divided."""
    counts = selection.counts()
    bars = "".join(
        f'<i class="fate {reason}" style="flex:{counts[reason]}"></i>'
        for reason in REASONS
        if counts[reason]
    )
    items = "".join(
        f'<li><i class="fate {reason}"></i>{number(counts[reason])} {escape(FATES[reason])}</li>'
        for reason in REASONS
        if counts[reason]
    )
    note = thresholds(selection)
    told = f'<p class="note">{escape(note)}</p>' if note else ""
    return f'<div class="shares">{bars}</div><ul class="fates">{items}</ul>{told}'


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
        told.append(f"the farthest {percent(settings['disruptive_fraction'])} disruptive")
    if settings.get("clusters") is not None:
        told.append(f"{number(settings['clusters'])} clusters")
    if settings.get("radius") is not None:
        told.append(f"covering radius {settings['radius']:.4g}")
    return "; ".join(told)


def _short(distance: float) -> str:
    return f"{distance:.4f}" if distance < 1 else f"{distance:.4g}"


class _Frames:
    """Writes frames of one selection with their captions."""

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
    ) -> str:
        """Show samples, each beside another one, with their cosine; nothing if there are none."""
        couples = list(zip(beside.tolist(), rows.tolist(), similarity.tolist(), strict=True))
        self._thumbnails.prepare([row for *couple, _ in couples for row in couple])
        items = "".join(
            f'<figure class="pair"><div>{self._frame(a)}{self._frame(b)}</div>'
            f"<figcaption>cosine <b>{cosine:.4f}</b></figcaption></figure>"
            for a, b, cosine in couples
        )
        return f'<h4>{escape(title)}</h4><div class="frames">{items}</div>' if items else ""

    def row(self, title: str, rows: NDArray[np.int64]) -> str:
        """Show samples one by one, with their distance where the method has one."""
        self._thumbnails.prepare([int(row) for row in rows])
        items = ""
        for row in map(int, rows):
            distance = self._selection.distance[row]
            text = (
                ""
                if np.isnan(distance)
                else f"<figcaption>distance <b>{_short(distance)}</b></figcaption>"
            )
            items += f'<figure class="single">{self._frame(row)}{text}</figure>'
        return f'<h4>{escape(title)}</h4><div class="frames">{items}</div>'

    def _frame(self, row: int) -> str:
        name = self._names[row]
        reason = str(self._selection.reason[row])
        short = name.rpartition("/")[2]
        badge = "kept" if reason == "kept" else "dropped"
        return (
            f'<div class="frame {badge}" title="{escape(name)} ({escape(FATES[reason])})">'
            f"{self._thumbnails.tag(row, f'{name}, {badge}')}"
            f'<span class="badge">{"✓ kept" if badge == "kept" else "✕ dropped"}</span>'
            f'<span class="name">{escape(short)}</span></div>'
        )

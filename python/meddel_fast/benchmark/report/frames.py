"""The frames of the pool one by one: what became of each, and the kept frame that it is most like.

That neighbour is the report's answer to why a frame could be dropped, for every method the same:
the kept frame with the highest cosine, exact, whatever the method's own reason was.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast import ops
from meddel_fast.benchmark.report.embedmap import Layout
from meddel_fast.benchmark.report.load import Run, Tag
from meddel_fast.benchmark.report.text import visible
from meddel_fast.benchmark.report.thumbnails import atlas
from meddel_fast.benchmark.scores.statistics import FULL
from meddel_fast.selectors import REASONS, Selection
from meddel_fast.selectors.base import random_keys

# Frames shown at most, and times selections: 12 bytes each, beside 5.6 MB of pictures, fit into
# a page of 10 MB.
FRAMES, FATES = 10_000, 240_000
_NONE = 0xFFFF  # a frame's number, where there is none
_KINDS = {"u16": "<u2", "u32": "<u4", "i16": "<i2", "f32": "<f4"}


@dataclass(frozen=True, eq=False)
class Nearest:
    """The most similar kept row of each row; -1 and NaN for rows that are kept themselves."""

    row: NDArray[np.int64]
    similarity: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Audit:
    """The frames looked at, ascending, and for each selection their nearest kept frames."""

    rows: NDArray[np.int64]
    nearest: dict[str, Nearest]


def nearest_kept(x: NDArray[Any], selection: Selection, rows: NDArray[np.int64]) -> Nearest:
    """Find the kept sample that each of some samples is most similar to.

    Parameters
    ----------
    x : shape (n, d)
        The embeddings that the selection was made from.
    selection
        Of n samples.
    rows
        The samples to look at (k,).
    """
    dropped = ~selection.mask[rows]
    found = np.full(len(rows), -1, dtype=np.int64)
    similarity = np.full(len(rows), np.nan)
    if dropped.any():
        best = ops.topk_similarity(x[rows[dropped]], x[selection.indices], 1)
        found[dropped] = selection.indices[best.indices[:, 0]]
        similarity[dropped] = best.similarity[:, 0]
    return Nearest(found, similarity)


def audit(run: Run) -> Audit:
    """Look at all frames, or, in a pool too large for the page, at so many drawn at random.

    The neighbours of the frames drawn are looked at as well, so that they can be shown.
    """
    tags = _shown(run)
    if run.pool is None or not tags:
        return Audit(np.zeros(0, np.int64), {})
    n, x = len(run.pool), run.compared
    most = min(FRAMES, FATES // len(tags))
    if n <= most:
        rows = np.arange(n)
    else:
        rows = np.sort(np.argsort(random_keys(n, 0), kind="stable")[: most // (1 + len(tags))])
        if x is not None:
            near = [nearest_kept(x, run.selections[t.name], rows).row for t in tags]
            rows = np.unique(np.concatenate([rows, *(row[row >= 0] for row in near)]))
    if x is None:
        return Audit(rows, {})
    return Audit(rows, {t.name: nearest_kept(x, run.selections[t.name], rows) for t in tags})


def _shown(run: Run) -> list[Tag]:
    return [t for t in run.tags if t.name in run.selections and t.selector != FULL]


def browser(run: Run, audit: Audit, words: Mapping[str, str]) -> dict[str, Any] | None:
    """Tell what the place needs where the page's script shows the frames; None without any.

    `words` tell of each of `selectors.REASONS`, in their order.
    """
    if len(audit.rows) == 0 or run.pool is None:
        return None
    shown = len(audit.rows)
    return {"some": (shown, len(run.pool)) if shown < len(run.pool) else None,
            "fates": list(words.values())}  # fmt: skip


def frame_data(
    run: Run, audit: Audit, layout: Layout | None, words: Mapping[str, str]
) -> dict[str, Any] | None:
    """Give what the page's script knows of the frames, of what JSON holds."""
    if len(audit.rows) == 0 or run.pool is None:
        return None
    rows = audit.rows
    columns = _Columns()
    names, paths = run.pool.ids, run.pool.image_paths()
    sheet, across, tile, tiles = atlas([paths[i] for i in rows])
    return {
        "names": [visible(names[i]) for i in rows],
        "reasons": list(words),
        "fates": list(words.values()),
        "rows": columns.add("u32", rows),
        "tags": {
            f"{visible(tag.selector)}\n{tag.ratio:g}": _fates(
                run.selections[tag.name], rows, audit.nearest.get(tag.name), columns
            )
            for tag in _shown(run)
        },
        "map": _map(layout, columns),
        "sheet": sheet,
        "across": across,
        "tile": tile,
        "tiles": tiles,
        "columns": columns.packed,
    }


def _fates(
    selection: Selection, rows: NDArray[np.int64], nearest: Nearest | None, columns: _Columns
) -> dict[str, Any]:
    """Give the columns of one selection."""
    code = {reason: str(i) for i, reason in enumerate(REASONS)}
    data: dict[str, Any] = {"fate": "".join(code[r] for r in selection.reason[rows].tolist())}
    if nearest is not None:
        data["near"] = columns.add("u16", _places(nearest.row, rows))
        data["cosine"] = columns.add("i16", _rounded(nearest.similarity))
    repeats = selection.duplicate_of[rows]
    if (repeats >= 0).any():
        data["of"] = columns.add("u16", _places(repeats, rows))
        data["alike"] = columns.add("i16", _rounded(selection.similarity[rows]))
    if (selection.cluster >= 0).any():
        data["cluster"] = columns.add("u32", selection.cluster[rows])
    if np.isfinite(selection.distance[rows]).any():
        data["distance"] = columns.add("f32", selection.distance[rows])
    return data


def _places(wanted: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give the places of rows of the pool among those shown."""
    place = np.searchsorted(rows, wanted).clip(max=len(rows) - 1)
    return np.where(rows[place] == wanted, place, _NONE)


def _rounded(similarity: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give cosines in ten-thousandths."""
    return np.rint(np.nan_to_num(similarity) * 1e4)


def _map(layout: Layout | None, columns: _Columns) -> Mapping[str, Any] | None:
    if layout is None:
        return None
    return {
        "points": columns.add("u16", layout.points),
        "x": columns.add("u16", layout.grid[:, 0]),
        "y": columns.add("u16", layout.grid[:, 1]),
        "aspect": layout.aspect,
    }


class _Columns:
    """Columns of numbers as base64 of little-endian arrays; equal ones are stored once."""

    def __init__(self) -> None:
        self.packed: list[list[str]] = []
        self._places: dict[tuple[str, bytes], int] = {}

    def add(self, kind: str, values: NDArray[Any]) -> int:
        """Store a column, and return its number."""
        data = values.astype(_KINDS[kind]).tobytes()
        if (kind, data) not in self._places:
            self._places[kind, data] = len(self.packed)
            self.packed.append([kind, base64.b64encode(data).decode()])
        return self._places[kind, data]

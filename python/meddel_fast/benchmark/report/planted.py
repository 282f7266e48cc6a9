"""What became of the frames that the made data planted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meddel_fast.benchmark.report.figures import style_of
from meddel_fast.benchmark.report.load import Run
from meddel_fast.benchmark.report.tables import DOWN, NOTHING, UP, Cell, Head, Row, Table, share
from meddel_fast.benchmark.report.text import number, percent
from meddel_fast.benchmark.scores.statistics import FULL


def planted(run: Run) -> Table | None:
    """Give of each selection how much of what it kept was planted, and how much was removed."""
    rows = [row for row in run.planted if row["kind"] != "normal"]
    if not rows:
        return None
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    found = {(r["selector"], r["ratio"], r["kind"]): r for r in rows}
    selections = list(dict.fromkeys((r["selector"], r["ratio"]) for r in rows))
    selections.sort(key=lambda s: (s[0] != FULL, -s[1]))
    heads = [Head("Selector", UP), Head("Kept", UP)]
    for kind in kinds:
        count = next(r["planted"] for r in rows if r["kind"] == kind)
        heads.append(Head(_plural(kind), UP, "share of kept"))
        heads.append(Head("recall", DOWN, f"of {number(count)}"))
    top = max(float(row["share_of_kept"]) for row in rows) or 1.0
    lines, previous = [], -1.0
    for selector, ratio in selections:
        cells = [share(ratio)]
        for kind in kinds:
            cells += _cells(found.get((selector, ratio, kind)), top)
        lines.append(Row(selector, cells, style_of(selector, run.selectors), ratio != previous))
        previous = ratio
    return Table("Planted frames", heads, lines, "planted")


def _plural(kind: str) -> str:
    words = kind.replace("_", " ")
    return f"{words}s" if words.endswith("duplicate") else f"{words} frames"


def _cells(row: Mapping[str, Any] | None, top: float) -> list[Cell]:
    if row is None:
        return [NOTHING, NOTHING]
    of_kept, removed = float(row["share_of_kept"]), int(row["removed"])
    recall = removed / max(1, int(row["planted"]))
    text = f"{100 * of_kept:.1f}\u00a0%"
    return [
        Cell(text, of_kept, gauge=of_kept / top),
        Cell(percent(recall, 3), recall, number(removed)),
    ]

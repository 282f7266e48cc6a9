"""Images of the pool that break a limit of quality, and what selections kept of them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from meddel_fast.benchmark.report.figures import style_of
from meddel_fast.benchmark.report.load import Run
from meddel_fast.benchmark.report.tables import DOWN, UP, Cell, Head, Row, Table, count, share
from meddel_fast.benchmark.report.text import counted, number, percent
from meddel_fast.benchmark.scores.statistics import FULL


def quality(run: Run) -> dict[str, Any] | None:
    """Give what broke which limits, and a table of what was kept of it; None where unmeasured."""
    if not run.quality:
        return None
    reasons = {name: list(found) for name, found in run.quality["reasons"].items()}
    images = int(run.quality["images"])
    often = Counter(reason for found in reasons.values() for reason in found)
    gone = run.quality["flawed"] == "exclude"
    which = ", ".join(f"{reason} {number(n)}" for reason, n in often.most_common())
    told = f"{counted(len(reasons), 'image')} of {number(images)} in the pool "
    told += f"({percent(len(reasons) / images, 2)}) break a limit"
    told += f": {which}." if which else "."
    told += " They were left out of the pool." if gone else " They stayed in the pool."
    return {"told": told, "table": None if gone or not reasons else _table(run, reasons)}


def _table(run: Run, reasons: dict[str, list[str]]) -> Table | None:
    if run.pool is None:
        return None
    ids, lines, previous = run.pool.ids, [], -1.0
    heads = [Head("Selector", UP), Head("Kept", UP), Head("Flawed", DOWN, "of the kept")]
    heads += [Head("Share", DOWN), Head("Why", UP)]
    for tag in run.tags:
        if tag.selector == FULL or tag.name not in run.selections:
            continue
        kept = [ids[row] for row in run.selections[tag.name].indices.tolist()]
        found = [reasons[name] for name in kept if name in reasons]
        why = Counter(reason for one in found for reason in one)
        cells = [
            share(tag.ratio),
            count(len(found)),
            share(len(found) / len(kept), 2),
            Cell(", ".join(f"{reason} {number(n)}" for reason, n in why.most_common())),
        ]
        style = style_of(tag.selector, run.selectors)
        lines.append(Row(tag.selector, cells, style, tag.ratio != previous))
        previous = tag.ratio
    return Table("Flawed images that were kept", heads, lines, "flawed")

"""What each selection kept of every data set, class and video: shares, gaps, what tells them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meddel_fast.benchmark.report.figures import style_of
from meddel_fast.benchmark.report.load import Run
from meddel_fast.benchmark.report.tables import DOWN, UP, Cell, Head, Row, Table, share
from meddel_fast.benchmark.report.text import number, percent
from meddel_fast.benchmark.scores.statistics import FULL
from meddel_fast.benchmark.subgroups import Column, audit_subgroups, column_of, reading

MOST = 100_000
"""Images of a pool beyond which the page leaves this to ``meddel-fast audit``."""

_COLUMNS = {"set": "data set", "label": "class", "group": "video or patient"}


def subgroups(run: Run) -> dict[str, Any] | None:
    """Give a table a column and what can be read off; None where there is nothing to compare."""
    x, pool = run.compared, run.pool
    kept = [tag for tag in run.tags if tag.selector != FULL and tag.name in run.selections]
    if x is None or pool is None or not kept or not len(x) == len(pool) <= MOST:
        return None
    columns = {}
    for name in _COLUMNS:
        values = column_of(pool, name)
        if 2 <= len(set(values) - {None, ""}) <= len(values) / 2:
            columns[name] = values
    if not columns:
        return None
    audits = {
        tag.name: audit_subgroups(run.selections[tag.name], x, columns, centre=False, read=False)
        for tag in kept
    }
    asked = audit_subgroups(
        run.selections[kept[0].name], x, columns, groups=pool.column("group"), centre=False
    )
    return {
        "told": [
            f"By {_COLUMNS[one.name]}: {text}"
            for one in asked
            if one.reading
            for text in reading(one)
        ],
        "tables": [
            _table(run, name, {tag: audit[place] for tag, audit in audits.items()})
            for place, name in enumerate(columns)
        ],
    }


def _table(run: Run, name: str, audits: Mapping[str, Column]) -> Table:
    heads = [Head("Selector", UP), Head("Kept", UP), Head("Least kept", UP, "of it")]
    heads += [Head("Share", UP, "by all"), Head("Farthest", DOWN, "1 \u2212 cosine")]
    lines, previous = [], -1.0
    for tag in run.tags:
        if tag.name not in audits:
            continue
        least, farthest = audits[tag.name].least_kept, audits[tag.name].farthest
        cells = [
            share(tag.ratio),
            Cell(least.value, None, f"{number(least.kept)} of {number(least.samples)}"),
            Cell(percent(least.share, 2), least.share, f"{least.share / tag.ratio:.2f} of its due"),
            Cell(f"{farthest.radius:.3f}", farthest.radius, farthest.value),
        ]
        style = style_of(tag.selector, run.selectors)
        lines.append(Row(tag.selector, cells, style, tag.ratio != previous))
        previous = tag.ratio
    return Table(f"By {_COLUMNS[name]}", heads, lines, "subgroups")

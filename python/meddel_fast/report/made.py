"""What the run was made of: planted truth, wall time, settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meddel_fast.report.figures import key, style_of
from meddel_fast.report.load import FULL, Run
from meddel_fast.report.results import row
from meddel_fast.report.tables import DOWN, UP, number_cell, sortable
from meddel_fast.report.text import duration, escape, number, percent


def planted(run: Run) -> str:
    """Tell what became of the frames that the made data planted."""
    rows = [row for row in run.planted if row["kind"] != "normal"]
    if not rows:
        return ""
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    found = {(r["selector"], r["ratio"], r["kind"]): r for r in rows}
    selections = list(dict.fromkeys((r["selector"], r["ratio"]) for r in rows))
    selections.sort(key=lambda s: (s[0] != FULL, -s[1]))
    heads = [("Selector", UP), ("Kept", UP)]
    for kind in kinds:
        planted = next(r["planted"] for r in rows if r["kind"] == kind)
        heads += [
            (f"{escape(_plural(kind))}<br><small>share of kept</small>", UP),
            (f"recall<br><small>of {number(planted)}</small>", DOWN),
        ]
    top = max(float(row["share_of_kept"]) for row in rows) or 1.0
    lines, previous = [], -1.0
    for selector, ratio in selections:
        style = style_of(selector, run.selectors)
        cells = "".join(_planted_cells(found.get((selector, ratio, kind)), top) for kind in kinds)
        lines.append(
            f'{row(style, ratio != previous)}<th scope="row" data-value="{escape(selector)}">'
            f"{key(style)}{escape(selector)}</th>"
            f"{number_cell(ratio, percent(ratio))}{cells}</tr>"
        )
        previous = ratio
    table = sortable("Planted frames", heads, lines, attributes='class="planted"')
    return (
        "<p>The made data know which frames repeat another and which show nothing. Bars: their "
        "share of what was <em>kept</em> (shorter is better). Recall: how many of them are gone or "
        "do no harm any more; of a frame and its copies one may stay, only the others count.</p>"
        f"{table}"
    )


def _plural(kind: str) -> str:
    words = kind.replace("_", " ")
    return f"{words}s" if words.endswith("duplicate") else f"{words} frames"


def _planted_cells(row: Mapping[str, Any] | None, top: float) -> str:
    if row is None:
        return "<td>&ndash;</td><td>&ndash;</td>"
    share, removed = float(row["share_of_kept"]), int(row["removed"])
    recall = removed / max(1, int(row["planted"]))
    gauge = f'<span class="gauge"><i style="width:{100 * share / top:.1f}%"></i></span>'
    return number_cell(share, f"{gauge}<b>{100 * share:.1f}\u00a0%</b>") + number_cell(
        recall, f"{percent(recall, 3)} <small>{number(removed)}</small>"
    )


def times(run: Run) -> str:
    """Show the wall time of the stages."""
    if not run.seconds:
        return ""
    total = sum(run.seconds.values())
    longest = max(run.seconds.values()) or 1.0
    lines = []
    for group, seconds in run.seconds.items():
        gauge = f'<span class="gauge"><i style="width:{100 * seconds / longest:.1f}%"></i></span>'
        cell = number_cell(seconds, f"{gauge}{duration(seconds)}")
        lines.append(f'<tr><th scope="row">{escape(group)}</th>{cell}</tr>')
    return sortable(
        "Wall time by stage",
        [("Stage", UP), ("Time", DOWN)],
        lines,
        attributes='class="times"',
        note=f"Wall time, together {duration(total)}",
    )


def settings(run: Run) -> str:
    """List the settings, versions and hardware; of absolute paths the last part alone."""
    blocks = []
    for title, name in (
        ("Hardware", "hardware"),
        ("Versions", "versions"),
        ("Settings", "config"),
    ):
        if run.about.get(name):
            rows = [
                f'<tr><th scope="row">{escape(k)}</th><td>{escape(v)}</td></tr>'
                for k, v in _flat(run.about[name])
            ]
            heads = [("Name", UP), ("Value", UP)]
            blocks.append(
                f"<details{' open' * (name != 'config')}><summary>{title}</summary>"
                f"{sortable(title, heads, rows, attributes='class=plain')}</details>"
            )
    return "".join(blocks)


def _flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    """Flatten nested settings into dotted names and texts."""
    if isinstance(value, Mapping) and value:
        return [pair for k, v in value.items() for pair in _flat(v, f"{name}.{k}" if name else k)]
    if isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        return [pair for i, v in enumerate(value) for pair in _flat(v, f"{name} {i + 1}")]
    if isinstance(value, list):
        return [(name, ", ".join(_plain(v) for v in value))]
    return [(name, _plain(value))]


def _plain(value: Any) -> str:
    if isinstance(value, str) and value.startswith("/"):
        return "…/" + value.rstrip("/").rpartition("/")[2]
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None or value == "" else str(value)

"""By which settings each selection was made, what they removed, and which of them are the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from meddel_fast.benchmark.report.figures import style_of
from meddel_fast.benchmark.report.load import Run
from meddel_fast.benchmark.report.measures import Key
from meddel_fast.benchmark.report.tables import DOWN, NOTHING, UP, Cell, Head, Row, Table, share
from meddel_fast.benchmark.report.text import counted, listed, number, percent
from meddel_fast.benchmark.scores.selections import idle_epsilons

_FOUND = ("eta", "disruptive", "returned", "tied", "radius")  # by the method, with columns or none
_HEADS = [
    *(Head("Selector", UP), Head("Kept", UP), Head("Settings", UP), Head("\u03b7", DOWN)),
    *(Head("Disruptive", DOWN, "removed"), Head("Same images as", UP)),
]

Rows = Sequence[Mapping[str, Any]]


def settings_of_selections(run: Run) -> dict[str, Any] | None:
    """Give the table of settings, and what is to be said of them; None where a run has none."""
    if not run.chosen:
        return None
    return {"told": sentences(run), "table": _table(run)}


def _by_selection(run: Run) -> dict[Key, list[Mapping[str, Any]]]:
    """Group the rows of the repetitions."""
    grouped: dict[Key, list[Mapping[str, Any]]] = {}
    for row in run.chosen:
        grouped.setdefault((str(row["selector"]), float(row["ratio"])), []).append(row)
    return grouped


def same(run: Run) -> dict[Key, tuple[Key, int, int]]:
    """Give each selection that keeps what an earlier one keeps: that one, and in how many of all.

    Two numbers follow: the repetitions in which it does, and those in which it also took over its
    training.
    """
    names = {tag.name: (tag.selector, tag.ratio) for tag in run.tags}
    found = {}
    for key, rows in _by_selection(run).items():
        alike = [row for row in rows if row["same_as"]]
        if alike and alike[0]["same_as"] in names:
            taken = sum(bool(row["shared_with"]) for row in alike)
            found[key] = (names[str(alike[0]["same_as"])], len(alike), taken)
    return found


def sentences(run: Run) -> list[str]:
    """Say where epsilon removed nothing, and which selections are one and the same."""
    told = [
        f"{selector}: \u03b5 = {epsilon:g} removed nothing, in none of its selections."
        for selector, epsilon in idle_epsilons(run.chosen).items()
    ]
    grouped = _by_selection(run)
    for (selector, ratio), (other, times, taken) in same(run).items():
        text = f"{selector} at {percent(ratio)} keeps the images of {other[0]}"
        text += f" in {times} of {counted(len(grouped[selector, ratio]), 'repetition')}"
        told.append(text + (f", and shares its training in {taken}." if taken else "."))
    return told


def _table(run: Run) -> Table:
    alike = same(run)
    lines = []
    previous = -1.0
    for (selector, ratio), rows in _by_selection(run).items():
        settings = rows[0]["settings"]
        set_so = [
            f"{k} {_plain(v)}" for k, v in settings.items() if k not in _FOUND and v is not None
        ]
        etas = [float(r["settings"]["eta"]) for r in rows if r["settings"].get("eta") is not None]
        removed = [int(n) for row in rows if (n := row["left_out_as_disruptive"]) is not None]
        cells = [
            share(ratio)._replace(small=number(int(rows[0]["kept"]))),
            Cell(", ".join(set_so)),
            Cell(_range([f"{eta:.4f}" for eta in etas]), etas[0]) if etas else NOTHING,
            Cell(_range([number(n) for n in removed]), removed[0]) if removed else NOTHING,
            Cell(alike[selector, ratio][0][0]) if (selector, ratio) in alike else NOTHING,
        ]
        lines.append(Row(selector, cells, style_of(selector, run.selectors), ratio != previous))
        previous = ratio
    return Table("Settings of the selections", _HEADS, lines, "settled")


def _range(texts: Sequence[str]) -> str:
    """Write what differs from repetition to repetition."""
    return listed(list(dict.fromkeys(texts)))


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)

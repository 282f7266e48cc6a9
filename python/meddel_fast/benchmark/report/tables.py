"""Tables whose columns sort at a click; without scripts they are plain tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from meddel_fast.benchmark.report.text import number, percent

UP, DOWN = 1, -1


class Head(NamedTuple):
    """A column's title, which way it sorts at the first click, and a second line."""

    title: str
    first: int  # UP or DOWN
    small: str = ""


class Cell(NamedTuple):
    """A cell: it sorts by its value, or by its text if it has none; a gauge shows a share."""

    text: str | None  # none is shown as a dash
    value: float | None = None
    small: str = ""
    strong: bool = False
    gauge: float | None = None


class Row(NamedTuple):
    """A row and its head, with a selector's `style` where it is about one.

    The `first` row of its share of the data is set off.
    """

    name: str
    cells: Sequence[Cell]
    style: int | None = None
    first: bool = False


class Table(NamedTuple):
    """A table: `name` is for screen readers, `note` is shown in its place."""

    name: str
    heads: Sequence[Head]
    rows: Sequence[Row]
    kind: str = ""  # its class
    note: str = ""


NOTHING = Cell(None)


def count(value: float) -> Cell:
    """Make a cell of a count."""
    return Cell(number(int(value)), value)


def share(value: float, digits: int = 4) -> Cell:
    """Make a cell of a share."""
    return Cell(percent(value, digits), value)

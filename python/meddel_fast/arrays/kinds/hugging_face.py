"""Columns of ``datasets``: their Arrow memory or files, not the lists that they give out.

What a format (``with_format``, ``set_transform``) would make of a column does not matter here: it
is read as it is stored, float16 and float64 too.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from meddel_fast.arrays.kinds.arrow import of_column, of_table
from meddel_fast.arrays.kinds.arrow_lists import (
    arrow,
    choose,
    holds_vectors,
    vectors,
)
from meddel_fast.arrays.kinds.readers import RowReader


def open_rows(name: str, x: Any, column: str | None) -> Any:
    """Return the rows of a column of vectors, or an array of a column's values.

    Raises
    ------
    TypeError
        No column of numbers that the operations take, or data that is streamed.
    ValueError
        A null; vectors of several lengths; several columns that could be meant.
    """
    kind = type(x).__name__
    if kind == "Column":
        if column is not None:
            raise ValueError(f"column must be None for {name}, which is one, got {column!r}")
        x, column = x.source, x.column_name
    if isinstance(x, dict):
        raise TypeError(f"{name} must be one split, got a datasets.{kind} of {list(x)}")
    if not hasattr(x, "data") or not hasattr(x, "with_format"):
        raise TypeError(f"{name} must be a Dataset or a column of one, got a datasets.{kind}")
    table = x.data.table
    if getattr(x, "_indices", None) is None:
        if column is not None and not holds_vectors(table.schema.field(column).type):
            return of_column(name, table.column(column), column=column)
        return of_table(name, table, column)
    column = choose(name, table.schema, None) if column is None else column
    if not holds_vectors(table.schema.field(column).type):
        return of_column(name, x.with_format("arrow")[column][:], column=column)
    return _Chosen(name, x, column)


class _Chosen(RowReader):
    """A column of a data set that has been shuffled, sorted, filtered or selected from."""

    def __init__(self, name: str, x: Any, column: str) -> None:
        self.name, self._column = name, column
        self._source = x.select_columns([column]).with_format("arrow")
        self._width: int | None = None
        first = self.read(0, 1)
        self._width = first.shape[1]
        self.shape, self.dtype = (x.num_rows, first.shape[1]), first.dtype

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return a copy."""
        lists = self._source[start:stop].column(0).combine_chunks()
        if isinstance(lists, arrow().ChunkedArray):
            lists = lists.chunk(0)
        return vectors(self.name, lists, column=self._column, width=self._width, first=start)

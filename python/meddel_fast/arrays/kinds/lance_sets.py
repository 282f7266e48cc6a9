"""Columns of vectors of Lance data sets, read a range at a time.

A row's number is its place in a scan of the version that is open: other versions may hold it
elsewhere, as Lance moves rows that are updated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.arrays.kinds.arrow_lists import TYPES, choose, storage, vectors
from meddel_fast.arrays.kinds.readers import RowReader


def open_rows(name: str, x: Any, column: str | None) -> Any:
    """Return the rows of a column of vectors.

    Raises
    ------
    TypeError
        No data set, or no column of vectors that the operations take.
    ValueError
        Several such columns and none named, or no such column.
    """
    if not hasattr(x, "count_rows") or not hasattr(x, "schema") or not hasattr(x, "take"):
        raise TypeError(
            f"{name} must be a Lance data set, got a {type(x).__module__}.{type(x).__name__}"
        )
    return _Lance(name, x, choose(name, x.schema, column))


class _Lance(RowReader):
    """A column of vectors."""

    def __init__(self, name: str, x: Any, column: str) -> None:
        self.name, self._x, self._column = name, x, column
        lists = storage(x.schema.field(column).type)
        self.dtype = np.dtype(TYPES[str(lists.value_type)])
        rows = int(x.count_rows())
        width = getattr(lists, "list_size", None)  # of other lists the first row's
        self._width = int(width) if width else None
        if self._width is None and rows:
            self._width = self.read(0, 1).shape[1]
        self.shape = (rows, self._width or 0)

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return a copy."""
        table = self._x.to_table(columns=[self._column], offset=start, limit=stop - start)
        return self._rows(table, start)

    def read_spans(self, spans: Sequence[tuple[int, int]]) -> list[NDArray[Any]]:
        """Return several ranges of rows, asked for at once."""
        if len(spans) == 1:
            return [self.read(*spans[0])]
        wanted = [row for start, stop in spans for row in range(start, stop)]
        rows = self._rows(self._x.take(wanted, columns=[self._column]), spans[0][0])
        ends = np.cumsum([stop - start for start, stop in spans])
        return np.split(rows, ends[:-1])

    def _rows(self, table: Any, first: int) -> NDArray[Any]:
        """Return the rows of a table of the one column."""
        rows = list[NDArray[Any]]()
        for chunk in table.column(0).chunks:
            if len(chunk):
                rows.append(
                    vectors(self.name, chunk, column=self._column, width=self._width, first=first)
                )
            first += len(chunk)
        return rows[0] if len(rows) == 1 else np.concatenate(rows)

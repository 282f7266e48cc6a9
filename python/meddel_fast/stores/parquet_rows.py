"""Embeddings in a column of a Parquet file, read a few rows at a time.

A row is a list of numbers, see :mod:`meddel_fast.arrays.kinds.arrow_lists`. That is what pyarrow,
pandas, Polars, datasets, DuckDB and Ray Data write.

Of a row group that is larger than a few MB no more than a batch is decoded at a time, from a
buffered stream, so that memory does not depend on how a file is cut.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from meddel_fast.arrays.kinds.arrow_lists import TYPES, arrow, choose, storage, stored, vectors
from meddel_fast.common.extras import needs
from meddel_fast.common.places import AHEAD, forget, shown

_KEPT = 4 << 20  # bytes: the row group read last stays, if it is not larger when decoded
_BATCH = 1 << 18  # bytes of rows decoded at a time of a larger one
_BUFFER = 1 << 18  # bytes of the file read at a time
_MOST = 22 << 20  # bytes that reading takes, as measured with groups and pages of any size


class Column:
    """A column of embeddings of one file.

    Parameters
    ----------
    place
        The file.
    column
        The column's name, or None for the only one.
    file
        The file opened, where `place` is a URL.

    Attributes
    ----------
    rows, width
        Its shape.
    dtype : numpy.dtype
        Of its numbers, as they are stored.

    Raises
    ------
    TypeError, ValueError
        The file is no Parquet file, has no such column, or one whose rows are no vectors of one
        length. What is only seen when rows are read is refused then, with the row.
    """

    def __init__(self, place: str, column: str | None, file: BinaryIO | None = None) -> None:
        pa = arrow()
        with needs("benchmark"):
            import pyarrow.parquet as pq

        self._name, self._source = shown(place), file
        try:
            # Buffered, or a whole column of a row group is read at once.
            self._file = pq.ParquetFile(
                place if file is None else file,
                memory_map=False,
                buffer_size=_BUFFER,
                pre_buffer=False,
            )
        except pa.ArrowInvalid as error:
            raise ValueError(f"{self._name} is not a whole Parquet file: {error}") from error
        schema = self._file.schema_arrow
        self._column = choose(self._name, schema, column)
        lists = storage(schema.field(self._column).type)
        self.dtype = np.dtype(TYPES[str(lists.value_type)])
        metadata = self._file.metadata
        groups = [metadata.row_group(g).num_rows for g in range(metadata.num_row_groups)]
        self.rows = metadata.num_rows
        self._starts = [0, *accumulate(groups)]
        self._longest = max(groups, default=0)
        self._lock = threading.Lock()
        self._group = -1  # whose batches are under way
        self._batches: Iterator[Any] = iter(())
        self._ready = (0, np.empty((0, 0), self.dtype))  # first row, and rows, decoded last
        fixed = pa.types.is_fixed_size_list(lists)
        self.width = lists.list_size if fixed else self._length_of_first()
        if not fixed:
            self._check_lengths()

    @property
    def beside(self) -> int:
        """Bytes that reading takes beside the rows that it returns: pages, and what is decoded."""
        ahead = 0 if self._source is None else 2 * AHEAD
        return ahead + min(_MOST, (1 << 20) + 4 * self._longest * self.width * self.dtype.itemsize)

    def fill(self, out: NDArray[Any], start: int) -> None:
        """Fill `out` with the rows from `start` on."""
        at, stop = start, start + len(out)
        with self._lock:  # the next part is read by another thread
            while at < stop:
                first, rows = self._decode(at)
                end = min(stop, first + len(rows))
                out[at - start : end - start] = rows[at - first : end - first]
                at = end

    def forget(self) -> None:
        """Let go of what was decoded last."""
        with self._lock:
            self._group, self._batches = -1, iter(())
            self._ready = (0, np.empty((0, self.width), self.dtype))
            if self._source is not None:
                forget(self._source)

    def _decode(self, at: int) -> tuple[int, NDArray[Any]]:
        """Return decoded rows that hold row `at`, and the index of the first of them."""
        first, rows = self._ready
        if first <= at < first + len(rows):
            return self._ready
        group = bisect_right(self._starts, at) - 1
        begin, end = self._starts[group : group + 2]
        if group != self._group or at < first:  # from the group's beginning
            row_bytes = self.width * self.dtype.itemsize
            whole = (end - begin) * row_bytes <= _KEPT
            size = end - begin if whole else max(1, _BATCH // row_bytes)
            self._ready = (begin, np.empty((0, self.width), self.dtype))
            self._group, self._batches = group, self._read(group, size)
        while True:
            first, rows = self._ready
            first += len(rows)
            del rows
            self._ready = (first, np.empty((0, self.width), self.dtype))  # the old one may go
            batch = next(self._batches, None)
            if batch is None:
                raise ValueError(f"{self._name} is damaged: rows of group {group} are missing")
            rows = self._vectors(batch.column(0), first)
            self._ready = (first, rows)
            if at < first + len(rows):
                return self._ready

    def _read(self, group: int, rows: int) -> Iterator[Any]:
        """Go through a row group, some rows at a time."""
        return self._file.iter_batches(  # type: ignore[no-any-return]
            batch_size=rows, row_groups=[group], columns=[self._column], use_threads=False
        )

    def _vectors(self, lists: Any, first: int) -> NDArray[Any]:
        """Return rows as an array of two axes; `first` is the index of the first."""
        return vectors(self._name, lists, column=self._column, width=self.width, first=first)

    def _length_of_first(self) -> int:
        """Return the length of the first row's list."""
        if self.rows == 0:
            return 0
        lists = stored(next(self._read(bisect_right(self._starts, 0) - 1, 1)).column(0))
        self.width = len(lists[0].as_py() or [])
        if self.width == 0 and not lists.null_count:
            raise ValueError(f"{self._name} must hold vectors, row 0 of {self._column!r} is empty")
        self._vectors(lists, 0)
        return self.width

    def _check_lengths(self) -> None:
        """Compare the count of numbers with that of rows; look for the row where they differ."""
        metadata, numbers = self._file.metadata, 0
        for g in range(metadata.num_row_groups):
            group = metadata.row_group(g)
            paths = [group.column(c) for c in range(group.num_columns)]
            numbers += sum(
                c.num_values for c in paths if c.path_in_schema.startswith(f"{self._column}.")
            )
        if numbers != self.rows * self.width:
            at = 0
            while at < self.rows:
                first, rows = self._decode(at)
                at = first + len(rows)

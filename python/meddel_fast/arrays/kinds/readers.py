"""Rows that have to be read, or put together, before they are an array of two axes."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LOG = logging.getLogger(__name__)
_BLOCK = 4096  # rows put together at a time, which stay in the processor's caches


class RowReader(ABC):
    """The (n, d) rows of an object, a range at a time.

    Attributes
    ----------
    name : str
        What errors call them.
    shape : tuple of int
        (n, d).
    dtype : numpy.dtype
        Of what is read: one that the operations take, or uint16 for the bits of bfloat16.
    bfloat16 : bool
        Whether it is these.
    beside : int
        Bytes that reading takes beside the rows that come.
    at_once : bool
        Whether the object is in memory, but not as rows, so that an operation without a budget
        makes them an array; what is not is read in parts.
    """

    name: str
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    bfloat16: bool = False
    beside: int = 0
    at_once: bool = False

    @abstractmethod
    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return rows [start, stop), 0 <= start <= stop <= n."""

    def read_spans(self, spans: Sequence[tuple[int, int]]) -> list[NDArray[Any]]:
        """Return several ranges of rows."""
        return [self.read(start, stop) for start, stop in spans]

    def parts(self) -> list[NDArray[Any]] | None:
        """Return arrays in memory that are all rows, one after the other, if there are such."""
        return None

    def whole(self) -> NDArray[Any]:
        """Return all rows as an array; a copy of what was in pieces is told in the log."""
        parts = self.parts()
        if parts is not None and len(parts) == 1:
            return parts[0]
        rows = self.read(0, self.shape[0])
        if not self.at_once:
            _LOG.info("%s: %d rows, %d bytes, copied into one array", self.name, len(rows),
                      rows.nbytes)  # fmt: skip
        return rows


class Chunks(RowReader):
    """Arrays of rows of one type and width, which follow each other, in memory."""

    def __init__(self, name: str, arrays: Sequence[NDArray[Any]]) -> None:
        self.name, self._arrays = name, list(arrays)
        self._starts = [0, *accumulate(map(len, arrays))]
        self.shape, self.dtype = (self._starts[-1], arrays[0].shape[1]), arrays[0].dtype

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return a view where the rows are in one chunk."""
        pieces = [
            array[max(0, start - first) : stop - first]
            for first, array in zip(self._starts, self._arrays, strict=False)
            if first < stop and first + len(array) > start
        ]
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces or self._arrays[0][:0])

    def parts(self) -> list[NDArray[Any]]:
        """Return the chunks."""
        return self._arrays


class Columns(RowReader):
    """Columns of numbers of one type, in memory, as rows.

    `columns` has a function for each, which returns its elements [start, stop).
    """

    at_once = True

    def __init__(
        self,
        name: str,
        columns: Sequence[Callable[[int, int], NDArray[Any]]],
        rows: int,
        dtype: np.dtype[Any],
    ) -> None:
        self.name, self._columns = name, columns
        self.shape, self.dtype = (rows, len(columns)), dtype

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return a copy."""
        out = np.empty((stop - start, self.shape[1]), self.dtype)
        for at in range(start, stop, _BLOCK):
            end = min(stop, at + _BLOCK)
            for place, column in enumerate(self._columns):
                out[at - start : end - start, place] = column(at, end)
        return out

"""Ranges of rows that hold few enough pairs each, for where all at once might not fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

T = TypeVar("T", bound=tuple[Any, ...])

# The rows of a chunk follow from what the last one held. An attempt that finds too many pairs is
# lost work, of up to max_pairs pairs: on clusters, and on walks whose frames lie in order, these
# lost the least (simulated for 3 to 100 chunks).
FILLED = 0.6  # of max_pairs, aimed at
GROWTH = 4  # at most so many times the last chunk's rows
FEWER = 16  # where too many were found: divide by this before there is a chunk to go by, then by 2


def in_chunks(
    n: int, columns: int, max_pairs: int, find: Callable[[range, int], T]
) -> Iterator[tuple[range, T]]:
    """Take as many of n rows at a time as seem to hold few enough pairs; fewer if they do not.

    ``find(rows, limit)`` returns a tuple that begins with an array of as many entries as pairs, and
    raises OverflowError where there are more than `limit`. One row has at most `columns` pairs.
    """
    begin, size = 0, n
    while begin < n:
        rows = range(begin, min(n, begin + size))
        limit = max_pairs if len(rows) > 1 else max(max_pairs, columns)
        try:
            chunk = find(rows, limit)
        except OverflowError:
            size = max(1, len(rows) // (2 if begin else FEWER))
            continue
        filled = len(chunk[0]) / (FILLED * max_pairs)
        yield rows, chunk
        del chunk  # while the next one is made
        begin = rows.stop
        size = max(1, int(len(rows) / max(filled, 1 / GROWTH)))

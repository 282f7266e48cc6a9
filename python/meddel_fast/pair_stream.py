"""Similar pairs chunk by chunk, where all at once might not fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from meddel_fast.arrays import check_float, check_int, choose_device, resolve_threads
from meddel_fast.floating_point import exactly
from meddel_fast.ops import (
    SimilarPairsResult,
    checked_two,
    needs_parts,
    on_parts,
    pairs_of_range,
)

T = TypeVar("T", bound=tuple[Any, ...])

# The rows of a chunk follow from what the last one held. An attempt that finds too many pairs is
# lost work, of up to max_pairs pairs: on clusters, and on walks whose frames lie in order, these
# lost the least (simulated for 3 to 100 chunks).
FILLED = 0.6  # of max_pairs, aimed at
GROWTH = 4  # at most so many times the last chunk's rows
FEWER = 16  # where too many were found: divide by this before there is a chunk to go by, then by 2


@exactly
def iter_similar_pairs(
    x: Any,
    y: Any | None = None,
    *,
    threshold: float = 0.95,
    max_pairs: int = 10_000_000,
    memory: int | str | None = None,
    threads: int | None = None,
    device: Any | None = None,
) -> Iterator[SimilarPairsResult]:
    """Find every pair of samples whose cosine is at or above a threshold, chunk by chunk.

    Put together, the chunks are what :func:`similar_pairs` returns, however many pairs that is;
    one chunk serves where no more than max_pairs are found. The input is checked by the call; it
    must not change before the last chunk.

    Parameters
    ----------
    x : array of shape (n, d)
        Samples.
    y : array of shape (m, d), optional
        A second set: pairs are then between the two. Where the types differ both are widened to
        float32.
    threshold : float
        From -1 to 1.
    max_pairs : int
        Pairs a chunk, at least 1. All pairs of one row of x come in one chunk, though, be they
        more.
    memory, threads, device : optional
        See the module :mod:`meddel_fast.ops`; with a store or `memory`, a chunk holds no more pairs
        than a quarter of it does.

    Yields
    ------
    SimilarPairsResult
        i, j and similarity as of :func:`similar_pairs`, for some rows i that follow those of the
        chunk before; at least one chunk, some may be empty.

    Raises
    ------
    TypeError, ValueError
        For input of wrong type or shape, with NaN or infinities, or out of range.

    Notes
    -----
    Memory, beside what :func:`similar_pairs` takes for rows: while a chunk is made 44 bytes (96 on
    a GPU) for each of up to max_pairs pairs, or of a row's, if they are more, and 16 MiB a thread;
    then 24 bytes for each pair of the chunk, until it is dropped.
    """
    if needs_parts(x, y, memory=memory, group=None):
        return on_parts(  # type: ignore[no-any-return]
            "iter_similar_pairs", device, x, y,
            threshold=threshold, max_pairs=max_pairs, memory=memory, threads=threads,
        )  # fmt: skip
    threads = resolve_threads(threads)
    threshold = check_float("threshold", threshold, -1.0, 1.0)
    max_pairs = check_int("max_pairs", max_pairs, 1)
    on = choose_device(device, x=x, y=y)
    return _chunks(*checked_two(x, y, threads, on), threshold, max_pairs, threads, on)


def _chunks(
    x: Any, y: Any | None, threshold: float, max_pairs: int, threads: int, on: Any
) -> Iterator[SimilarPairsResult]:
    def find(rows: range, limit: int) -> SimilarPairsResult:
        return pairs_of_range(x, y, rows, threshold, limit, threads, on)

    for _, chunk in in_chunks(x.n, x.n if y is None else y.n, max_pairs, find):
        yield chunk
        del chunk  # while the next one is made


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

"""Similar pairs: all at once, or by ranges of rows where they might not fit into memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from meddel_fast.arrays import (
    SimilarPairsResult,
    check_float,
    check_int,
    choose_device,
    in_chunks,
    resolve_threads,
)
from meddel_fast.ops._call import checked_two, core_of, operation, pairs_allowed, too_many_pairs

if TYPE_CHECKING:
    from meddel_fast.common.files import Progress


@operation
def similar_pairs(
    x: Any,
    y: Any | None = None,
    *,
    threshold: float = 0.95,
    max_pairs: int | None = None,
    memory: int | str | None = None,
    group: Any | None = None,
    checkpoint: Any | None = None,
    threads: int | None = None,
    device: Any | None = None,
    progress: Progress | None = None,
) -> SimilarPairsResult:
    """Find every pair of samples whose cosine is at or above a threshold.

    Parameters
    ----------
    x : array of shape (n, d)
        Samples.
    y : array of shape (m, d), optional
        A second set: pairs are then between the two (train and test leakage, say). Where the
        types differ both are widened to float32.
    threshold : float
        From -1 to 1. (For 'strictly above t' pass ``numpy.nextafter(t, 2)``.)
    max_pairs : int, optional
        Give up beyond so many. By default what fits into half of the free memory.
    memory, group, checkpoint, threads, device, progress : optional
        As of all operations, see :mod:`meddel_fast.ops`.

    Returns
    -------
    i, j : int64 arrays of shape (p,)
        Rows of x and of y (of x, i < j, for one set), sorted by (i, j).
    similarity : float64 array of shape (p,)
        Their cosine.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As of all operations, see :mod:`meddel_fast.ops`.
    MemoryError
        When more than max_pairs are found; the message says how many there were so far.

    See Also
    --------
    iter_similar_pairs : the same in chunks, for more pairs than fit into memory.

    Notes
    -----
    O(n m d) at worst, no (n, m) matrix in memory.
    """
    threads = resolve_threads(threads)
    threshold = check_float("threshold", threshold, -1.0, 1.0)
    on = choose_device(device, x=x, y=y)
    first, second = checked_two(x, y, threads, on)
    limit = pairs_allowed(max_pairs, first.n * (second or first).n, on)
    try:
        return pairs_of_range(first, second, range(first.n), threshold, limit, threads, on)
    except OverflowError as error:
        way_out = (
            "iterate over iter_similar_pairs, which holds a part of them (of memory=) at a time"
        )
        raise too_many_pairs(error, limit, threshold, way_out) from None


def pairs_of_range(
    x: Any, y: Any | None, rows: range, threshold: float, max_pairs: int, threads: int, on: Any
) -> SimilarPairsResult:
    """Return the pairs of :func:`similar_pairs` whose i is among these adjacent rows of x.

    Takes the sets of :func:`checked_two`. Raises OverflowError, with how many there were so far,
    soon after max_pairs are found.
    """
    out = core_of(on).similar_pairs(
        x.matrix, None if y is None else y.matrix, rows.start, rows.stop, threshold, max_pairs,
        threads,
    )  # fmt: skip
    return SimilarPairsResult(*x.back(*out))


@operation
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
        As of all operations, see :mod:`meddel_fast.ops`; with a store or `memory`, a chunk holds no
        more pairs than a quarter of it does.

    Yields
    ------
    SimilarPairsResult
        i, j and similarity as of :func:`similar_pairs`, for some rows i that follow those of the
        chunk before; at least one chunk, some may be empty.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As of all operations, see :mod:`meddel_fast.ops`.

    Notes
    -----
    Memory, beside what :func:`similar_pairs` takes for rows: while a chunk is made 44 bytes (96 on
    a GPU) for each of up to max_pairs pairs, or of a row's, if they are more, and 16 MiB a thread;
    then 24 bytes for each pair of the chunk, until it is dropped.
    """
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

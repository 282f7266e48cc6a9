"""The k most similar samples of a set for each sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meddel_fast.arrays import TopKResult, check_int, choose_device, resolve_threads
from meddel_fast.ops._call import checked_two, core_of, operation

if TYPE_CHECKING:
    from meddel_fast.common.files import Progress


@operation
def topk_similarity(
    x: Any,
    y: Any | None = None,
    k: int = 1,
    *,
    memory: int | str | None = None,
    group: Any | None = None,
    threads: int | None = None,
    device: Any | None = None,
    progress: Progress | None = None,
) -> TopKResult:
    """Find the k most similar samples of a set for each sample.

    Parameters
    ----------
    x : array of shape (n, d)
        Samples.
    y : array of shape (m, d), optional
        The set to search; x itself without the sample when not given. Where the types differ both
        are widened to float32.
    k : int
        1 to m (to n - 1 without y).
    memory, group, threads, device, progress : optional
        As of all operations, see :mod:`meddel_fast.ops`.

    Returns
    -------
    similarity : float64 array of shape (n, k)
        Cosines, falling along a row.
    indices : int64 array of shape (n, k)
        Rows of y, rising among equal cosines.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As of all operations, see :mod:`meddel_fast.ops`.

    Notes
    -----
    O(n m d) at worst, no (n, m) matrix in memory.
    """
    threads = resolve_threads(threads)
    on = choose_device(device, x=x, y=y)
    core, (first, second) = core_of(on), checked_two(x, y, threads, on)
    if second is None:
        if first.n < 2:
            raise ValueError("x must have at least 2 rows when y is not given, got 1")
        k = check_int("k", k, 1, first.n - 1, " (the other rows of x)")
    else:
        k = check_int("k", k, 1, second.n, " (the rows of y)")
    out = core.topk_similarity(first.matrix, None if second is None else second.matrix, k, threads)
    return TopKResult(*first.back(*out))

"""k-center greedy: each next sample is the one farthest from all chosen before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meddel_fast.arrays import (
    KCenterResult,
    check_centres,
    check_choice,
    choose_device,
    resolve_threads,
)
from meddel_fast.ops._call import checked, core_of, operation

if TYPE_CHECKING:
    from meddel_fast.common.files import Progress


@operation
def kcenter_greedy(
    x: Any,
    k: int | None = None,
    *,
    radius: float | None = None,
    metric: str = "euclidean",
    start: int = 0,
    selected: Any | None = None,
    distances: bool = True,
    memory: int | str | None = None,
    group: Any | None = None,
    checkpoint: Any | None = None,
    threads: int | None = None,
    device: Any | None = None,
    progress: Progress | None = None,
) -> KCenterResult:
    """Choose samples, each the one farthest from all chosen before it.

    The greedy 2-approximation of the k-center problem (Gonzalez 1985), the core-set selection of
    Sener and Savarese (2018).

    Parameters
    ----------
    x : array of shape (n, d)
        Samples.
    k : int, optional
        How many to choose, 1 to n (to n less the already selected ones).
    radius : float, optional
        Stop when every sample is within this distance of a centre. Give k, radius or both:
        whichever ends first.
    metric : {"euclidean", "cosine"}
        Cosine distance is 1 - cosine.
    start : int
        The first one chosen; not used when some are selected already.
    selected : int array of shape (m,), optional
        Samples that are centres already; they are not chosen again nor returned.
    distances : bool
        Whether the distances of all samples are wanted. The choice alone takes less time: most
        samples need not be compared with most centres for it.
    memory, group, checkpoint, threads, device, progress : optional
        As of all operations, see :mod:`meddel_fast.ops`.

    Returns
    -------
    indices : int64 array of shape (c,)
        The chosen samples, in order; c = k unless radius ended it.
    radii : float64 array of shape (c,)
        Distance of each, when chosen, to the centres before it; infinite for a first one.
        Never rising.
    distances : float64 array of shape (n,)
        Distance of each sample to its nearest centre; 0 for centres. None if not wanted.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As of all operations, see :mod:`meddel_fast.ops`.

    Notes
    -----
    O(n k d) at worst.
    """
    threads = resolve_threads(threads)
    check_choice("metric", metric, ("euclidean", "cosine"))
    on = choose_device(device, x=x)
    core, rows = core_of(on), checked("x", x, threads, on, finite=False)
    k, limit, centres, start = check_centres(rows.n, k, radius, start, selected)
    indices, radii, nearest = core.kcenter_greedy(
        rows.matrix, k, limit, metric == "cosine", start, centres.tolist(), bool(distances), threads
    )
    indices, radii, nearest = rows.back(indices, radii, nearest)
    return KCenterResult(indices, radii, nearest if distances else None)

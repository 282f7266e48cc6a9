"""Which samples to keep so that near duplicates are left out, by one of three rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meddel_fast.arrays import (
    DeduplicateResult,
    check_choice,
    check_float,
    check_labels,
    check_order,
    choose_device,
    resolve_threads,
)
from meddel_fast.ops._call import checked, core_of, operation, pairs_allowed, too_many_pairs

if TYPE_CHECKING:
    from meddel_fast.common.files import Progress


@operation
def deduplicate(
    x: Any,
    threshold: float = 0.95,
    *,
    rule: str = "semdedup",
    order: Any | None = None,
    labels: Any | None = None,
    max_pairs: int | None = None,
    memory: int | str | None = None,
    group: Any | None = None,
    checkpoint: Any | None = None,
    threads: int | None = None,
    device: Any | None = None,
    progress: Progress | None = None,
) -> DeduplicateResult:
    """Decide which samples to keep so that near duplicates are left out.

    Two samples are similar when their cosine is at or above the threshold.

    Parameters
    ----------
    x : array of shape (n, d)
        Samples.
    threshold : float
        From -1 to 1. (SemDeDup itself drops strictly above: pass ``numpy.nextafter(t, 2)``.)
    rule : {"semdedup", "greedy", "components"}
        A sample is dropped when any earlier sample is similar, even one that was dropped itself
        (semdedup); when an earlier kept sample is similar (greedy: no kept sample is similar to
        another, each dropped one is to a kept one); when it is not the first of its connected
        component of similar pairs (components).
    order : int array of shape (n,), optional
        A permutation: the samples from first to last. Default: by index.
    labels : int array of shape (n,), optional
        Clusters: only samples of the same one are compared.
    max_pairs : int, optional
        Rules greedy and components hold all similar pairs (those of equal rows once): give up
        beyond so many. By default what fits into half of the free memory. With `memory` pairs are
        used up as they are found, and there is no such limit.
    memory, group, checkpoint, threads, device, progress : optional
        As of all operations, see :mod:`meddel_fast.ops`.

    Returns
    -------
    keep : bool array of shape (n,)
        Whether a sample is kept.
    representative : int64 array of shape (n,)
        The sample itself when kept; else the most similar one of those that can drop it (the
        lowest index among equals), or the first of the component.
    similarity : float64 array of shape (n,)
        Cosine to the representative; NaN for kept samples.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As of all operations, see :mod:`meddel_fast.ops`.
    MemoryError
        When more than max_pairs are found.
    """
    threads = resolve_threads(threads)
    threshold = check_float("threshold", threshold, -1.0, 1.0)
    check_choice("rule", rule, ("semdedup", "greedy", "components"))
    on = choose_device(device, x=x)
    core, rows = core_of(on), checked("x", x, threads, on)
    limit = pairs_allowed(max_pairs, rows.n * rows.n, on)
    order, labels = check_order(order, rows.n), check_labels(labels, rows.n)
    try:
        representative, similarity = core.deduplicate(
            rows.matrix, threshold, rule, order, labels, limit, threads
        )
    except OverflowError as error:
        way_out = (
            'pass memory= ("2GB", say), which uses pairs up as they are found, or labels to '
            "compare inside clusters only"
        )
        raise too_many_pairs(error, limit, threshold, way_out) from None
    keep = similarity != similarity  # NaN
    return DeduplicateResult(*rows.back(keep, representative, similarity))

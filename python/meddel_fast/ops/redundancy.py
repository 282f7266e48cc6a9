"""Redundancy: for each sample the most similar earlier one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meddel_fast.arrays import (
    RedundancyResult,
    check_labels,
    check_order,
    choose_device,
    resolve_threads,
)
from meddel_fast.ops._call import checked, core_of, operation

if TYPE_CHECKING:
    from meddel_fast.common.files import Progress


@operation
def redundancy(
    x: Any,
    *,
    order: Any | None = None,
    labels: Any | None = None,
    memory: int | str | None = None,
    group: Any | None = None,
    checkpoint: Any | None = None,
    threads: int | None = None,
    device: Any | None = None,
    progress: Progress | None = None,
) -> RedundancyResult:
    """Find, for each sample, the most similar earlier one.

    This is M of SemDeDup (Abbas et al. 2023): dropping the samples with M above a threshold gives
    its selection for that threshold, so that one pass serves all thresholds.

    Parameters
    ----------
    x : array of shape (n, d)
        Samples.
    order : int array of shape (n,), optional
        A permutation: the samples from first to last. Default: by index.
    labels : int array of shape (n,), optional
        Clusters: only samples of the same one are compared.
    memory, group, checkpoint, threads, device, progress : optional
        As of all operations, see :mod:`meddel_fast.ops`.

    Returns
    -------
    similarity : float64 array of shape (n,)
        Highest cosine to an earlier sample (of its cluster); minus infinity if there is none.
    neighbor : int64 array of shape (n,)
        That sample, the lowest index among equals; -1 if there is none.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As of all operations, see :mod:`meddel_fast.ops`.

    Notes
    -----
    O(d sum of squared cluster sizes) at worst.
    """
    threads = resolve_threads(threads)
    on = choose_device(device, x=x)
    core, rows = core_of(on), checked("x", x, threads, on)
    out = core.redundancy(
        rows.matrix, check_order(order, rows.n), check_labels(labels, rows.n), threads
    )
    return RedundancyResult(*rows.back(*out))

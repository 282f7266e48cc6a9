"""The kernels' public functions: check the input, choose the device, make one call.

All take numpy arrays or torch tensors of shape (n, d) in float32, float16, bfloat16 (torch),
float64 (rounded to float32 first) or int8, contiguous or not, also memory-mapped, and return
arrays of the kind that came in. All are exact: results equal those of
:mod:`meddel_fast.reference` bit for bit, on every device and instruction set and for any number of
threads, and ties go to the lowest index. A zero row has cosine 0 to everything.

``device=None`` works where the samples live: on the GPU for CUDA tensors, with results on it, on
its current stream. ``device="cuda"`` (or ``"cuda:1"``) sends numpy arrays and CPU tensors there, in
chunks where they do not fit, and brings the results back. That takes torch, triton and, for
k-center and the rule "components", the CUDA extension.

x and y may also be a :class:`meddel_fast.store.Store`, of files larger than memory. Work then goes
part by part within ``memory``: bytes, or a text such as ``"512MB"``, by default half of what is
free. ``group`` (:func:`meddel_fast.cluster.join_group`) spreads it over processes, each of which
passes the same set, or :class:`meddel_fast.store.LocalRows`. Either may be given for an array too.
Such calls run on the CPU.

``threads=None`` means MEDDEL_THREADS, else all cores that the process may use. No more threads are
started than there is work for, nor than twice the machine's cores (or 64, if that is more); where
the system refuses one, those that there are do the work. Ctrl-C stops a running call within a
second.

``progress`` is called as ``progress(done, total)``, see :func:`meddel_fast.progress.reporting`;
units are centres for k-center (as many again for the distances at the end), seeds and then rows
times iterations for k-means, rows for the others. A GPU reports nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from meddel_fast import _core
from meddel_fast.arrays import (
    check_choice,
    check_float,
    check_index_vector,
    check_int,
    check_labels,
    check_order,
    check_rows,
    check_two,
    choose_device,
    in_kind,
    resolve_threads,
)
from meddel_fast.floating_point import exactly
from meddel_fast.progress import reports
from meddel_fast.resources import free_memory
from meddel_fast.store import LocalRows, Store

if TYPE_CHECKING:
    from meddel_fast.files import Progress

# Held for a pair at the peak, as measured on 10 million: (index, cosine) as it is collected, which
# the allocator keeps when it is freed, and (index, index, cosine) in the result.
PAIR_BYTES = 44

# Fields are numpy arrays, or torch tensors when x was one.


class KCenterResult(NamedTuple):
    """Result of :func:`kcenter_greedy`."""

    indices: Any
    radii: Any
    distances: Any


class SimilarPairsResult(NamedTuple):
    """Result of :func:`similar_pairs`."""

    i: Any
    j: Any
    similarity: Any


class RedundancyResult(NamedTuple):
    """Result of :func:`redundancy`."""

    similarity: Any
    neighbor: Any


class TopKResult(NamedTuple):
    """Result of :func:`topk_similarity`."""

    similarity: Any
    indices: Any


class KMeansResult(NamedTuple):
    """Result of :func:`kmeans`."""

    labels: Any
    centroids: Any
    distances: Any
    inertia: float
    iterations: int
    converged: bool


class DeduplicateResult(NamedTuple):
    """Result of :func:`deduplicate`."""

    keep: Any
    representative: Any
    similarity: Any


@reports
@exactly
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
    memory, group, threads, device, progress : optional
        See the module.

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
    TypeError, ValueError
        For input of wrong type or shape, with NaN or infinities, or out of range.
    RuntimeError
        If the device cannot be used.

    Notes
    -----
    O(n k d) at worst.
    """
    if needs_parts(x, memory=memory, group=group):
        return on_parts(  # type: ignore[no-any-return]
            "kcenter_greedy", device, x, k, radius=radius, metric=metric, start=start,
            selected=selected, distances=distances,
            memory=memory, group=group, threads=threads,
        )  # fmt: skip
    threads = resolve_threads(threads)
    check_choice("metric", metric, ("euclidean", "cosine"))
    on = choose_device(device, x=x)
    core, rows = _core_of(on), _checked("x", x, threads, on)
    k, limit, centres, start = check_centres(rows.n, k, radius, start, selected)
    indices, radii, nearest = core.kcenter_greedy(
        rows.array, k, limit, metric == "cosine", start, centres.tolist(), bool(distances), threads
    )
    indices, radii, nearest = rows.back(indices, radii, nearest)
    return KCenterResult(indices, radii, nearest if distances else None)


def check_centres(
    n: int, k: int | None, radius: float | None, start: int, selected: Any | None
) -> tuple[int, float, NDArray[np.int64], int]:
    """Check what :func:`kcenter_greedy` is asked for: k, radius (or -1), centres, start."""
    centres = np.zeros(0, dtype=np.int64)
    if selected is not None:
        centres = check_index_vector("selected", selected, None)
        if len(centres) and not 0 <= centres.min() <= centres.max() < n:
            raise ValueError(f"selected must be rows of x, 0 to {n - 1}")
        if len(np.unique(centres)) < len(centres):
            raise ValueError("selected must not hold a sample twice")
    why = " (the rows of x less the selected ones)" if len(centres) else " (the rows of x)"
    if k is None and radius is None:
        raise ValueError("give k, radius or both: neither came")
    limit = -1.0 if radius is None else check_float("radius", radius, 0.0, float(np.finfo("d").max))
    if k is not None or len(centres) == n:
        k = check_int("k", n if k is None else k, 1, n - len(centres), why)
    else:
        k = n - len(centres)
    return k, limit, centres, check_int("start", start, 0, n - 1)


@reports
@exactly
def similar_pairs(
    x: Any,
    y: Any | None = None,
    *,
    threshold: float = 0.95,
    max_pairs: int | None = None,
    memory: int | str | None = None,
    group: Any | None = None,
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
    memory, group, threads, device, progress : optional
        See the module.

    Returns
    -------
    i, j : int64 arrays of shape (p,)
        Rows of x and of y (of x, i < j, for one set), sorted by (i, j).
    similarity : float64 array of shape (p,)
        Their cosine.

    Raises
    ------
    TypeError, ValueError
        For input of wrong type or shape, with NaN or infinities, or out of range.
    RuntimeError
        If the device cannot be used.
    MemoryError
        When more than max_pairs are found; the message says how many there were so far.

    See Also
    --------
    iter_similar_pairs : the same in chunks, for more pairs than fit into memory.

    Notes
    -----
    O(n m d) at worst, no (n, m) matrix in memory.
    """
    if needs_parts(x, y, memory=memory, group=group):
        return on_parts(  # type: ignore[no-any-return]
            "similar_pairs", device, x, y, threshold=threshold, max_pairs=max_pairs,
            memory=memory, group=group, threads=threads,
        )  # fmt: skip
    threads = resolve_threads(threads)
    threshold = check_float("threshold", threshold, -1.0, 1.0)
    on = choose_device(device, x=x, y=y)
    first, second = checked_two(x, y, threads, on)
    limit = _max_pairs(max_pairs, on)
    try:
        return pairs_of_range(first, second, range(first.n), threshold, limit, threads, on)
    except OverflowError as error:
        way_out = (
            "iterate over iter_similar_pairs, which holds a part of them (of memory=) at a time"
        )
        raise _too_many_pairs(error, limit, threshold, way_out) from None


def pairs_of_range(
    x: Any, y: Any | None, rows: range, threshold: float, max_pairs: int, threads: int, on: Any
) -> SimilarPairsResult:
    """Return the pairs of :func:`similar_pairs` whose i is among these adjacent rows of x.

    Takes the sets of :func:`checked_two`. Raises OverflowError, with how many there were so far,
    soon after max_pairs are found.
    """
    out = _core_of(on).similar_pairs(
        x.array, None if y is None else y.array, rows.start, rows.stop, threshold, max_pairs,
        threads,
    )  # fmt: skip
    return SimilarPairsResult(*x.back(*out))


@reports
@exactly
def redundancy(
    x: Any,
    *,
    order: Any | None = None,
    labels: Any | None = None,
    memory: int | str | None = None,
    group: Any | None = None,
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
    memory, group, threads, device, progress : optional
        See the module.

    Returns
    -------
    similarity : float64 array of shape (n,)
        Highest cosine to an earlier sample (of its cluster); minus infinity if there is none.
    neighbor : int64 array of shape (n,)
        That sample, the lowest index among equals; -1 if there is none.

    Raises
    ------
    TypeError, ValueError
        For input of wrong type or shape, with NaN or infinities, or out of range.
    RuntimeError
        If the device cannot be used.

    Notes
    -----
    O(d sum of squared cluster sizes) at worst.
    """
    if needs_parts(x, memory=memory, group=group):
        return on_parts(  # type: ignore[no-any-return]
            "redundancy", device, x, order=order, labels=labels,
            memory=memory, group=group, threads=threads,
        )  # fmt: skip
    threads = resolve_threads(threads)
    on = choose_device(device, x=x)
    core, rows = _core_of(on), _checked("x", x, threads, on)
    out = core.redundancy(
        rows.array, check_order(order, rows.n), check_labels(labels, rows.n), threads
    )
    return RedundancyResult(*rows.back(*out))


@reports
@exactly
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
        See the module.

    Returns
    -------
    similarity : float64 array of shape (n, k)
        Cosines, falling along a row.
    indices : int64 array of shape (n, k)
        Rows of y, rising among equal cosines.

    Raises
    ------
    TypeError, ValueError
        For input of wrong type or shape, with NaN or infinities, or out of range.
    RuntimeError
        If the device cannot be used.

    Notes
    -----
    O(n m d) at worst, no (n, m) matrix in memory.
    """
    if needs_parts(x, y, memory=memory, group=group):
        return on_parts(  # type: ignore[no-any-return]
            "topk_similarity", device, x, y, k,
            memory=memory, group=group, threads=threads,
        )  # fmt: skip
    threads = resolve_threads(threads)
    on = choose_device(device, x=x, y=y)
    core, (first, second) = _core_of(on), checked_two(x, y, threads, on)
    if second is None:
        if first.n < 2:
            raise ValueError("x must have at least 2 rows when y is not given, got 1")
        k = check_int("k", k, 1, first.n - 1, " (the other rows of x)")
    else:
        k = check_int("k", k, 1, second.n, " (the rows of y)")
    out = core.topk_similarity(first.array, None if second is None else second.array, k, threads)
    return TopKResult(*first.back(*out))


@reports
@exactly
def kmeans(
    x: Any,
    k: int,
    *,
    spherical: bool = True,
    max_iterations: int = 100,
    seed: int = 0,
    init: Any | None = None,
    memory: int | str | None = None,
    group: Any | None = None,
    threads: int | None = None,
    device: Any | None = None,
    progress: Progress | None = None,
) -> KMeansResult:
    """Cluster samples by Lloyd's k-means, seeded by k-means++.

    Assignment is exact; centroid sums run in fp64 in one fixed order and are rounded to fp32 once
    an iteration, so that every device and number of threads takes the same path.

    Parameters
    ----------
    x : array of shape (n, d)
        Samples.
    k : int
        Number of clusters, 1 to n.
    spherical : bool
        Cluster directions by cosine (centroids have norm 1) rather than points by Euclidean
        distance.
    max_iterations : int
        Stop after so many updates even if labels still change; 0 only assigns.
    seed : int
        Of k-means++ (Arthur and Vassilvitskii 2007), which is not run when init is given.
    init : float array of shape (k, d), optional
        First centroids.
    memory, group, threads, device, progress : optional
        See the module.

    Returns
    -------
    labels : int64 array of shape (n,)
        Nearest centroid.
    centroids : float32 array of shape (k, d)
        A cluster that lost its members takes the sample that is farthest from its centroid.
    distances : float64 array of shape (n,)
        To the nearest centroid: 1 - cosine when spherical, else squared Euclidean.
    inertia : float
        Their sum.
    iterations : int
        Updates made.
    converged : bool
        Whether the last update changed no label.

    Raises
    ------
    TypeError, ValueError
        For input of wrong type or shape, with NaN or infinities, or out of range.
    RuntimeError
        If the device cannot be used.

    Notes
    -----
    O(n k d) an iteration at worst.
    """
    if needs_parts(x, memory=memory, group=group):
        return on_parts(  # type: ignore[no-any-return]
            "kmeans", device, x, k, spherical=spherical, max_iterations=max_iterations, seed=seed,
            init=init, memory=memory, group=group, threads=threads,
        )  # fmt: skip
    threads = resolve_threads(threads)
    max_iterations = check_int("max_iterations", max_iterations, 0)
    seed = check_int("seed", seed, 0)
    on = choose_device(device, x=x, init=init)
    core, rows = _core_of(on), _checked("x", x, threads, on)
    k = check_int("k", k, 1, rows.n, " (the rows of x)")
    if init is None:
        uniforms = np.random.default_rng(seed).random(k).tolist()
        seeds = core.kmeans_plus_plus(rows.array, bool(spherical), uniforms, threads)
        centroids = rows.floats(seeds)
    else:
        given = _checked("init", init, threads, on)
        if (given.n, given.d) != (k, rows.d):
            raise ValueError(f"init must have shape {(k, rows.d)}, got {(given.n, given.d)}")
        centroids = given.floats()
    labels, centroids, distances, inertia, iterations, converged = core.kmeans(
        rows.array, centroids, max_iterations, bool(spherical), threads
    )
    labels, centroids, distances = rows.back(labels, centroids, distances)
    return KMeansResult(labels, centroids, distances, inertia, iterations, converged)


@reports
@exactly
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
    memory, group, threads, device, progress : optional
        See the module.

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
    TypeError, ValueError
        For input of wrong type or shape, with NaN or infinities, or out of range.
    RuntimeError
        If the device cannot be used.
    MemoryError
        When more than max_pairs are found.
    """
    if needs_parts(x, memory=memory, group=group):
        return on_parts(  # type: ignore[no-any-return]
            "deduplicate", device, x, threshold, rule=rule, order=order, labels=labels,
            memory=memory, group=group, threads=threads,
        )  # fmt: skip
    threads = resolve_threads(threads)
    threshold = check_float("threshold", threshold, -1.0, 1.0)
    check_choice("rule", rule, ("semdedup", "greedy", "components"))
    on = choose_device(device, x=x)
    core, rows = _core_of(on), _checked("x", x, threads, on)
    limit = _max_pairs(max_pairs, on)
    order, labels = check_order(order, rows.n), check_labels(labels, rows.n)
    try:
        representative, similarity = core.deduplicate(
            rows.array, threshold, rule, order, labels, limit, threads
        )
    except OverflowError as error:
        way_out = (
            'pass memory= ("2GB", say), which uses pairs up as they are found, or labels to '
            "compare inside clusters only"
        )
        raise _too_many_pairs(error, limit, threshold, way_out) from None
    keep = similarity != similarity  # NaN
    return DeduplicateResult(*rows.back(keep, representative, similarity))


def needs_parts(*sets: Any, memory: Any | None, group: Any | None) -> bool:
    """Whether a call goes to :mod:`meddel_fast.sharded`."""
    if memory is not None or group is not None:
        return True
    return any(isinstance(x, (Store, LocalRows)) for x in sets)


def on_parts(operation: str, device: Any | None, x: Any, *args: Any, **how: Any) -> Any:
    """Do an operation of :mod:`meddel_fast.sharded`; results are of the kind of x.

    (It builds on this module.)
    """
    if device is not None and str(device) != "cpu":
        raise ValueError(f"device must be 'cpu' where the rows are in parts, got {str(device)!r}")
    sharded = importlib.import_module("meddel_fast.sharded")
    found = getattr(sharded, operation)(x, *args, **how)
    return in_kind(x.rows if isinstance(x, LocalRows) else x, found)


# One of two: _core with checked numpy arrays, or gpu, the same functions with samples on their way
# to the device.


def _core_of(on: Any | None) -> Any:
    return _core if on is None else _gpu()


def _gpu() -> Any:
    return importlib.import_module("meddel_fast.gpu")  # imports torch and triton


def _checked(name: str, x: Any, threads: int, on: Any | None) -> Any:
    return check_rows(name, x, threads) if on is None else _gpu().Samples(name, x, on)


def checked_two(x: Any, y: Any | None, threads: int, on: Any | None) -> tuple[Any, Any]:
    """Check one set or two, for the CPU (None) or a device, and return them as _core takes them."""
    return check_two(x, y, threads) if on is None else _gpu().two_samples(x, y, on)


def _max_pairs(max_pairs: int | None, on: Any | None) -> int:
    if max_pairs is not None:
        return check_int("max_pairs", max_pairs, 0)
    if on is not None:
        return int(_gpu().room_for_pairs(on))
    return free_memory() // 2 // PAIR_BYTES


def _too_many_pairs(
    error: OverflowError, limit: int, threshold: float, way_out: str
) -> MemoryError:
    found = error.args[0]
    return MemoryError(
        f"more than max_pairs = {limit} pairs have a cosine of {threshold} or more: gave up after "
        f"{found}; raise the threshold, or {way_out}"
    )

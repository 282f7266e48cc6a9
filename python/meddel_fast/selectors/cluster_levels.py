"""Hierarchical k-means with resampling (Vo et al. 2024): clusters, clusters of centroids, ..."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast import ops
from meddel_fast.arrays import check_choice, check_int, resolve_threads
from meddel_fast.common.floating_point import exactly
from meddel_fast.common.progress import counted, reports
from meddel_fast.selectors.base import check_rows, to_numpy
from meddel_fast.selectors.hierarchy import HierarchyResult, rows_sha256

if TYPE_CHECKING:
    from meddel_fast.common.files import Progress

Int = NDArray[np.int64]

METRICS = ("euclidean", "cosine")
RESAMPLINGS = 10
MAX_ITERATIONS = 10

_LEAF = 10  # samples a cluster of the finest level, unless told otherwise
_SPLIT = 1024  # clusters beyond which seeds are found in two steps


def default_levels(n: int) -> list[int]:
    """Return n / 10, sqrt(n), and between them the root of their product; sqrt(n) for small n.

    Leaves of ten samples; a coarsest level of more clusters than there are concepts, as a rule,
    since the budget is divided evenly among its clusters (for the 743 M images of Vo et al. 2024 it
    is 27,000, theirs has 10,000); and one between, since each resampled level is more even than
    the one below.
    """
    fine, coarse = n // _LEAF, math.isqrt(n)
    if fine < 2 * coarse:
        return [coarse]
    return [fine, math.isqrt(fine * coarse), coarse]


@reports
@exactly
def build_hierarchy(
    x: Any,
    levels: Sequence[int] | None = None,
    *,
    resamplings: int | Sequence[int] = RESAMPLINGS,
    metric: str = "euclidean",
    max_iterations: int = MAX_ITERATIONS,
    seed: int = 0,
    threads: int | None = None,
    memory: int | str | None = None,
    group: Any | None = None,
    progress: Progress | None = None,
) -> HierarchyResult:
    """Cluster samples, then the centroids, and so on: hierarchical k-means with resampling.

    Centroids of k-means lie as densely as samples do, almost; those of centroids of centroids lie
    ever more evenly over what there is. Resampling helps: of each cluster the members closest to
    the centroid are taken, k-means of these gives new centroids, and all go to the nearest of
    them; and that again (Vo et al. 2024, arXiv 2405.15613, section 3.3 and algorithm 1).

    Parameters
    ----------
    x : shape (n, d)
        The embeddings, as all that :mod:`meddel_fast.ops` takes.
    levels
        Number of clusters of each level, from fine to coarse; None for
        :func:`~meddel_fast.selectors.cluster_levels.default_levels`. What is empty is dropped,
        so that there may be fewer.
    resamplings
        How often a level is resampled: one number for each level, or one for all, which leaves out
        the finest of several levels, as in the paper (10).
    metric
        "euclidean", as in the paper, or "cosine" (spherical k-means, of any norms).
    max_iterations
        At most this many iterations of each k-means; more made kept sets no more even where it was
        measured (6,000 and 10,000 made samples).
    seed
        Of each k-means.
    threads, memory, group, progress
        As of all operations, see :mod:`meddel_fast.ops`.

    Returns
    -------
    HierarchyResult
        The same for any number of threads and processes, on every machine. Of rows that no process
        has as a whole (``LocalRows``) it knows no hash.

    Raises
    ------
    TypeError, ValueError
        An argument is out of range; the message names it.

    Notes
    -----
    O(n k d) an iteration at worst for each level of n rows and k clusters; k-means of more than
    1,024 clusters is seeded in two steps (``init="split"``). A resampled level takes, of each
    cluster, half of what a cluster has on average (the paper's rule), at least 2; where clusters
    are so empty that this comes to fewer than k rows, resampling ends, and ``settings`` tells.
    """
    checked = check_rows(x, resolve_threads(threads), memory, group)
    tree = cluster_levels(
        checked,
        levels=None if levels is None else check_levels("levels", levels, len(checked)),
        resamplings=check_resamplings("resamplings", resamplings, None),
        metric=check_choice("metric", metric, METRICS),
        max_iterations=check_int("max_iterations", max_iterations, 1),
        seed=check_int("seed", seed, 0),
        threads=threads,
    )
    return replace(tree, data_sha256=rows_sha256(checked))


def check_levels(name: str, value: Any, n: int | None) -> list[int]:
    """Return numbers of clusters, from fine to coarse, as a list; for the options of a method."""
    value = value.tolist() if isinstance(value, np.ndarray) else value
    if not isinstance(value, Sequence) or isinstance(value, str | bytes) or not value:
        raise TypeError(f"{name} must be numbers of clusters, from fine to coarse, got {value!r}")
    high, found = n, list[int]()
    for k in value:
        found.append(check_int(name, k, 1, high, " (falling, from fine to coarse)"))
        high = max(1, found[-1] - 1)
    if len(set(found)) < len(found):
        raise ValueError(f"{name} must fall from fine to coarse, got {found}")
    return found


def check_resamplings(name: str, value: Any, n: int | None) -> int | list[int]:
    """Return how often levels are resampled, for all or for each; for the options of a method."""
    del n
    value = value.tolist() if isinstance(value, np.ndarray) else value
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [check_int(name, times, 0) for times in value]
    return check_int(name, value, 0)


def cluster_levels(
    x: Any,
    *,
    levels: list[int] | None,
    resamplings: int | list[int],
    metric: str,
    max_iterations: int,
    seed: int,
    threads: int | None,
) -> HierarchyResult:
    """Build the tree of checked rows; see :func:`build_hierarchy`."""
    counts = default_levels(len(x)) if levels is None else levels
    times = _each_level(resamplings, len(counts))
    kmeans = _KMeans(metric == "cosine", max_iterations, seed, threads)
    below = [len(x), *counts[:-1]]
    work = [n * math.isqrt(k) for n, k in zip(below, counts, strict=True)]
    found = []
    with counted(sum(w * (1 + t) for w, t in zip(work, times, strict=True))) as progress:
        rows = x
        for k, again, weight in zip(counts, times, work, strict=True):
            begin = partial(progress.step, weight)
            found.append(_cluster_level(rows, min(k, len(rows)), again, kmeans, begin))
            rows = found[-1].centroids
    settings = {
        "levels": counts,
        "found": [len(level.centroids) for level in found],
        "resamplings": [level.resampled for level in found],
        "metric": metric,
        "max_iterations": int(max_iterations),
        "seed": int(seed),
        "converged": [level.converged for level in found],
    }
    return HierarchyResult(
        tuple(level.labels for level in found),
        tuple(level.centroids for level in found),
        found[0].distances,
        settings,
    )


def _each_level(resamplings: int | list[int], levels: int) -> list[int]:
    if isinstance(resamplings, int):
        return [0] * (levels > 1) + [resamplings] * (levels - (levels > 1))
    if len(resamplings) != levels:
        raise ValueError(
            f"resamplings must be one number, or one for each of {levels} levels, "
            f"got {len(resamplings)}"
        )
    return resamplings


@dataclass(frozen=True)
class _KMeans:
    """k-means, all of a tree's alike."""

    spherical: bool
    max_iterations: int
    seed: int
    threads: int | None

    def fit(self, rows: Any, k: int) -> Any:
        return ops.kmeans(
            rows,
            k,
            spherical=self.spherical,
            max_iterations=self.max_iterations,
            seed=self.seed,
            init="split" if k > _SPLIT else "k-means++",
            threads=self.threads,
        )

    def assign(self, rows: Any, centroids: NDArray[np.float32]) -> Any:
        return ops.kmeans(
            rows,
            len(centroids),
            spherical=self.spherical,
            max_iterations=0,
            init=centroids,
            threads=self.threads,
        )


@dataclass(frozen=True, eq=False)
class _Level:
    """The clusters of one level, none of them empty."""

    labels: Int
    distances: NDArray[np.float64]
    centroids: NDArray[np.float32]
    resampled: int
    converged: bool


def _cluster_level(
    rows: Any, k: int, times: int, kmeans: _KMeans, begin: Callable[[], None]
) -> _Level:
    """Cluster all rows and resample so many times, as long as there are k; `begin` each time."""
    begin()
    found = kmeans.fit(rows, k)
    labels, distances = to_numpy(found.labels), to_numpy(found.distances)
    most = max(2, len(rows) // (2 * k))
    resampled = 0
    for _ in range(times):
        some = closest_members(labels, distances, most)
        if len(some) < k:
            break
        begin()
        found = kmeans.fit(rows[some], k)
        nearest = kmeans.assign(rows, to_numpy(found.centroids))
        labels, distances = to_numpy(nearest.labels), to_numpy(nearest.distances)
        resampled += 1
    used, own = np.unique(labels, return_inverse=True)
    own = own.reshape(-1).astype(np.int64)
    centroids = to_numpy(found.centroids)[used]
    return _Level(own, distances, centroids, resampled, bool(found.converged))


def closest_members(labels: Int, distances: NDArray[np.float64], most: int) -> Int:
    """Return the `most` members of each cluster that are closest to its centroid, by rising index.

    Equal distances: lowest index first. A cluster with fewer gives all.
    """
    order = np.lexsort((distances, labels))
    first = np.searchsorted(labels[order], labels[order])
    return np.sort(order[np.arange(len(order)) - first < most])

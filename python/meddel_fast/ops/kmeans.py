"""Lloyd's k-means, seeded by k-means++, at once or in two steps."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from meddel_fast.arrays import (
    Job,
    KMeansResult,
    check_float,
    check_init,
    check_int,
    check_weights,
    choose_device,
    resolve_threads,
    split_centroids,
)
from meddel_fast.ops._call import checked, core_of, operation

if TYPE_CHECKING:
    from meddel_fast.common.files import Progress

_LITTLE = 200_000  # elements, which are worked out anew as fast as they are kept


@operation
def kmeans(
    x: Any,
    k: int,
    *,
    spherical: bool = True,
    max_iterations: int = 100,
    tol: float = 0.0,
    seed: int = 0,
    init: Any = "k-means++",
    sample_weight: Any | None = None,
    memory: int | str | None = None,
    group: Any | None = None,
    checkpoint: Any | None = None,
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
    tol : float
        Stop, too, after an update that moved the centroids so little that their squared shifts sum
        up to at most `tol` times the mean variance of the features: scikit-learn's rule, whatever
        the samples weigh, but of the unit rows where `spherical`. In fp64 and a fixed order, so
        that all devices stop at the same update. At 0 labels alone decide.
    seed : int
        Of the draws for `init`.
    init : {"k-means++", "split"} or float array of shape (k, d)
        First centroids: given; or samples that k-means++ (Arthur and Vassilvitskii 2007) draws; or,
        for large k, made in two steps, so that no seed is compared with all samples, see Notes.
    sample_weight : array of shape (n,), optional
        How much each sample counts for centroids, inertia and draws: 0, or 1e-100 to 1e100, and not
        all 0. One of weight 0 gets a label, and changes nothing else. By default all weigh 1.
    memory, group, checkpoint, threads, device, progress : optional
        As of all operations, see :mod:`meddel_fast.ops`.

    Returns
    -------
    labels : int64 array of shape (n,)
        Nearest centroid.
    centroids : float32 array of shape (k, d)
        (Weighted) means of the members. A cluster that has none, or none that weighs anything,
        takes the sample, of those that weigh something, that is farthest from its centroid.
    distances : float64 array of shape (n,)
        To the nearest centroid: 1 - cosine when spherical, else squared Euclidean. Not weighted.
    inertia : float
        Their (weighted) sum.
    iterations : int
        Updates made.
    converged : bool
        Whether it stopped by itself, as the last update changed no label or moved the centroids by
        no more than `tol` says, rather than at max_iterations.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As of all operations, see :mod:`meddel_fast.ops`.

    Notes
    -----
    O(n k d) an iteration at worst.

    ``init="split"`` clusters up to 256 sqrt(k) samples, spread evenly over the set, into sqrt(k)
    groups, assigns all samples to them, and clusters 32 samples a cluster of each group (but at
    most as many as before, or 4 a cluster) into its share of k, which is in proportion to how many
    different samples it has; each time by k-means++ and a few updates. That is O(n sqrt(k) d),
    k-means++ at once O(n k d).
    What follows is as exact from either; the clusters found are others.
    """
    threads = resolve_threads(threads)
    max_iterations = check_int("max_iterations", max_iterations, 0)
    tol = check_float("tol", tol, 0.0, sys.float_info.max)
    seed = check_int("seed", seed, 0)
    drawn = check_init(init)
    on = choose_device(device, x=x, **({} if drawn else {"init": init}))
    core, rows = core_of(on), checked("x", x, threads, on)
    k = check_int("k", k, 1, rows.n, " (the rows of x)")
    if drawn and on is None and rows.n * rows.d > _LITTLE:
        rows = rows.prepared()  # what the seeding works out serves the iterations
    work = _Work(core, rows, bool(spherical), check_weights("sample_weight", sample_weight, rows.n),
                 threads)  # fmt: skip
    if not drawn:
        given = checked("init", init, threads, on)
        if (given.n, given.d) != (k, rows.d):
            raise ValueError(f"init must have shape {(k, rows.d)}, got {(given.n, given.d)}")
        centroids = given.floats()
    elif drawn == "split":
        centroids = split_centroids(rows.n, k, seed, work.weights, work.run, work.nearest)
    else:
        centroids = work.seeds(np.random.default_rng(seed).random(k))
    labels, centroids, distances, *rest = work.kmeans(centroids, max_iterations, tol)
    labels, centroids, distances = rows.back(labels, centroids, distances)
    return KMeansResult(labels, centroids, distances, *rest)


class _Work(NamedTuple):
    """Rows in memory or on a device, their weights, and what works on them."""

    core: Any
    rows: Any
    spherical: bool
    weights: NDArray[np.float64] | None
    threads: int

    def seeds(self, uniforms: NDArray[np.float64]) -> Any:
        found = self.core.kmeans_plus_plus(
            self.rows.matrix, self.spherical, uniforms.tolist(), self.threads, self.weights
        )
        return self.rows.floats(found)

    def kmeans(self, centroids: Any, max_iterations: int, tol: float) -> tuple[Any, ...]:
        return self.core.kmeans(  # type: ignore[no-any-return]
            self.rows.matrix, centroids, max_iterations, tol, self.spherical, self.weights,
            self.threads,
        )  # fmt: skip

    # The steps of a split, whose arrays are in the CPU's memory.

    def run(self, jobs: Iterator[Job]) -> Iterator[NDArray[np.float32]]:
        for job in jobs:
            weights = None if self.weights is None else self.weights[job.rows]
            own = self._replace(rows=self.rows.take(job.rows), weights=weights)
            yield _in_memory(own.kmeans(own.seeds(job.uniforms), job.updates, 0.0)[1])

    def nearest(self, centroids: NDArray[np.float32]) -> tuple[Any, Any]:
        labels, _, distances, *_ = self.kmeans(centroids, 0, 0.0)
        return _in_memory(labels), _in_memory(distances)


def _in_memory(array: Any) -> Any:
    return array if isinstance(array, np.ndarray) else array.cpu().numpy()

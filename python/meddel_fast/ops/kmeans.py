"""Lloyd's k-means, seeded by k-means++."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from meddel_fast.arrays import KMeansResult, check_int, choose_device, resolve_threads
from meddel_fast.ops._call import checked, core_of, operation

if TYPE_CHECKING:
    from meddel_fast.common.files import Progress


@operation
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
        As of all operations, see :mod:`meddel_fast.ops`.

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
    TypeError, ValueError, RuntimeError
        As of all operations, see :mod:`meddel_fast.ops`.

    Notes
    -----
    O(n k d) an iteration at worst.
    """
    threads = resolve_threads(threads)
    max_iterations = check_int("max_iterations", max_iterations, 0)
    seed = check_int("seed", seed, 0)
    on = choose_device(device, x=x, init=init)
    core, rows = core_of(on), checked("x", x, threads, on)
    k = check_int("k", k, 1, rows.n, " (the rows of x)")
    if init is None:
        if on is None:
            rows = rows.prepared()  # what the seeding works out serves the iterations
        uniforms = np.random.default_rng(seed).random(k).tolist()
        seeds = core.kmeans_plus_plus(rows.matrix, bool(spherical), uniforms, threads)
        centroids = rows.floats(seeds)
    else:
        given = checked("init", init, threads, on)
        if (given.n, given.d) != (k, rows.d):
            raise ValueError(f"init must have shape {(k, rows.d)}, got {(given.n, given.d)}")
        centroids = given.floats()
    labels, centroids, distances, inertia, iterations, converged = core.kmeans(
        rows.matrix, centroids, max_iterations, bool(spherical), threads
    )
    labels, centroids, distances = rows.back(labels, centroids, distances)
    return KMeansResult(labels, centroids, distances, inertia, iterations, converged)

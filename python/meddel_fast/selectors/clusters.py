"""The clusters that pairs are compared within, and the order in which their members are swept."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast import ops
from meddel_fast.arrays import check_int
from meddel_fast.selectors.base import random_keys, to_numpy

KEEP = ("far", "near", "random")


@dataclass(frozen=True, eq=False)
class Clusters:
    """Spherical k-means of the samples.

    Attributes
    ----------
    label : int64, shape (n,)
        Cluster of each sample.
    distance : float64, shape (n,)
        1 - cosine to the centroid.
    centroids : float32, shape (k, d)
        Of norm 1.
    settings
        Options, and how k-means ended, as a selection records them.
    """

    label: NDArray[np.int64]
    distance: NDArray[np.float64]
    centroids: NDArray[np.float32]
    settings: dict[str, Any]


def default_clusters(n: int) -> int:
    """Return round(sqrt(n) / 2), which is 1 for n = 1: clusters of about 2 sqrt(n) samples.

    Comparing pairs inside k equal clusters costs n^2 / 2k inner products, one iteration of k-means
    n k; with k of the order of sqrt(n) neither outgrows the other, and clusters stay large enough
    that few near duplicates fall on two sides of a border.
    """
    return math.floor(math.sqrt(n) / 2 + 0.5)


def cluster_rows(
    x: Any, clusters: int | None, max_iterations: int, seed: int, threads: int | None
) -> Clusters:
    """Cluster checked rows; ``clusters=None`` asks for :func:`default_clusters`."""
    n = len(x)
    k = default_clusters(n) if clusters is None else check_int("clusters", clusters, 1, n)
    result = ops.kmeans(
        x, k, spherical=True, max_iterations=max_iterations, seed=seed, threads=threads
    )
    settings = {
        "clusters": k,
        "max_iterations": int(max_iterations),
        "seed": int(seed),
        "iterations": int(result.iterations),
        "converged": bool(result.converged),
    }
    centroids = to_numpy(result.centroids)
    return Clusters(to_numpy(result.labels), to_numpy(result.distances), centroids, settings)


def sweep_order(
    distance: NDArray[np.float64],
    keep: str,
    seed: int,
    selected: NDArray[np.int64],
    weights: NDArray[np.float64] | None,
) -> NDArray[np.int64]:
    """Return the samples in the order of the sweep: what comes first stays.

    Parameters
    ----------
    distance : shape (n,)
        Distance to the centroid.
    keep
        "far": farthest from the centroid first; "near": closest first; "random": shuffled by
        `seed`. Equal distances: lowest index first.
    seed
        Seed of the shuffle.
    selected
        Samples that come before all others, in the order given.
    weights : shape (n,), or None
        The heaviest come first, and `keep` decides among equals.
    """
    if keep == "random":
        distance = random_keys(len(distance), seed)
    place = -distance if keep == "far" else distance
    keys = (place,) if weights is None else (place, -weights)
    order = np.lexsort(keys)
    return np.concatenate([selected, order[~np.isin(order, selected)]])

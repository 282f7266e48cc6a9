"""k-means of samples that weigh differently, for scikit-learn's drop-in."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from meddel_fast import ops

Float = NDArray[np.float64]


class Weighted(NamedTuple):
    """Like ``ops.kmeans``, with the sum of weighted squared distances."""

    labels: NDArray[np.int64]
    centroids: NDArray[np.float32]
    inertia: float
    iterations: int


def weighted_kmeans(
    x: NDArray[Any], weights: Float, k: int, init: Any | None, draws: Any, max_iterations: int
) -> Weighted:
    """Take Lloyd's steps by exact distances; centroids are weighted means, summed in fp64.

    Parameters
    ----------
    x : array of shape (n, d)
    weights : float64 array of shape (n,)
        Not below 0.
    k : int
    init : array of shape (k, d), optional
        First centroids; by default k-means++ draws them, each sample as often as it weighs.
    draws : numpy.random.RandomState
    max_iterations : int

    Returns
    -------
    Weighted
        A cluster that lost its weight takes the sample of the largest weighted distance.
    """
    rows = x.astype(np.float64)
    centroids = _plus_plus(rows, weights, k, draws) if init is None else np.asarray(init)
    labels = np.full(len(x), -1)
    for step in range(max_iterations + 1):
        found = ops.kmeans(x, k, spherical=False, max_iterations=0, init=centroids)
        if step == max_iterations or np.array_equal(found.labels, labels):
            break
        labels = found.labels
        total = np.bincount(labels, weights, k)
        sums = np.zeros((k, x.shape[1]))
        np.add.at(sums, labels, weights[:, None] * rows)
        empty = np.flatnonzero(total == 0.0)
        centroids = sums / np.where(total > 0.0, total, 1.0)[:, None]
        far = np.argsort(-weights * found.distances, kind="stable")[: len(empty)]
        centroids[empty] = rows[far]
        centroids = centroids.astype(np.float32)
    inertia = float(weights @ found.distances)
    return Weighted(found.labels, np.asarray(found.centroids), inertia, step)


def _plus_plus(rows: Float, weights: Float, k: int, draws: Any) -> NDArray[np.float32]:
    nearest = np.ones(len(rows))
    chosen = np.empty(k, dtype=np.int64)
    for place in range(k):
        share = weights * nearest
        if not share.any():  # only copies of what is chosen are left
            share = np.ones(len(rows))
        chosen[place] = draws.choice(len(rows), p=share / share.sum())
        distance = ((rows - rows[chosen[place]]) ** 2).sum(axis=1)
        nearest = distance if place == 0 else np.minimum(nearest, distance)
    return rows[chosen].astype(np.float32)

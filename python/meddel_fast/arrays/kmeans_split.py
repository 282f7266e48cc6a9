"""The first centroids of k-means in two steps: which rows each step looks at, and what it draws.

As :func:`meddel_fast.reference.split_centroids` states. The steps themselves, k-means of some rows
and the nearest centroid of all, are the caller's, in memory, on a device or on parts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from meddel_fast.arrays.checks import check_choice
from meddel_fast.common.progress import counted

Int = NDArray[np.int64]
Float = NDArray[np.float64]
Floats = NDArray[np.float32]

_INITS = ("k-means++", "split")
_STEPS = (8, 3)  # updates of the first step, and of the second
_ROWS = 256  # that a step looks at for each cluster of the first one
_EACH = 32  # that the second one looks at for each of its own, but no more than the first
_LEAST = 4  # looks at, or this many for each


def check_init(init: Any) -> str | None:
    """Return the seeding that k-means is asked for; None where its first centroids are given."""
    if init is None:
        return _INITS[0]
    return check_choice("init", init, _INITS) if isinstance(init, str) else None


class Job(NamedTuple):
    """k-means of some rows: k-means++ by the uniforms, one a cluster, and some updates."""

    rows: Int
    uniforms: Float
    updates: int


def most_rows(k: int) -> int:
    """Return how many rows a job has at most."""
    return max(_ROWS * math.isqrt(k), _LEAST * k)


def split_centroids(
    n: int,
    k: int,
    seed: int,
    weights: Float | None,
    run: Callable[[Iterator[Job]], Iterator[Floats]],
    assign: Callable[[Floats], tuple[Int, Float]],
) -> Floats:
    """Return k first centroids for n rows.

    Parameters
    ----------
    n, k, seed : int
    weights : float64 array of shape (n,), optional
    run
        Returns the centroids of each job.
    assign
        Returns the nearest of some centroids, and the distance to it, of each of the n rows.
    """
    draws, coarse = np.random.default_rng(seed), math.isqrt(k)
    rows = np.arange(n) if weights is None else np.flatnonzero(weights > 0)
    if len(rows) < k:
        raise ValueError(
            f"init 'split' needs k samples that weigh something: k is {k}, got {len(rows)}"
        )

    def job(some: Int, most: int, count: int, updates: int) -> Job:
        return Job(_spread(some, most, draws), draws.random(count), updates)

    with counted(3 * k) as progress:
        progress.step(k)
        (centroids,) = run(iter([job(rows, _ROWS * coarse, coarse, _STEPS[0])]))
        progress.step(k)
        labels, distances = (of[rows] for of in assign(centroids))
        order = np.argsort(labels, kind="stable")
        groups = np.split(order, np.cumsum(np.bincount(labels, minlength=coarse))[:-1])
        shares = _shares(
            np.array([len(group) for group in groups]),
            np.array([len(np.unique(distances[group])) for group in groups]),
            k,
        )

        def jobs() -> Iterator[Job]:
            for group, share in zip(groups, shares.tolist(), strict=True):
                progress.step(share)
                if share:
                    most = min(_EACH * share, max(_ROWS * coarse, _LEAST * share))
                    yield job(rows[group], most, share, _STEPS[1])

        return np.concatenate(list(run(jobs())))


def _spread(rows: Int, count: int, draws: np.random.Generator) -> Int:
    """Return one row, drawn evenly, of each of `count` equal ranges; all, where there are fewer."""
    if len(rows) <= count:
        return rows
    bounds = np.arange(count + 1) * len(rows) // count
    lengths = np.diff(bounds)
    inside = (draws.random(count) * lengths).astype(np.int64)
    chosen: Int = rows[bounds[:-1] + np.minimum(inside, lengths - 1)]
    return chosen


def _shares(size: Int, different: Int, k: int) -> Int:
    """Share k out among groups of rows, in proportion to how many different ones each has."""
    quota = k * different / different.sum()
    share: Int = np.minimum(np.maximum(np.floor(quota), 1).astype(np.int64), size)
    left = k - int(share.sum())
    for _ in range(left):
        share[np.argmax(np.where(share < size, quota - share, -np.inf))] += 1
    for _ in range(-left):
        share[np.argmin(np.where(share > 1, quota - share, np.inf))] -= 1
    return share

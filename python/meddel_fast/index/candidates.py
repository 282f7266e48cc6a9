"""Which old samples a new one has to be compared with.

Every sample is held with its angle to the centroid of its cluster. Let u be a new sample, v an old
one and c the centroid of v's cluster. Angles are distances on the sphere, so
``angle(u, v) >= |angle(u, c) - angle(v, c)|``: where that is above arccos(threshold), the two are
no pair, and a cluster whose angles all lie so far from u's is left out as a whole. What is left is
compared by :func:`meddel_fast.similar_pairs`, so that the bound decides the time and never the
result.

Rounding: angles come from products in fp64 in any order of summation. The product of two rows of
width d is off by at most d u |x| |c| (u = 2^-53), each norm by a relative (d / 2 + 1) u, and the
square roots, product and quotient by 4 u more, so that a cosine is off by less than 2 (d + 8) u;
the truth's own cosine is nearer than that. Twice as much is allowed for both together, and every
angle is held as an interval. A zero centroid stands for no knowledge: all angles to it are equal,
so that nothing is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from meddel_fast import ops

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BLOCK_BYTES = 1 << 27  # of old rows that are read at a time
ANGLE_ROWS = 4096  # of new rows whose angles are worked out at a time
_ARC = 4e-15  # more than arccos and the few operations on angles (at most pi) can round by
_WIDE = 0.5  # clusters that more than so many of the new rows are near to are compared at one go
_SAMPLE = 64  # rows a cluster that centroids are learned from


class Pairs(NamedTuple):
    """Similar pairs of new rows and old positions, and how many pairs were compared for them."""

    row: Ints
    position: Ints
    similarity: Floats
    compared: int


def learn(rows: Callable[[Ints], NDArray[Any]], positions: Ints, threads: int) -> NDArray[Any]:
    """Learn centroids, float32 (k, d), from some of the samples at these positions.

    k is half the root of their number, so that a sample is compared with about as many centroids
    as members of a cluster.
    """
    k = max(1, round(len(positions) ** 0.5 / 2))
    some = positions[:: max(1, len(positions) // (_SAMPLE * k))]
    found = ops.kmeans(rows(some), k, max_iterations=10, threads=threads)
    return np.asarray(found.centroids)


class Clusters:
    """Centroids, and the angles of rows to them."""

    def __init__(self, centroids: NDArray[np.float32]) -> None:
        self.centroids = centroids
        wide = centroids.astype(np.float64)
        self._unit = _scaled(wide)
        self._error = 4 * (centroids.shape[1] + 8) * 2.0**-53

    def reach(self, threshold: float) -> float:
        """Give the largest angle that a pair at or above the threshold can have."""
        return float(np.arccos(max(-1.0, threshold - self._error))) + _ARC

    def angles(self, rows: NDArray[Any]) -> tuple[Floats, Floats]:
        """Lower and upper bounds (n, k) on the angles of rows to the centroids."""
        cosine = _scaled(rows.astype(np.float64)) @ self._unit.T
        low = np.arccos(np.clip(cosine + self._error, -1.0, 1.0))
        high = np.arccos(np.clip(cosine - self._error, -1.0, 1.0))
        return low - _ARC, high + _ARC

    def place(self, rows: NDArray[Any]) -> tuple[Ints, Floats, Floats]:
        """Give each row's cluster, that of the nearest centroid, and bounds on its angle there."""
        n = len(rows)
        cluster, low, high = np.empty(n, np.int64), np.empty(n), np.empty(n)
        for a in range(0, n, ANGLE_ROWS):
            part = slice(a, a + ANGLE_ROWS)
            lowest, highest = self.angles(rows[part])
            cluster[part] = lowest.argmin(axis=1)
            at = np.arange(len(lowest)), cluster[part]
            low[part], high[part] = lowest[at], highest[at]
        return cluster, low, high


def _scaled(rows: Floats) -> Floats:
    norm = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    scaled: Floats = np.divide(rows, norm, out=np.zeros_like(rows), where=norm > 0)
    return scaled


class Search:
    """Finds the similar pairs of new rows with old ones.

    Parameters
    ----------
    clusters
        The centroids.
    positions : int64, shape (m,)
        The old samples that count.
    cluster, low, high : shape (m,)
        Their clusters, and bounds on their angles there, as :meth:`Clusters.place` gives them.
    rows
        Gives the rows at some positions.
    threshold, threads
        As for :func:`meddel_fast.similar_pairs`; the threshold is above 0.
    """

    def __init__(
        self,
        clusters: Clusters,
        positions: Ints,
        cluster: Ints,
        low: Floats,
        high: Floats,
        rows: Callable[[Ints], NDArray[Any]],
        threshold: float,
        threads: int,
    ) -> None:
        order = np.argsort(cluster, kind="stable")
        self._clusters, self._rows = clusters, rows
        self._threshold, self._threads = threshold, threads
        self._positions = positions[order]
        self._present, begin = np.unique(cluster[order], return_index=True)
        self._begin = np.append(begin, len(order))
        if len(order):
            reach = clusters.reach(threshold)
            self._from = np.minimum.reduceat(low[order], begin) - reach
            self._to = np.maximum.reduceat(high[order], begin) + reach

    def __call__(self, x: NDArray[Any]) -> Pairs:
        """Give the pairs of rows of x, by row and then position."""
        found: list[Pairs] = []
        if len(x) and len(self._positions):
            near = self._near(x)
            wide = near.mean(axis=0) > _WIDE
            if wide.any():
                members = np.repeat(wide, np.diff(self._begin))
                found.append(self._compare(x, np.arange(len(x)), self._positions[members]))
            for c in np.flatnonzero(near.any(axis=0) & ~wide):
                members = self._positions[self._begin[c] : self._begin[c + 1]]
                found.append(self._compare(x, np.flatnonzero(near[:, c]), members))
        return _together(found)

    def _near(self, x: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell which rows (n) can have a pair in which cluster (those that have members)."""
        near = np.empty((len(x), len(self._present)), np.bool_)
        for a in range(0, len(x), ANGLE_ROWS):
            low, high = self._clusters.angles(x[a : a + ANGLE_ROWS])
            low, high = low[:, self._present], high[:, self._present]
            near[a : a + ANGLE_ROWS] = (low <= self._to) & (high >= self._from)
        return near

    def _compare(self, x: NDArray[Any], chosen: Ints, members: Ints) -> Pairs:
        new = x if len(chosen) == len(x) else x[chosen]
        block = max(1, BLOCK_BYTES // (x.shape[1] * x.itemsize))
        found = []
        for a in range(0, len(members), block):
            part = members[a : a + block]
            i, j, similarity = ops.similar_pairs(
                new, self._rows(part), threshold=self._threshold, threads=self._threads
            )
            found.append(Pairs(chosen[i], part[j], similarity, len(new) * len(part)))
        return _together(found)


def _together(found: list[Pairs]) -> Pairs:
    if not found:
        return Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), 0)
    row = np.concatenate([part.row for part in found])
    position = np.concatenate([part.position for part in found])
    similarity = np.concatenate([part.similarity for part in found])
    order = np.lexsort((position, row))
    compared = sum(part.compared for part in found)
    return Pairs(row[order], position[order], similarity[order], compared)

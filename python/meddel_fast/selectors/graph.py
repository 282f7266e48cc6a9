"""The neighbour graph that greedy methods work on, and the heap they choose from.

Cosines come from :func:`meddel_fast.ops.topk_similarity`, exact; sums over them run in one order,
by rising index. With all other samples as neighbours a method is exact; with fewer it takes the
similarity to all others for 0, and needs memory and time for n k entries instead of n^2.
"""

from __future__ import annotations

import heapq
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meddel_fast import ops
from meddel_fast.arrays import check_int
from meddel_fast.selectors.base import to_numpy
from meddel_fast.selectors.task import Task

COMPLETE = 2000
"""Up to so many samples the graph holds all pairs (64 MB)."""
NEIGHBORS = 32
"""Neighbours of each sample beyond that."""


class Edges(NamedTuple):
    """Edges that lead to each sample, those of sample j at ``start[j]:start[j + 1]``.

    `source` rises within a sample.
    """

    start: NDArray[np.int64]
    source: NDArray[np.int64]
    value: NDArray[np.float64]

    def of(self, j: int) -> slice:
        """Return where the edges to a sample are."""
        return slice(int(self.start[j]), int(self.start[j + 1]))

    @property
    def target(self) -> NDArray[np.int64]:
        """The sample that each edge leads to."""
        return np.repeat(np.arange(len(self.start) - 1), np.diff(self.start))

    def sums(self, terms: NDArray[np.float64]) -> NDArray[np.float64]:
        """Add terms, one an edge, for each sample, in the order of the edges."""
        n = len(self.start) - 1
        return np.bincount(self.target, weights=terms, minlength=n).astype(np.float64)


def check_neighbors(neighbors: int | None, n: int) -> int:
    """Return the number of neighbours: n - 1 up to :data:`COMPLETE` samples, else NEIGHBORS."""
    if neighbors is None:
        return n - 1 if n <= COMPLETE else NEIGHBORS
    return check_int("neighbors", neighbors, 1, max(1, n - 1))


def nearest(task: Task, neighbors: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the cosines to the most similar other samples, and which these are, (n, neighbors)."""
    if task.n == 1:
        return np.zeros((1, 0)), np.zeros((1, 0), dtype=np.int64)
    result = ops.topk_similarity(task.x, k=neighbors, threads=task.threads)
    return to_numpy(result.similarity), to_numpy(result.indices)


def edges_to(
    indices: NDArray[np.int64],
    values: NDArray[np.float64],
    own: NDArray[np.float64],
    *,
    symmetric: bool = False,
) -> Edges:
    """Turn lists of neighbours around.

    Parameters
    ----------
    indices, values : shape (n, k)
        The neighbours of each sample, and the value of the edge to each of them.
    own : shape (n,)
        The value of each sample's edge to itself.
    symmetric
        Whether an edge leads both ways, once, when either sample has the other as a neighbour.
    """
    n, k = indices.shape
    source = np.concatenate([np.repeat(np.arange(n), k), np.arange(n)])
    target = np.concatenate([indices.ravel(), np.arange(n)])
    value = np.concatenate([values.ravel(), own])
    if symmetric:
        key = np.concatenate([target * n + source, source * n + target])
        key, first = np.unique(key, return_index=True)
        target, source = np.divmod(key, n)
        value = np.concatenate([value, value])[first]
    else:
        order = np.lexsort((source, target))
        source, target, value = source[order], target[order], value[order]
    return Edges(np.searchsorted(target, np.arange(n + 1)), source, value)


class Heap:
    """The highest of values that change, ties to the lowest index; each is taken once.

    Parameters
    ----------
    values : shape (n,)
        First values.
    taken : int64
        Samples that are not to be had.
    """

    def __init__(self, values: NDArray[np.float64], taken: NDArray[np.int64]) -> None:
        self._values: list[float] = values.tolist()
        self._there = [True] * len(values)
        for i in taken.tolist():
            self._there[i] = False
        self._entries = [(-v, i) for i, v in enumerate(self._values) if self._there[i]]
        heapq.heapify(self._entries)

    def take(self) -> int:
        """Return the sample with the highest value, and take it out."""
        while True:
            negative, i = heapq.heappop(self._entries)
            if self._there[i] and -negative == self._values[i]:
                self._there[i] = False
                return i

    def add(self, samples: NDArray[np.int64], amounts: NDArray[np.float64]) -> None:
        """Add an amount to the value of each of some samples."""
        for i, amount in zip(samples.tolist(), amounts.tolist(), strict=True):
            self._values[i] += amount
            if self._there[i] and amount:
                heapq.heappush(self._entries, (-self._values[i], i))

    def value(self, i: int) -> float:
        """Return the value of a sample as it is now."""
        return self._values[i]

    @property
    def values(self) -> NDArray[np.float64]:
        """All values as they are now; those of taken samples too."""
        return np.array(self._values)

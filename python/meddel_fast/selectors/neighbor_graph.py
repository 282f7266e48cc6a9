"""The neighbour graph that greedy methods work on.

Cosines come from :func:`meddel_fast.ops.topk_similarity`, exact; sums over them run in one order,
by rising index. With all other samples as neighbours a method is exact; with fewer it takes the
similarity to all others for 0, and needs memory and time for n k entries instead of n^2.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meddel_fast import ops
from meddel_fast.arrays import check_int
from meddel_fast.selectors.base import to_numpy
from meddel_fast.selectors.plan import Task

COMPLETE = 2000
"""Up to so many samples the graph holds all pairs (64 MB)."""
NEIGHBORS = 32
"""Neighbours of each sample beyond that."""


_EDGE, _ALL_EDGE = 160, 72  # bytes an edge at the peak: of lists of neighbours, of all pairs


class Edges(NamedTuple):
    """Edges that lead to each sample, those of sample j at ``start[j]:start[j + 1]``.

    `source` rises within a sample. Each has an edge from itself.
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
        return np.bincount(self.target, weights=terms).astype(np.float64)


def check_neighbors(neighbors: int | None, n: int) -> int:
    """Return the number of neighbours: n - 1 up to :data:`COMPLETE` samples, else NEIGHBORS."""
    if neighbors is None:
        return n - 1 if n <= COMPLETE else NEIGHBORS
    return check_int("neighbors", neighbors, 1, max(1, n - 1))


def nearest(task: Task, neighbors: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the cosines to the most similar other samples, and which these are, (n, neighbors).

    Raises
    ------
    ValueError
        The budget of a store does not hold what a method makes of them.
    """
    if task.n == 1:
        return np.zeros((1, 0)), np.zeros((1, 0), dtype=np.int64)
    wanted = task.n * (neighbors + 1) * (_ALL_EDGE if neighbors == task.n - 1 else _EDGE)
    if task.memory is not None and task.memory < wanted:
        raise ValueError(
            f"memory must be at least {wanted} bytes for the {neighbors} neighbours of each of "
            f"{task.n} samples (neighbors= asks for fewer), got {task.memory}"
        )
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
    if k == n - 1:  # all pairs: every edge leads both ways
        whole = np.empty((n, n))
        np.put_along_axis(whole, indices, values, axis=1)
        np.fill_diagonal(whole, own)
        return Edges(np.arange(n + 1) * n, np.tile(np.arange(n), n), whole.T.ravel())
    target = np.column_stack([indices, np.arange(n)]).ravel()
    source = np.repeat(np.arange(n), k + 1)
    value = np.column_stack([values, own]).ravel()
    if symmetric:
        key = np.concatenate([target * n + source, source * n + target])
        key, first = np.unique(key, return_index=True)
        target, source = np.divmod(key, n)
        value = np.concatenate([value, value])[first]
    else:
        order = np.argsort(target, kind="stable")  # sources rise already
        source, target, value = source[order], target[order], value[order]
    return Edges(np.searchsorted(target, np.arange(n + 1)), source, value)

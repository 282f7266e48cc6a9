"""FAISS's flat indices and k-means: ``IndexFlatL2``, ``IndexFlatIP``, ``Kmeans``.

Searches are exact: the order is that of the fp64 truth, ties go to the lowest index, and only what
is returned is rounded to float32 as FAISS does. Rows and queries are numpy arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast import ops
from meddel_fast.arrays import check_float, check_int, check_rows, resolve_threads
from meddel_fast.compat._search import Search

Floats = NDArray[np.float32]
Int = NDArray[np.int64]

METRIC_INNER_PRODUCT, METRIC_L2 = 0, 1
_LARGEST = float(np.finfo(np.float32).max)


class IndexFlat:
    """Rows that are searched as they are.

    Parameters
    ----------
    d : int
        Width of the rows.
    metric : int
        ``METRIC_L2``: squared Euclidean distance; ``METRIC_INNER_PRODUCT``.

    Attributes
    ----------
    d, ntotal : int
        Width and number of the rows.
    metric_type : int
        The metric.
    is_trained : bool
        Always true.
    """

    def __init__(self, d: int, metric: int = METRIC_L2) -> None:
        self.d = check_int("d", d, 1)
        if metric not in (METRIC_L2, METRIC_INNER_PRODUCT):
            raise ValueError(
                f"metric must be METRIC_L2 ({METRIC_L2}) or METRIC_INNER_PRODUCT "
                f"({METRIC_INNER_PRODUCT}), got {metric}"
            )
        self.metric_type = metric
        self.is_trained = True
        self.reset()

    @property
    def ntotal(self) -> int:
        """Number of rows."""
        return sum(map(len, self._parts))

    def reset(self) -> None:
        """Drop all rows."""
        self._parts: list[Floats] = []
        self._search: Search | None = None

    def add(self, x: Any) -> None:
        """Add rows, an array of shape (n, d); they are copied."""
        self._parts.append(self._checked(x).copy())
        self._search = None

    def reconstruct(self, key: int) -> Floats:
        """Return a row."""
        key = check_int("key", key, 0, self.ntotal - 1, " (the rows of the index)")
        row: Floats = self._rows()[key]
        return row

    def search(self, x: Any, k: int) -> tuple[Floats, Int]:
        """Find the k best rows for each query.

        Parameters
        ----------
        x : array of shape (n, d)
            Queries.
        k : int
            How many, from 1 on.

        Returns
        -------
        D : float32 array of shape (n, k)
            Squared distances, rising, or inner products, falling.
        I : int64 array of shape (n, k)
            Rows; where there are fewer than k, -1 with the largest (lowest) float in D.

        Raises
        ------
        TypeError, ValueError
            For queries of wrong type or shape or not finite.
        """
        queries = self._checked(x)
        k = check_int("k", k, 1)
        distances = self.metric_type == METRIC_L2
        value = np.full((len(queries), k), _LARGEST if distances else -_LARGEST, np.float32)
        index = np.full((len(queries), k), -1, np.int64)
        if self.ntotal:
            found = min(k, self.ntotal)
            value[:, :found], index[:, :found] = self._made().top(queries, found)
        return value, index

    def range_search(self, x: Any, thresh: float) -> tuple[NDArray[np.uint64], Floats, Int]:
        """Find all rows at a squared distance below `thresh`, or an inner product above it.

        Returns
        -------
        lims : uint64 array of shape (n + 1,)
            Those of query i are at ``lims[i]`` to ``lims[i + 1]`` of the others.
        D : float32 array of shape (lims[-1],)
            Squared distances or inner products.
        I : int64 array of shape (lims[-1],)
            Rows, rising for each query.

        Raises
        ------
        TypeError, ValueError
            For queries of wrong type or shape or not finite.
        """
        queries = self._checked(x)
        # FAISS compares in float32, and so has the threshold as the nearest float32.
        limit = float(np.float32(check_float("thresh", thresh, -_LARGEST, _LARGEST)))
        if not self.ntotal:
            empty = np.zeros(len(queries) + 1, np.uint64)
            return empty, np.zeros(0, np.float32), np.zeros(0, np.int64)
        found = self._made().within(queries, limit)
        return found.limits.astype(np.uint64), found.value.astype(np.float32), found.rows

    def _rows(self) -> Floats:
        if len(self._parts) > 1:
            self._parts = [np.concatenate(self._parts)]
        return self._parts[0]

    def _made(self) -> Search:
        if self._search is None:
            self._search = Search(self._rows(), self.metric_type == METRIC_L2)
        return self._search

    def _checked(self, x: Any) -> Floats:
        rows = check_rows("x", x, resolve_threads(None))
        if rows.d != self.d:
            raise ValueError(f"x must have {self.d} columns like the index, got {rows.d}")
        return rows.floats()


class IndexFlatL2(IndexFlat):
    """Rows that are searched by squared Euclidean distance."""

    def __init__(self, d: int) -> None:
        super().__init__(d, METRIC_L2)


class IndexFlatIP(IndexFlat):
    """Rows that are searched by inner product."""

    def __init__(self, d: int) -> None:
        super().__init__(d, METRIC_INNER_PRODUCT)


class Kmeans:
    """k-means that keeps its centroids in an index.

    Started from the same centroids it takes Lloyd's steps as FAISS does, on all rows (FAISS: on a
    random 256 a centroid unless told otherwise), by exact distances and fp64 sums. Where no
    centroids are given k-means++ draws them (FAISS: random rows). A cluster that lost its members
    takes the row that is farthest from its centroid (FAISS: splits a large one).

    Parameters
    ----------
    d, k : int
        Width of the rows, number of clusters.
    niter : int
        Steps; fewer if labels stop changing.
    nredo : int
        Runs, of which that of the lowest objective stays.
    spherical : bool
        Centroids have length 1, rows are assigned by inner product.
    seed : int
        Of the first run; one more for each other.
    verbose : bool
        Taken for FAISS's sake; nothing is printed.

    Attributes
    ----------
    centroids : float32 array of shape (k, d), or None before :meth:`train`
    obj : float64 array of shape (1,)
        Objective at the end: sum of squared distances, or of inner products.
    index : IndexFlat
        Of the centroids.
    """

    def __init__(
        self,
        d: int,
        k: int,
        niter: int = 25,
        nredo: int = 1,
        spherical: bool = False,
        seed: int = 1234,
        verbose: bool = False,
    ) -> None:
        self.d, self.k = check_int("d", d, 1), check_int("k", k, 1)
        self.niter, self.nredo = check_int("niter", niter, 0), check_int("nredo", nredo, 1)
        self.spherical, self.seed = bool(spherical), check_int("seed", seed, 0)
        self.centroids: Floats | None = None
        self.obj: NDArray[np.float64] = np.zeros(0)
        self.index = IndexFlat(d, METRIC_INNER_PRODUCT if spherical else METRIC_L2)

    def train(self, x: Any, init_centroids: Any | None = None) -> float:
        """Cluster rows.

        Parameters
        ----------
        x : array of shape (n, d)
            Rows, at least k. Spherical ones are taken to have length 1.
        init_centroids : array of shape (k, d), optional
            Where to start.

        Returns
        -------
        float
            The objective.

        Raises
        ------
        TypeError, ValueError
            For rows of wrong type or shape, not finite or fewer than k.
        """
        rows = self.index._checked(x)
        runs = 1 if init_centroids is not None else self.nredo
        best = min(
            (
                ops.kmeans(
                    rows, self.k, spherical=self.spherical, max_iterations=self.niter,
                    seed=self.seed + run, init=init_centroids,
                )
                for run in range(runs)
            ),
            key=lambda result: result.inertia,
        )  # fmt: skip
        self.centroids = best.centroids
        objective = len(rows) - best.inertia if self.spherical else best.inertia
        self.obj = np.array([objective])
        self.index.reset()
        self.index.add(best.centroids)
        return float(objective)

    def assign(self, x: Any) -> tuple[Floats, Int]:
        """Return the value and the index of the nearest centroid of each row, shapes (n,)."""
        if self.centroids is None:
            raise ValueError("train must be called before assign")
        value, index = self.index.search(x, 1)
        return value[:, 0], index[:, 0]

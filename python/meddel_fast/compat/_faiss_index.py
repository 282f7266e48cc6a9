"""FAISS's flat indices: rows that are searched as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.arrays import (
    check_float,
    check_int,
    check_rows,
    is_torch,
    resolve_threads,
    to_matrix,
)
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
    verbose : bool
        Nothing is printed.
    """

    def __init__(self, d: int, metric: int = METRIC_L2) -> None:
        self.d = check_int("d", d, 1)
        if metric not in (METRIC_L2, METRIC_INNER_PRODUCT):
            raise ValueError(
                f"metric must be METRIC_L2 ({METRIC_L2}) or METRIC_INNER_PRODUCT "
                f"({METRIC_INNER_PRODUCT}), got {metric}"
            )
        self.metric_type = metric
        self.is_trained, self.verbose = True, False
        self.reset()

    @property
    def ntotal(self) -> int:
        """Number of rows."""
        return sum(map(len, self._parts))

    def reset(self) -> None:
        """Drop all rows."""
        self._parts: list[Floats] = []
        self._search: Search | None = None

    def train(self, x: Any) -> None:
        """Do nothing: there is nothing to learn."""

    def add(self, x: Any) -> None:
        """Add rows, an array of shape (n, d); they are copied."""
        self._parts.append(checked(x, self.d).copy())
        self._search = None

    def remove_ids(self, x: Any) -> int:
        """Drop rows by their indices, an int64 array; those behind them move up.

        Returns
        -------
        int
            How many there were; indices beyond the rows and repeats do not count.
        """
        gone = np.isin(np.arange(self.ntotal), np.asarray(x, dtype=np.int64))
        if gone.any():
            self._parts, self._search = [self._rows()[~gone]], None
        return int(gone.sum())

    def reconstruct(self, key: int, x: Floats | None = None) -> Floats:
        """Return a row, in `x` if that is given."""
        key = check_int("key", key, 0, self.ntotal - 1, " (the rows of the index)")
        return _into(x, self._rows()[key])

    def reconstruct_n(self, n0: int = 0, ni: int = -1, x: Floats | None = None) -> Floats:
        """Return `ni` rows (-1: all that there are) from `n0` on, in `x` if that is given."""
        first = check_int("n0", n0, 0, self.ntotal)
        left = self.ntotal - first
        count = left if ni == -1 else check_int("ni", ni, 0, left, " (the rows from n0 on)")
        return _into(x, self._rows()[first : first + count])

    def reconstruct_batch(self, key: Any, x: Floats | None = None) -> Floats:
        """Return rows by their indices, in `x` if that is given."""
        keys = np.asarray(key, dtype=np.int64)
        for bad in keys[(keys < 0) | (keys >= self.ntotal)]:
            raise ValueError(f"key must be rows of the index, 0 to {self.ntotal - 1}, got {bad}")
        return _into(x, self._rows()[keys])

    def assign(self, x: Any, k: int, labels: Int | None = None) -> Int:
        """Return the k best rows for each query alone, as :meth:`search` does."""
        return self.search(x, k, I=labels)[1]

    def search_and_reconstruct(
        self, x: Any, k: int, *, params: None = None, D: Floats | None = None,
        I: Int | None = None, R: Floats | None = None,  # noqa: E741
    ) -> tuple[Floats, Int, Floats]:  # fmt: skip
        """Search, and return the rows that were found too, shape (n, k, d); NaN where none is."""
        value, index = self.search(x, k, params=params, D=D, I=I)
        rows = np.full((*index.shape, self.d), np.nan, np.float32)
        rows[index >= 0] = self._rows()[index[index >= 0]]
        return value, index, _into(R, rows)

    def search(
        self, x: Any, k: int, *, params: None = None, D: Floats | None = None,
        I: Int | None = None,  # noqa: E741
    ) -> tuple[Floats, Int]:  # fmt: skip
        """Find the k best rows for each query.

        Parameters
        ----------
        x : array of shape (n, d)
            Queries.
        k : int
            How many, from 1 on.
        params
            Must be None.
        D, I : arrays of shape (n, k), optional
            Where to put what is returned.

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
        _no_params(params)
        queries = checked(x, self.d)
        k = check_int("k", k, 1)
        distances = self.metric_type == METRIC_L2
        value = np.full((len(queries), k), _LARGEST if distances else -_LARGEST, np.float32)
        index = np.full((len(queries), k), -1, np.int64)
        if self.ntotal and len(queries):
            found = min(k, self.ntotal)
            best = self._made().top(queries, found)
            with np.errstate(over="ignore"):
                value[:, :found], index[:, :found] = best
        return _into(D, value), _into(I, index)

    def range_search(
        self, x: Any, thresh: float, *, params: None = None
    ) -> tuple[NDArray[np.uint64], Floats, Int]:
        """Find all rows at a squared distance below `thresh`, or an inner product above it.

        The threshold may be infinite.

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
        _no_params(params)
        queries = checked(x, self.d)
        # FAISS compares in float32, and so has the threshold as the nearest float32.
        with np.errstate(over="ignore"):
            limit = float(np.float32(check_float("thresh", thresh, -np.inf, np.inf)))
        if not self.ntotal or not len(queries):
            empty = np.zeros(len(queries) + 1, np.uint64)
            return empty, np.zeros(0, np.float32), np.zeros(0, np.int64)
        found = self._made().within(queries, limit)
        with np.errstate(over="ignore"):
            return found.limits.astype(np.uint64), found.value.astype(np.float32), found.rows

    def _rows(self) -> Floats:
        if len(self._parts) != 1:
            self._parts = [np.concatenate([np.zeros((0, self.d), np.float32), *self._parts])]
        return self._parts[0]

    def _made(self) -> Search:
        if self._search is None:
            self._search = Search(self._rows(), self.metric_type == METRIC_L2)
        return self._search


class IndexFlatL2(IndexFlat):
    """Rows that are searched by squared Euclidean distance."""

    def __init__(self, d: int) -> None:
        super().__init__(d, METRIC_L2)


class IndexFlatIP(IndexFlat):
    """Rows that are searched by inner product."""

    def __init__(self, d: int) -> None:
        super().__init__(d, METRIC_INNER_PRODUCT)


def checked(x: Any, d: int) -> Floats:
    """Return rows or queries as float32, checked to be what the index takes."""
    array = to_matrix("x", x)
    if array.shape[1] != d:
        raise ValueError(f"x must have {d} columns like the index, got {array.shape[1]}")
    if not len(array):
        return np.zeros((0, d), np.float32)
    if array.dtype.kind in "biu" and not (is_torch(x) and x.is_floating_point()):
        x = array.astype(np.float32)
    rows = check_rows("x", x, resolve_threads(None))
    return rows.array if rows.array.dtype == np.float32 else rows.floats()


def _into(target: NDArray[Any] | None, value: NDArray[Any]) -> NDArray[Any]:
    """Return the value, in an array of its shape if one is given."""
    if target is None:
        return value
    if target.shape != value.shape:
        raise ValueError(f"arrays for results must have shape {value.shape}, got {target.shape}")
    target[...] = value
    return target


def _no_params(params: None) -> None:
    if params is not None:
        raise ValueError("params must be None: there are no search parameters here")

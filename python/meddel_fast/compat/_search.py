"""Exact search by Euclidean distance or inner product, on kernels that compare cosines.

Rows and queries are centred (for distances) and scaled so that rows u have norms of at most 1;
queries v get the same. They are lifted to vectors whose cosine is what is asked for:

    distances       a = (u, (h - h') / p, q, t, 0)    h = |u|^2 / 2, h' in the middle of all h
                    b = (v, -p, -(g - g') / q, 0, w)  g = |v|^2 / 2, g' in the middle of all g
                    <a, b> = h' + g' - |u - v|^2 / 2
    inner products  a = (u, t, 0), b = (v, 0, w), <a, b> = <u, v>

p and q share the sizes evenly between the two sides. t makes all |a| = A; w all |b| = B where one
threshold is to serve all queries, else it is 0, as the term of g is then. Lifted vectors are
scaled to length 1 and rounded to fp32, which turns each by an angle of at most 2^-24, so that a
cosine is off by less than ``ERROR``. That, and the rounding of the truth, widen every bound below;
what is within the bounds is worked out by the truth (:mod:`meddel_fast.reference`), and a query
that they do not settle is asked again with more candidates, all rows in the end.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from meddel_fast import ops
from meddel_fast.ops import iter_similar_pairs

Float = NDArray[np.float64]
Floats = NDArray[np.float32]
Int = NDArray[np.int64]

ERROR = 1.3e-7  # two angles of 2^-24, 1.20e-7, and what fp64 adds
SPARE = 4  # candidates beyond k, so that the last of them tells that no other is as good
MORE = 8  # times the candidates for a query that is not settled
PAIRS = 2_000_000  # held at a time
ROOM = 1.1  # squared length of lifted vectors over what it must be: no cosine comes near 1
BLOCK_BYTES = 1 << 22  # of products; five times as fast as blocks that leave the cache


class Found(NamedTuple):
    """Rows near each query: those of query i are ``rows[limits[i] : limits[i + 1]]``, rising."""

    limits: Int
    rows: Int
    value: Float


class Lifted(NamedTuple):
    """Lifted vectors at length 1, the lengths they had, half the squared norms of rows lifted."""

    vectors: Floats
    lengths: Float
    half: Float


class Search:
    """Rows to be searched.

    Parameters
    ----------
    rows : array of shape (m, d)
        Checked, finite in fp32.
    squared_distance : bool
        Search by squared Euclidean distance, the lowest first, rather than by inner product, the
        highest first.
    threads : int, optional
        As of :mod:`meddel_fast.ops`.
    """

    def __init__(self, rows: Any, squared_distance: bool, threads: int | None = None) -> None:
        self.rows = np.asarray(rows, dtype=np.float32)
        self.by_distance = squared_distance
        self.threads = threads
        self._squares = _squared_norms(self.rows)
        self._centre: Float = np.zeros(self.rows.shape[1])
        if squared_distance:
            self._centre = self.rows.mean(axis=0, dtype=np.float64)
        self._scale = 1.0
        self._scale = float(np.sqrt(_square(self._unit(self.rows)).max())) or 1.0
        self._p = _half_range(_square(self._unit(self.rows)) / 2) ** 0.5
        self._plain = self._lift_rows(0.0)

    def top(self, queries: Any, k: int) -> tuple[Float, Int]:
        """Find the k best rows for each query, k from 1 to m.

        Returns
        -------
        value : float64 array of shape (n, k)
            Squared distances, rising, or inner products, falling.
        index : int64 array of shape (n, k)
            Rows, rising among equal values.
        """
        queries = np.asarray(queries, dtype=np.float32)
        value = np.empty((len(queries), k))
        index = np.empty((len(queries), k), np.int64)
        left, count = np.arange(len(queries)), min(len(self.rows), k + SPARE)
        while len(left):
            size, unsettled = max(1, PAIRS // count), []
            for begin in range(0, len(left), size):
                part = left[begin : begin + size]
                *best, settled = self._top(queries[part], k, count)
                value[part], index[part] = best
                unsettled.append(part[~settled])
            left, count = np.concatenate(unsettled), min(len(self.rows), MORE * count)
        return value, index

    def _top(self, queries: Floats, k: int, count: int) -> tuple[Float, Int, NDArray[np.bool_]]:
        """Find the k best of so many candidates, and whether no other row is as good."""
        lifted = self._lift_queries(queries, None)
        vectors = lifted.vectors, self._plain.vectors
        cosine, index = ops.topk_similarity(*vectors, count, threads=self.threads)
        squares = _squared_norms(queries)
        who = np.repeat(np.arange(len(queries)), count)
        value = self._values(queries, squares, who, index.reshape(-1)).reshape(index.shape)
        order = np.lexsort((index, value if self.by_distance else -value), axis=1)[:, :k]
        value, index = (np.take_along_axis(v, order, 1) for v in (value, index))
        if count == len(self.rows):
            return value, index, np.ones(len(queries), dtype=bool)
        # What a row that is no candidate may have at the best.
        beyond = self._value_of(cosine[:, -1] + ERROR, lifted)
        worst, slack = value[:, -1], self._slack(squares)
        settled = worst < beyond - slack if self.by_distance else worst > beyond + slack
        return value, index, settled

    def within(self, queries: Any, limit: float) -> Found:
        """Find all rows at a squared distance below the limit, or an inner product above it."""
        queries = np.asarray(queries, dtype=np.float32)
        share = _half_range(_square(self._unit(queries)) / 2) ** 0.5
        lifted, rows = self._lift_queries(queries, share), self._lift_rows(share)
        squares = _squared_norms(queries)
        slack = float(self._slack(squares).max())
        product = float(rows.lengths[0] * lifted.lengths[0])
        if self.by_distance:
            apart = (limit + slack) / self._scale**2
            lowest = (_middle(rows.half) + _middle(lifted.half) - apart / 2) / product
        else:
            lowest = (limit - slack) / (self._scale**2 * product)
        counts = np.zeros(len(queries), dtype=np.int64)
        indices, values = [], []
        for chunk in iter_similar_pairs(
            lifted.vectors, rows.vectors, threshold=float(np.clip(lowest - ERROR, -1.0, 1.0)),
            max_pairs=PAIRS, threads=self.threads,
        ):  # fmt: skip
            value = self._values(queries, squares, chunk.i, chunk.j)
            good = value < limit if self.by_distance else value > limit
            counts += np.bincount(chunk.i[good], minlength=len(queries))
            indices.append(chunk.j[good])
            values.append(value[good])
        limits = np.concatenate([[0], np.cumsum(counts)])
        return Found(limits, np.concatenate(indices), np.concatenate(values))

    def _unit(self, x: Floats) -> Float:
        unit: Float = x.astype(np.float64)
        unit -= self._centre
        unit /= self._scale
        return unit

    def _lift_rows(self, share: float) -> Lifted:
        """Lift the rows; `share` is q of the module's text."""
        u = self._unit(self.rows)
        half, parts = _square(u)[:, None] / 2, [u]
        if self.by_distance:
            parts += [(half - _middle(half)) / (self._p or 1.0), np.full_like(half, share)]
        square = _square(np.concatenate(parts, axis=1))[:, None]
        longest = ROOM * square.max() or 1.0
        parts += [np.sqrt(longest - square), np.zeros_like(half)]
        vectors = np.concatenate(parts, axis=1) / np.sqrt(longest)
        return Lifted(vectors.astype(np.float32), np.full(len(u), np.sqrt(longest)), half[:, 0])

    def _lift_queries(self, queries: Floats, share: float | None) -> Lifted:
        """Lift queries, to a common length where there is a share, each to its own without."""
        v = self._unit(queries)
        half, parts = _square(v)[:, None] / 2, [v]
        if self.by_distance:
            rest = np.zeros_like(half)
            if share is not None:
                rest = (_middle(half) - half) / (share or 1.0)
            parts += [np.full_like(half, -self._p), rest]
        square = _square(np.concatenate(parts, axis=1))[:, None]
        longest = square.copy() if share is None else np.full_like(square, square.max())
        longest[longest == 0.0] = 1.0  # of w alone, and so at a right angle to all rows
        parts += [np.zeros_like(half), np.sqrt(longest - square)]
        vectors = np.concatenate(parts, axis=1) / np.sqrt(longest)
        return Lifted(vectors.astype(np.float32), np.sqrt(longest[:, 0]), half[:, 0])

    def _value_of(self, cosine: Float, lifted: Lifted) -> Float:
        """Return what cosines of queries that have lengths of their own stand for."""
        product: Float = cosine * lifted.lengths * self._plain.lengths[0]
        if self.by_distance:
            product = 2 * (lifted.half + _middle(self._plain.half) - product)
        return self._scale**2 * product

    def _slack(self, squares: Float) -> Float:
        """Return how far rounding may take the truth from what real numbers would give."""
        sizes = np.sqrt(self._squares.max()) + np.sqrt(squares)
        slack: Float = (self.rows.shape[1] + 16) * 2.0**-52 * sizes * sizes
        return slack

    def _values(self, queries: Floats, squares: Float, i: Int, j: Int) -> Float:
        """Return the truth of pairs."""
        product = inner_of_pairs(queries, self.rows, i, j)
        if not self.by_distance:
            return product
        return np.maximum(0.0, (squares[i] + self._squares[j]) - 2.0 * product)


def inner_of_pairs(x: NDArray[Any], y: NDArray[Any], i: Int, j: Int) -> Float:
    """Return ``<x_i, y_j>`` of pairs of rows, in the order of the truth."""
    out = np.empty(len(i))
    size = max(1, BLOCK_BYTES // (16 * x.shape[1]))
    for begin in range(0, len(i), size):
        part = slice(begin, begin + size)
        products = x[i[part]].astype(np.float64) * y[j[part]].astype(np.float64)
        products = np.pad(products, ((0, 0), (0, -x.shape[1] % 8)))
        lanes = np.zeros((len(products), 8))
        for column in range(0, products.shape[1], 8):
            lanes += products[:, column : column + 8]
        lanes = lanes[:, :4] + lanes[:, 4:]
        lanes = lanes[:, :2] + lanes[:, 2:]
        out[part] = lanes[:, 0] + lanes[:, 1]
    return out


def cosine_of_pairs(x: NDArray[Any], y: NDArray[Any], i: Int, j: Int) -> Float:
    """Return the cosines of pairs of rows; 0 where one is a row of zeros."""
    squares = _squared_norms(x)[i] * _squared_norms(y)[j]
    product = inner_of_pairs(x, y, i, j)
    cosine = np.divide(product, np.sqrt(squares), out=np.zeros_like(squares), where=squares > 0)
    return np.clip(cosine, -1.0, 1.0)


def _squared_norms(x: NDArray[Any]) -> Float:
    own = np.arange(len(x))
    return inner_of_pairs(x, x, own, own)


def _middle(half: Float) -> float:
    return float(half.max() + half.min()) / 2


def _half_range(half: Float) -> float:
    return float(half.max() - half.min()) / 2


def _square(x: Float) -> Float:
    """Squared norms of rows, as any order of adding gives them."""
    square: Float = np.einsum("ij,ij->i", x, x)
    return square

"""Exact search by Euclidean distance or inner product, on kernels that compare cosines.

Rows u and queries v are lifted to vectors whose cosine is what is asked for. Distances: rows are
centred and scaled to norms of at most 1, then

    a = (u, |u|^2 / 2, 1, t, 0)      |a| = A = sqrt(3) by the choice of t
    b = (v, -1, -|v|^2 / 2, 0, w)    |b| = B, and |b| = 1 + |v|^2 / 2 for w = 0
    <a, b> = -|u - v|^2 / 2

and likewise a = (u, t, 0), b = (v, 0, w) for inner products, A = sqrt(3/2). The lifted vectors are
rounded to fp32, which turns each by an angle of at most 2^-24, so that their cosine is off by less
than ``ERROR``. That, and the rounding of the truth itself, widen every bound below; what is within
the bounds is worked out by the truth (:mod:`meddel_fast.reference`), and a query for which the
bounds do not settle the answer is compared with all rows.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from meddel_fast import ops
from meddel_fast.pair_stream import iter_similar_pairs

Float = NDArray[np.float64]
Int = NDArray[np.int64]

ERROR = 1.3e-7  # two angles of 2^-24, 1.20e-7, and what fp64 adds
SPARE = 16  # candidates beyond k: few queries are left undecided, at little cost
PAIRS = 2_000_000  # held at a time
BLOCK_BYTES = 1 << 25


class Found(NamedTuple):
    """Rows near each query: those of query i are ``rows[limits[i] : limits[i + 1]]``, rising."""

    limits: Int
    rows: Int
    value: Float


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
        wide = self.rows.astype(np.float64)
        self._centre = wide.mean(axis=0) if squared_distance else np.zeros(self.rows.shape[1])
        wide -= self._centre
        self._scale = float(np.sqrt(np.einsum("ij,ij->i", wide, wide).max())) or 1.0
        wide /= self._scale
        square = np.einsum("ij,ij->i", wide, wide)[:, None]
        one, zero = np.ones_like(square), np.zeros_like(square)
        if squared_distance:
            self._length = np.sqrt(3.0)
            ends = [square / 2, one, np.sqrt(2.0 - square - square * square / 4), zero]
        else:
            self._length = np.sqrt(1.5)
            ends = [np.sqrt(1.5 - square), zero]
        self._lifted = np.concatenate([wide, *ends], axis=1).astype(np.float32)

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
        lifted, lengths = self._lift(queries, common=False)
        count = min(len(self.rows), k + SPARE)
        cosine, index = ops.topk_similarity(lifted, self._lifted, count, threads=self.threads)
        squares = _squared_norms(queries)
        who = np.repeat(np.arange(len(queries)), count)
        value = self._values(queries, squares, who, index.reshape(-1)).reshape(index.shape)
        value, index = self._best(value, index, k)
        if count < len(self.rows):
            scale, slack = self._scale_of(lengths), self._slack(squares)
            beyond = scale * (cosine[:, -1] + ERROR)  # as good as a row that is no candidate can be
            worst = value[:, -1]
            certain = worst < beyond - slack if self.by_distance else worst > beyond + slack
            for i in np.flatnonzero(~certain):
                value[i], index[i] = self._against_all(queries[i : i + 1], squares[i : i + 1], k)
        return value, index

    def within(self, queries: Any, limit: float) -> Found:
        """Find all rows at a squared distance below the limit, or an inner product above it."""
        queries = np.asarray(queries, dtype=np.float32)
        lifted, lengths = self._lift(queries, common=True)
        squares = _squared_norms(queries)
        slack = float(self._slack(squares).max())
        sign = 1.0 if self.by_distance else -1.0
        lowest = (limit + sign * slack) / float(self._scale_of(lengths)[0]) - ERROR
        counts = np.zeros(len(queries), dtype=np.int64)
        indices, values = [], []
        for chunk in iter_similar_pairs(
            lifted, self._lifted, threshold=float(np.clip(lowest, -1.0, 1.0)), max_pairs=PAIRS,
            threads=self.threads,
        ):  # fmt: skip
            value = self._values(queries, squares, chunk.i, chunk.j)
            good = value < limit if self.by_distance else value > limit
            counts += np.bincount(chunk.i[good], minlength=len(queries))
            indices.append(chunk.j[good])
            values.append(value[good])
        limits = np.concatenate([[0], np.cumsum(counts)])
        return Found(limits, np.concatenate(indices), np.concatenate(values))

    def _lift(
        self, queries: NDArray[np.float32], common: bool
    ) -> tuple[NDArray[np.float32], Float]:
        """Lift the queries, and return what length they had; in common: all the same."""
        v = (queries.astype(np.float64) - self._centre) / (self._scale if self.by_distance else 1.0)
        square = np.einsum("ij,ij->i", v, v)[:, None]
        length = 1.0 + square / 2 if self.by_distance else np.sqrt(square)
        # A query of length 0 stands at a right angle to all rows.
        longest = np.broadcast_to(length.max(), length.shape) if common else length
        longest = np.where(longest > 0.0, longest, 1.0)
        rest = np.sqrt(np.maximum(longest**2 - length**2, 0.0))
        zero = np.zeros_like(square)
        ends = [zero - 1.0, -square / 2, zero, rest] if self.by_distance else [zero, rest]
        lifted = np.concatenate([v, *ends], axis=1) / longest
        return lifted.astype(np.float32), longest[:, 0]

    def _scale_of(self, lengths: Float) -> Float:
        """Return what a cosine of 1 stands for, as a squared distance or an inner product."""
        scale: Float = self._length * lengths * self._scale
        return -2.0 * self._scale * scale if self.by_distance else scale

    def _slack(self, squares: Float) -> Float:
        """Return how far rounding may take the truth from what real numbers would give."""
        sizes = np.sqrt(self._squares.max()) + np.sqrt(squares)
        slack: Float = (self.rows.shape[1] + 16) * 2.0**-52 * sizes * sizes
        return slack

    def _values(self, queries: NDArray[np.float32], squares: Float, i: Int, j: Int) -> Float:
        """Return the truth of pairs."""
        product = inner_of_pairs(queries, self.rows, i, j)
        if not self.by_distance:
            return product
        return np.maximum(0.0, (squares[i] + self._squares[j]) - 2.0 * product)

    def _best(self, value: Float, index: Int, k: int) -> tuple[Float, Int]:
        key = value if self.by_distance else -value
        order = np.lexsort((index, key), axis=1)[:, :k]
        return np.take_along_axis(value, order, 1), np.take_along_axis(index, order, 1)

    def _against_all(self, query: NDArray[np.float32], squares: Float, k: int) -> tuple[Float, Int]:
        every = np.arange(len(self.rows))
        value = self._values(query, squares, np.zeros_like(every), every)
        return self._best(value[None], every[None], k)


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


def _squared_norms(x: NDArray[np.float32]) -> Float:
    own = np.arange(len(x))
    return inner_of_pairs(x, x, own, own)

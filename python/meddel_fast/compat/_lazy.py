"""Facility location by the lazy greedy algorithm (Minoux 1978), for the drop-ins that offer it.

A gain is a sum, in one fixed order, of terms max(0, similarity - covered). Rounding is monotone, so
as what is covered grows no term and no partial sum rises: a gain from earlier stays an upper bound
in floating point too, and the lazy choice is the naive one, ties to the lowest index.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Int = NDArray[np.int64]

_BLOCK_BYTES = 1 << 24  # of similarities looked at together


class Coverage:
    """What the chosen samples cover, and what each candidate would add.

    Parameters
    ----------
    rows : callable
        Takes indices of candidates, int64 of shape (m,), and returns their similarities to all n
        samples, floats of shape (m, n), the same for a candidate whenever it is asked.
    n : int
        Number of samples.
    """

    def __init__(self, rows: Callable[[Int], NDArray[np.floating]], n: int) -> None:
        self._rows = rows
        self.n = n
        self.covered: Float = np.zeros(n)

    def gains(self, candidates: Int) -> Float:
        """Return what each candidate would add to the sum of what is covered, shape (m,)."""
        size = max(1, _BLOCK_BYTES // (8 * self.n))
        out = np.empty(len(candidates))
        for begin in range(0, len(candidates), size):
            # fp64 throughout: numpy would convert in pieces, and add in another order
            block = self._rows(candidates[begin : begin + size]).astype(np.float64)
            block -= self.covered
            np.maximum(block, 0.0, out=block)
            out[begin : begin + size] = block.sum(axis=1)
        return out

    def take(self, sample: int) -> None:
        """Add a chosen sample."""
        np.maximum(self.covered, self._rows(np.array([sample]))[0], out=self.covered)


def lazy_greedy(coverage: Coverage, candidates: Int, count: int) -> tuple[Int, Float]:
    """Choose candidates, each of the highest gain, and say what they gained.

    Returns
    -------
    order : int64, shape (count,)
    gains : float64, shape (count,)
    """
    bounds = [(-gain, i) for gain, i in zip(coverage.gains(candidates), candidates, strict=True)]
    heapq.heapify(bounds)
    order, gains = np.empty(count, np.int64), np.empty(count)
    for step in range(count):
        _, sample = bounds[0]
        while True:
            fresh = -float(coverage.gains(np.array([sample]))[0]), sample
            heapq.heapreplace(bounds, fresh)
            if bounds[0] == fresh:
                break
            _, sample = bounds[0]
        heapq.heappop(bounds)
        coverage.take(int(sample))
        order[step], gains[step] = sample, -fresh[0]
    return order, gains

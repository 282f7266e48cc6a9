"""The samples scaled to norm 1, for the methods that add them up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast import arrays, reference

_BLOCK = 1024  # rows widened at a time


class Directions:
    """Samples scaled to norm 1 in fp64, widened a block at a time. A zero row stays zero."""

    def __init__(self, x: Any, threads: int | None) -> None:
        self._rows = arrays.check_rows("x", x, arrays.resolve_threads(threads))
        self.n, self.d = self._rows.n, self._rows.d
        squares = [reference.squared_norm(self._wide(block)) for block in self.blocks()]
        self._squares = np.concatenate(squares)
        self._norms = np.sqrt(self._squares)

    def exact(self, which: Any) -> NDArray[np.float64]:
        """Return some of the directions (a slice, or indices)."""
        rows, norm = self._wide(which), self._norms[which, None]
        return np.divide(rows, norm, out=np.zeros_like(rows), where=norm > 0)

    def self_similarity(self) -> NDArray[np.float64]:
        """Return the cosine of each sample to itself: 1, or 0 of a zero row."""
        return (self._squares > 0).astype(np.float64)

    def mean(self, weights: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """Return the (weighted) mean, (d,); rows are added in the order of their index."""
        total = np.zeros(self.d)
        for block in self.blocks():
            part = self.exact(block)
            if weights is not None:
                part *= weights[block, None]
            total += np.cumsum(part, axis=0)[-1]
        return total / (self.n if weights is None else np.cumsum(weights)[-1])

    def products(self, w: NDArray[np.float64], which: Any = None) -> NDArray[np.float64]:
        """Return <w, x> of some directions, or all, in the order of summation of the kernels."""
        if which is not None:
            return reference.inner(self.exact(which), w[None])[:, 0]
        return np.concatenate([self.products(w, block) for block in self.blocks()])

    def blocks(self) -> Iterator[slice]:
        """Yield slices that cover all samples."""
        for low in range(0, self.n, _BLOCK):
            yield slice(low, low + _BLOCK)

    def _wide(self, which: Any) -> NDArray[np.float64]:
        return self._rows.floats(which).astype(np.float64)

"""The samples scaled to norm 1, for the methods that add them up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast import _core, arrays, reference
from meddel_fast.sharded.group import together
from meddel_fast.sharded.memory import check_memory
from meddel_fast.sharded.spread import Spread
from meddel_fast.stores.store import Store

_BLOCK = 1024  # rows widened at a time
# Bytes that a method takes of a store beside a copy: for each row, and for each number of a block.
_ROW, _ELEMENT = 64, 40


def self_similarity(x: Any, threads: int | None) -> NDArray[np.float64]:
    """Return the cosine of each sample to itself: 1, or 0 of a zero row."""
    if not isinstance(x, Spread):
        return UnitRows(x, threads).self_similarity()
    own = together(x.group, lambda: UnitRows(x.own, threads).self_similarity())
    return x.all_of(own)


class UnitRows:
    """Samples scaled to norm 1 in fp64, widened a block at a time. A zero row stays zero.

    Raises
    ------
    TypeError, ValueError
        Rows that :func:`meddel_fast.arrays.check_rows` refuses; a budget that is too small.
    """

    def __init__(self, x: Any, threads: int | None) -> None:
        threads = arrays.resolve_threads(threads)
        self._store = x if isinstance(x, Store) else None
        if self._store is None:
            self._rows = arrays.check_rows("x", x, threads)
        self.n, self.d = map(int, (self._rows.array if self._store is None else self._store).shape)
        if self._store is not None:
            self._check_memory(self._store)
        if self._store is None:
            self._squares = _core.squared_norms(self._rows.array, threads)
        else:
            self._squares = np.empty(self.n)
            for block in self.blocks():
                rows = self._read(block).array
                arrays.check_finite("x", rows, threads, block.start)
                self._squares[block] = _core.squared_norms(rows, threads)
        self._norms = np.sqrt(self._squares)

    def _check_memory(self, store: Store) -> None:
        wanted = _ROW * self.n + _ELEMENT * _BLOCK * self.d + store.beside
        memory = check_memory(store.memory)
        if memory < wanted:
            raise ValueError(
                f"memory must be at least {wanted} bytes for {self.n} x {self.d} rows of x, "
                f"got {memory}"
            )

    def exact(self, which: Any) -> NDArray[np.float64]:
        """Return some of the scaled rows (a slice, or indices)."""
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
        """Return <w, x> of some scaled rows, or all, in the order of summation of the kernels."""
        parts = self.blocks() if which is None else _blocks_of(which)
        return np.concatenate([reference.inner(self.exact(p), w[None])[:, 0] for p in parts])

    def blocks(self) -> Iterator[slice]:
        """Yield slices that cover all samples."""
        for low in range(0, self.n, _BLOCK):
            yield slice(low, min(low + _BLOCK, self.n))

    def _wide(self, which: Any) -> NDArray[np.float64]:
        return self._read(which).floats().astype(np.float64)

    def _read(self, which: Any) -> arrays.Rows:
        if self._store is None:
            return replace(self._rows, array=self._rows.array[which])
        whole = isinstance(which, slice)
        rows = self._store.rows(which.start, which.stop) if whole else self._store.take(which)
        return arrays.Rows(rows, False, self._store.bfloat16)


def _blocks_of(which: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    for low in range(0, len(which), _BLOCK):
        yield which[low : low + _BLOCK]

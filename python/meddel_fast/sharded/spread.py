"""A set of rows that the processes of a group share, as one set for several operations.

Selectors work on such a one: it has the length of the whole set, rows are taken out of it by their
numbers in it, and each operation does its work on the group's processes and within their budget.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.arrays import check_finite, check_names
from meddel_fast.sharded.checkpoint import Kept
from meddel_fast.sharded.group import Group, together
from meddel_fast.sharded.parts import BLOCK, Int, Parts, Settings, block_bounds, store_of
from meddel_fast.stores.store import LocalRows, Store


class Spread:
    """Rows of a set, with the group that works on them and the budget of each of its processes.

    Stands for ``x`` in the operations. Every process does the same with it, in the same order.

    Parameters
    ----------
    x
        A store or an array that each process has as a whole, or :class:`LocalRows`.
    settings
        Group, budget (the least of all processes is that of all), threads.
    checkpoint
        Where the operations leave what they have done, to go on from.

    Raises
    ------
    TypeError, ValueError
        For rows of wrong type or shape, and NaN or infinities in rows that are in memory: on all
        processes. Those of a store are found when it is read.
    """

    def __init__(self, x: Any, settings: Settings, checkpoint: Kept | None = None) -> None:
        group = settings.group
        budgets = group.allgather(np.array([settings.memory], np.int64))
        memory = int(min(budget[0] for budget in budgets))
        parts = Parts("x", x, settings)

        def look() -> None:
            if isinstance(x.rows if isinstance(x, LocalRows) else x, Store):
                return
            for start in range(parts.own.start, parts.own.stop, BLOCK):
                rows = parts.read(start, min(start + BLOCK, parts.own.stop))
                check_finite("x", rows, settings.threads, start)

        together(group, look)
        self._given, self.checkpoint = len(parts.own), checkpoint
        self._set(group, memory, isinstance(x, LocalRows), store_of("x", x), parts.bounds)

    def _set(self, group: Group, memory: int, local: bool, store: Store, bounds: list[int]) -> None:
        self.group, self.memory, self.local = group, memory, local
        if local:
            store, bounds = _begun_at_blocks(store, bounds, group)
        self._store, self._bounds = store, bounds
        self.own_slice = slice(bounds[group.rank], bounds[group.rank + 1])

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d)."""
        return self._bounds[-1], self._store.shape[1]

    def __len__(self) -> int:
        return self._bounds[-1]

    def __getitem__(self, which: Int) -> Spread:
        """Return some rows, by an array of rising indices."""
        store, bounds = self._store, self._bounds
        if self.local:
            bounds = np.searchsorted(which, bounds).tolist()
            first, end = bounds[self.group.rank], bounds[self.group.rank + 1]
            store = store[which[first:end] - self.own_slice.start]
        else:
            store, bounds = store[which], block_bounds(len(which), self.group.size)
        some = Spread.__new__(Spread)
        some.checkpoint = self.checkpoint
        some._set(self.group, self.memory, self.local, store, bounds)
        return some

    @property
    def rows(self) -> Store | LocalRows:
        """The rows as operations take them, with :attr:`group` and :attr:`memory`."""
        return LocalRows(self._store) if self.local else self._store

    @property
    def own(self) -> Store:
        """The rows that this process works on, those at :attr:`own_slice` of the set."""
        here = self.own_slice
        own = self._store if self.local else self._store[np.arange(here.start, here.stop)]
        return own.within(self.memory)

    def all_of(self, own: NDArray[Any]) -> NDArray[Any]:
        """Return one entry a row of the set, of one an own row."""
        return np.concatenate(self.group.allgather(own))

    def whole(self, name: str, value: Any) -> Any:
        """Return an argument with one entry a row of the set.

        Where each process has rows of its own, it has the entries of those that it was given.

        Raises
        ------
        TypeError
            Other than one entry a row, or of different types: on all processes.
        """
        return _gathered(name, value, self.group, self._given) if self.local else value


def _gathered(name: str, value: Any, group: Group, n: int) -> NDArray[Any] | None:
    """Put together what the processes have of an argument; all may have None."""

    def look() -> NDArray[Any] | None:
        if value is None:
            return None
        array = check_names(name, value)
        if array.shape != (n,):
            raise TypeError(
                f"{name} must be of shape ({n},), one for each row of this rank, "
                f"got {array.dtype} of shape {array.shape}"
            )
        return array

    array = together(group, look)
    told = np.frombuffer(("" if array is None else array.dtype.str).encode(), np.uint8)
    types = [bytes(its).decode() for its in group.allgather(told)]
    kinds = {np.dtype(its).kind.replace("u", "i") if its else "" for its in types}
    if len(kinds) > 1:
        got = ", ".join(str(np.dtype(its)) if its else "None" for its in types)
        raise TypeError(f"{name} must be of one type on all ranks, got {got}")
    if array is None:
        return None
    dtype = np.result_type(*types)
    bits = np.ascontiguousarray(array.astype(dtype)).view(np.uint8).reshape(n, dtype.itemsize)
    return np.concatenate(group.allgather(bits)).reshape(-1).view(dtype)


def _begun_at_blocks(store: Store, bounds: list[int], group: Group) -> tuple[Store, list[int]]:
    """Pass rows on to the ranks before, so that each one's begin where k-means may begin a sum.

    A block's rows are those of the rank that has its first one.
    """
    n = bounds[-1]
    firsts = [min(n, -(-bound // BLOCK) * BLOCK) for bound in bounds]  # of blocks from there on
    if firsts == bounds:
        return store, bounds
    start, stop = bounds[group.rank], bounds[group.rank + 1]
    begin = min(firsts[group.rank], stop)

    def head() -> NDArray[Any]:
        if begin > start:
            return store.rows(0, begin - start)
        return np.empty((0, store.shape[1]), store.dtype)

    heads = group.allgather(together(group, head))
    own = store[np.arange(begin - start, stop - start)]
    first, end = firsts[group.rank], firsts[group.rank + 1]
    came = [rows for rows, at in zip(heads, bounds, strict=False) if first < at < end and len(rows)]
    return (own.followed_by(np.concatenate(came)) if came else own), firsts

"""Threads as the processes of a group, for tests that need no processes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")

_LONGEST = 60  # seconds that one waits for another, which may have failed


class _Table:
    """Where the threads of a group lay what they give."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.barrier = threading.Barrier(size)
        self.given: list[Any] = [None] * size


class ThreadGroup:
    """One thread of a group, which talks to the others."""

    def __init__(self, rank: int, table: _Table) -> None:
        self.rank, self.size, self.sent = rank, table.size, 0
        self._table = table

    def allgather(self, array: NDArray[Any]) -> list[NDArray[Any]]:
        self._table.given[self.rank] = array.copy()
        self._table.barrier.wait(_LONGEST)
        found = list(self._table.given)
        self._table.barrier.wait(_LONGEST)
        assert len({(a.dtype, a.shape[1:]) for a in found}) == 1
        return [np.array(a) for a in found]

    def broadcast(self, array: NDArray[Any] | None, root: int) -> NDArray[Any]:
        if self.rank == root:
            assert array is not None
            self._table.given[root] = array.copy()
        self._table.barrier.wait(_LONGEST)
        found = np.array(self._table.given[root])
        self._table.barrier.wait(_LONGEST)
        return found

    def abandon(self) -> None:
        """Leave the others, whose exchanges fail from then on."""
        self._table.barrier.abort()


def on_ranks(size: int, work: Callable[[ThreadGroup], T]) -> list[T | BaseException]:
    """Do the same on all ranks; what each returns, or raises."""
    table = _Table(size)

    def run(rank: int) -> T | BaseException:
        try:
            return work(ThreadGroup(rank, table))
        except Exception as error:
            return error

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(run, range(size)))

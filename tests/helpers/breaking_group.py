"""A group of threads one of which dies in the midst of a call, as a process of several may."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numpy.typing import NDArray
from thread_group import ThreadGroup, on_ranks

T = TypeVar("T")


class DiedError(Exception):
    """What a thread dies of."""


class BreakingGroup:
    """A thread of a group that dies at one of its exchanges; then the others' fail as well."""

    def __init__(self, group: ThreadGroup, dies_at: int) -> None:
        self._group, self._dies_at = group, dies_at
        self.rank, self.size, self.sent, self.exchanges = group.rank, group.size, 0, 0

    def allgather(self, array: NDArray[Any]) -> list[NDArray[Any]]:
        self._count()
        return self._group.allgather(array)

    def broadcast(self, array: NDArray[Any] | None, root: int) -> NDArray[Any]:
        self._count()
        return self._group.broadcast(array, root)

    def _count(self) -> None:
        self.exchanges += 1
        if self.exchanges == self._dies_at:
            self._group.abandon()
            raise DiedError


def broken(size: int, rank: int, exchange: int, work: Callable[[Any], T]) -> bool:
    """Do it on all ranks, of which one dies at one of its exchanges; return whether it came to it.

    What has failed without that is raised.
    """

    def run(group: ThreadGroup) -> T:
        return work(BreakingGroup(group, exchange if group.rank == rank else -1))

    found = on_ranks(size, run)
    died = any(isinstance(its, DiedError) for its in found)
    for its in found:
        if isinstance(its, BaseException) and not died:
            raise its
    return died

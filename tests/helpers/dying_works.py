"""Works of Ray's ranks in which one dies, once, at a place that is said beforehand."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

from meddel_fast.cluster.ray.seat import Seat, Work


def process() -> None:
    """End this process."""
    os.kill(os.getpid(), signal.SIGKILL)


def node() -> None:
    """End this process's node; the process follows."""
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)


class Once:
    """Does what it is told to the first time, on all ranks together."""

    def __init__(self, mark: Path, rank: int, how: Any) -> None:
        self._mark, self._rank, self._how = mark, rank, how

    def __call__(self, rank: int, *args: Any) -> None:
        if rank == self._rank and not self._mark.exists():
            self._mark.touch()
            self._how(*args)


class DyingGroup:
    """A group in which a rank dies at an exchange."""

    def __init__(self, group: Any, at: int, once: Once) -> None:
        self._group, self._at, self._once = group, at, once
        self.rank, self.size = group.rank, group.size

    @property
    def sent(self) -> int:
        return int(self._group.sent)

    def allgather(self, array: Any) -> Any:
        self._count()
        return self._group.allgather(array)

    def broadcast(self, array: Any, root: int) -> Any:
        self._count()
        return self._group.broadcast(array, root)

    def _count(self) -> None:
        self._at -= 1
        if self._at == 0:
            self._once(self.rank)


def _compute(seat: Seat, work: Work, at: int, once: Once, **options: Any) -> Any:
    group, seat.group = seat.group, DyingGroup(seat.group, at, once)
    try:
        return work.compute(seat, **options)
    finally:
        seat.group = group


def _answer(seat: Seat, result: Any, work: Work, at: int, once: Once, **options: Any) -> Any:
    if at < 0:
        once(seat.group.rank)
    return work.answer(seat, result, **options)


def dying(work: Work, at: int, mark: Path, rank: int = 1, how: Any = process) -> Work:
    """Return a work whose rank dies at an exchange, or where it has the result (-1)."""
    more = {"work": work, "at": at, "once": Once(mark, rank, how)}
    return Work(work.name, partial(_compute, **more), partial(_answer, **more))


class DyingSource:
    """A source whose rank dies while it opens its rows."""

    def __init__(self, source: Any, mark: Path, rank: int = 1, how: Any = process) -> None:
        self._source, self._once = source, Once(mark, rank, how)

    def prepare(self, size: int) -> int:
        return int(self._source.prepare(size))

    def for_rank(self, rank: int) -> Any:
        return DyingRows(self._source.for_rank(rank), self._once)


class DyingRows:
    """What a rank of such a source opens."""

    def __init__(self, rows: Any, once: Once) -> None:
        self._rows, self._once = rows, once

    def open(self, rank: int, size: int, patience: float) -> Any:
        part = self._rows.open(rank, size, patience)
        self._once(rank)
        return part

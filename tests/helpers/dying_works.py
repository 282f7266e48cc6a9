"""Works of Ray's ranks in which one dies, once, at a place that is said beforehand."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray

from meddel_fast.cluster.ray.blocks import LostBlocksError
from meddel_fast.cluster.ray.seat import Seat, Work
from meddel_fast.cluster.ray.sources import Part
from meddel_fast.stores.store import LocalRows


def process(group: Any) -> None:
    """End this process."""
    os.kill(os.getpid(), signal.SIGKILL)


def process_always(group: Any) -> None:
    """End this process, each time: its mark cannot be made."""
    os.kill(os.getpid(), signal.SIGKILL)


def node(group: Any) -> None:
    """End this process's node; the process follows."""
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)


def stop(group: Any) -> None:
    """Stop this process, with all its threads."""
    os.kill(os.getpid(), signal.SIGSTOP)


def rendezvous(group: Any) -> None:
    """End the actor at which the ranks meet."""
    ray.kill(group._rendezvous)


def away(workers: Any) -> int:
    """Place the ranks, and return one that is not on the driver's node."""
    workers._crew.fill(share=False)
    here = ray.get_runtime_context().get_node_id()
    return next(rank for rank, at in workers._crew.places.items() if at.node != here)


class Once:
    """Does what it is told to the first time, on all ranks together."""

    def __init__(self, mark: Path, rank: int, how: Any) -> None:
        self._mark, self._rank, self._how = mark, rank, how

    def __call__(self, rank: int, group: Any = None) -> None:
        if rank == self._rank and not self._mark.exists():
            if self._mark.parent.exists():
                self._mark.touch()
            self._how(group)


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
            self._once(self.rank, self._group)


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


class NoRows:
    """A source of nothing, for works that look at no rows."""

    def prepare(self, size: int) -> int:
        return 0

    def for_rank(self, rank: int) -> Any:
        return self

    def open(self, rank: int, size: int, patience: float) -> Part:
        return Part(LocalRows(np.empty((0, 1))), 0, 0)


class LosingRows(NoRows):
    """Such a source, whose blocks are lost until it is prepared again."""

    prepared = 0

    def prepare(self, size: int) -> int:
        self.prepared += 1
        return 0

    def open(self, rank: int, size: int, patience: float) -> Part:
        if self.prepared < 2 and rank == 0:
            raise LostBlocksError("a block is gone")
        return super().open(rank, size, patience)


def _nothing(seat: Seat, result: Any, **options: Any) -> Any:
    return {}, pa.table({})


def _wait(seat: Seat, folder: Path) -> Any:
    (folder / str(os.getpid())).touch()
    if seat.group.rank == 0:
        time.sleep(600)
    return seat.group.allgather(np.zeros(1))


def _exchange(seat: Seat, rounds: int) -> Any:
    group = seat.group
    for number in range(rounds):
        array = np.full((1 << 20) // 8, 10 * number + group.rank)
        found = [int(its[-1]) for its in group.allgather(array)]
        assert found == [10 * number + rank for rank in range(group.size)]
        root = number % group.size
        came = group.broadcast(array if group.rank == root else None, root)
        assert int(came[0]) == 10 * number + root
        came[:] = 0  # it is our own


WAIT = Work("wait", _wait, _nothing)
EXCHANGE = Work("exchange", _exchange, _nothing)

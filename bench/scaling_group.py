"""Processes that work on one set and count all that they exchange, read and work on.

They exchange arrays through files of a folder and wait for each other at a barrier: no library that
would add memory or time of its own to what is counted.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from bench_scale import Watch, status
from numpy.typing import NDArray

from meddel_fast import _core
from meddel_fast.sharded.kcenter import _Greedy
from meddel_fast.sharded.seeding import Seeding

LONGEST = 280.0  # seconds that one waits for another, which may have failed
Row = dict[str, Any]


class FileGroup:
    """One process of a group.

    Attributes
    ----------
    rank, size, sent
        As :class:`meddel_fast.sharded.group.Group` has them.
    got
        Bytes that came from others.
    exchanges
        How often each kind of exchange took place.
    largest
        Bytes of the largest array that this process gave.
    """

    def __init__(self, rank: int, size: int, folder: Path, barrier: Any) -> None:
        self.rank, self.size, self.sent, self.got, self.largest = rank, size, 0, 0, 0
        self.exchanges: Counter[str] = Counter()
        self._folder, self._barrier = folder, barrier

    def allgather(self, array: NDArray[Any]) -> list[NDArray[Any]]:
        self._give(array)
        found = self._meet("allgather", range(self.size))
        assert len({(a.dtype, a.shape[1:]) for a in found}) == 1
        return found

    def broadcast(self, array: NDArray[Any] | None, root: int) -> NDArray[Any]:
        if self.rank == root:
            assert array is not None
            self._give(array)
        return self._meet("broadcast", [root])[0]

    def _give(self, array: NDArray[Any]) -> None:
        np.save(self._folder / f"{self.rank}.npy", array)
        self.sent += array.nbytes * (self.size - 1)
        self.largest = max(self.largest, array.nbytes)

    def _meet(self, kind: str, ranks: Any) -> list[NDArray[Any]]:
        self.exchanges[kind] += 1
        self._barrier.wait(LONGEST)
        found = [np.load(self._folder / f"{rank}.npy") for rank in ranks]
        self._barrier.wait(LONGEST)
        self.got += sum(a.nbytes for a, rank in zip(found, ranks, strict=True) if rank != self.rank)
        return found


class Kernels:
    """CPU seconds of each function of the extension, and how k-center and the seeds went on.

    Attributes
    ----------
    rounds, asked, offered, seeded
        As :class:`scaling_model.Facts` has them.
    """

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.rounds = self.asked = self.offered = self.seeded = 0
        self._plain: dict[str, Any] = {}
        self._largest, self._seeds = _Greedy._largest, Seeding.run

    def __enter__(self) -> Kernels:
        for name in dir(_core):
            function = getattr(_core, name)
            if callable(function) and not isinstance(function, type) and name[0] != "_":
                self._plain[name] = function
                setattr(_core, name, self._timed(name, function))
        largest = self._largest

        def look(greedy: _Greedy, count: int) -> Any:
            self.rounds += 1
            self.asked += count
            return largest(greedy, count)

        seeds = self._seeds

        def seed(seeding: Seeding) -> Any:
            before = seeding._parts.store.rows_read
            found = seeds(seeding)
            self.seeded += seeding._parts.store.rows_read - before
            return found

        _Greedy._largest, Seeding.run = look, seed
        return self

    def __exit__(self, *rest: object) -> None:
        for name, function in self._plain.items():
            setattr(_core, name, function)
        _Greedy._largest, Seeding.run = self._largest, self._seeds

    def _timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            began = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[name] += time.process_time() - began
                if name == "choose_among":
                    self.offered += len(args[0])

        return call


def counted(work: Callable[[Any], tuple[Any, Any]], group: Any) -> tuple[Any, Row]:
    """Do some work in this process, one of a group; return what it found, and what it took.

    The work returns what it found and the store that it read.
    """
    before = status("RssAnon")
    began, worked = time.perf_counter(), time.process_time()
    with Watch() as watch, Kernels() as kernels:
        found, store = work(group)
    return found, {
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - worked,
        "kernels": sum(kernels.seconds.values()),
        "own_memory": max(0, watch.peak - before),
        "rows_read": store.rows_read,
        "sent": group.sent,
        "got": getattr(group, "got", 0),
        "largest": getattr(group, "largest", 0),
        "exchanges": sum(getattr(group, "exchanges", Counter()).values()),
        "rounds": kernels.rounds,
        "asked": kernels.asked,
        "offered": kernels.offered,
        "seeded": kernels.seeded,
    }


def on_processes(
    size: int, work: Callable[[Any], tuple[Any, Any]], told: Callable[[Any], Row]
) -> list[Row]:
    """Do the same in so many processes; return of each what it took and what is told of its result.

    Raises
    ------
    RuntimeError
        One of them failed; the message is its error's.
    """
    with tempfile.TemporaryDirectory() as folder:
        context = multiprocessing.get_context("fork")
        barrier, answers = context.Barrier(size), context.SimpleQueue()

        def run(rank: int) -> None:
            try:
                found, row = counted(work, FileGroup(rank, size, Path(folder), barrier))
                answers.put((rank, row | told(found)))
            except BaseException as error:
                barrier.abort()
                answers.put((rank, f"rank {rank}: {type(error).__name__}: {error}"))

        ranks = [context.Process(target=run, args=(rank,), daemon=True) for rank in range(size)]
        for rank in ranks:
            rank.start()
        rows = dict(answers.get() for _ in ranks)
        for rank in ranks:
            rank.join()
    failed = [row for row in rows.values() if isinstance(row, str)]
    if failed:  # those that waited for another say so; the first to fail says why
        raise RuntimeError(min(failed, key=lambda said: "BrokenBarrierError" in said))
    return [rows[rank] for rank in range(size)]

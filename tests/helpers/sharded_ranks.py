"""What one process of a group does in tests/cluster/test_groups_of_processes.py, under torchrun.

``run STORE OUT``: every operation on a store, and some on the rows of each rank alone; every rank
checks that all have the same results, rank 0 writes them. ``die STORE``: rank 1 is killed in the
midst of the work. ``bad STORE``: rank 1 alone has a store with a NaN. ``leave STORE PLACE NAME``:
rank 1 is killed in the midst of an operation, after some saves.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from typing import Any

import numpy as np
import pytest
import torch
from sharded_cases import OPERATIONS, selection

import meddel_fast as mf
from meddel_fast.cluster import TorchGroup, join_group
from meddel_fast.sharded.checkpoint import Checkpoint
from meddel_fast.stores.store import LocalRows, open_store

LOCAL = ("pairs", "greedy in groups", "kmeans", "kcenter")
SELECTORS = ("d4", "kcenter", "coverage")


def check_alike(group: TorchGroup, name: str, found: Any) -> None:
    fields = [np.asarray(field) for field in found]
    digest = hashlib.sha256(b"".join(field.tobytes() for field in fields)).digest()
    for rank, its in enumerate(group.allgather(np.frombuffer(digest, np.uint8))):
        assert bytes(its) == digest, f"{name}: rank {rank} has another result than {group.rank}"


def run(group: TorchGroup, path: str, out: str) -> None:
    store = open_store(path)
    results = {}
    for name, operation in OPERATIONS.items():
        sent = group.sent
        found = operation(store, group=group, memory=20_000_000, threads=1)
        assert group.sent > sent
        check_alike(group, name, found)
        results[name] = found
    # Of the rows that are another rank's, each reads none, but for the second sets.
    blocks = -(-len(store) // 1024)
    start, stop = (blocks * r // group.size * 1024 for r in (group.rank, group.rank + 1))
    own = LocalRows(store.rows(start, min(stop, len(store))))
    for name in LOCAL:
        found = OPERATIONS[name](own, group=group, memory=20_000_000, threads=1)
        check_alike(group, name, found)
        results[f"{name} of local rows"] = found
    for name in SELECTORS:
        for part in (slice(None), slice(start, stop)):
            rows = store if part == slice(None) else own
            found = selection(name, rows, part, group=group, memory="20MB", threads=1)
            check_alike(group, name, found)
            results[f"selector {name} of {'rows' if rows is store else 'local rows'}"] = found
    with pytest.raises(ValueError, match="x must have a multiple of 1024 rows on each rank"):
        mf.kmeans(LocalRows(own.rows[:-1]), 2, group=group)
    for full in (0, group.size - 1):  # one rank has all rows, the others have none
        rows = store.rows(0, len(store))
        own = LocalRows(rows if group.rank == full else rows[:0])
        for name in (*LOCAL, "redundancy", "top 3", "components", "kcenter warm"):
            found = OPERATIONS[name](own, group=group, memory=20_000_000, threads=1)
            check_alike(group, name, found)
            results[f"{name} of rows that rank {full} has"] = found
    with pytest.raises(ValueError, match="x must have at least one row and one column"):
        mf.redundancy(LocalRows(rows[:0]), group=group)
    if group.rank == 0:
        np.savez(out, **{f"{n}/{i}": f for n, fs in results.items() for i, f in enumerate(fs)})


def die(group: TorchGroup, path: str) -> None:
    rows = open_store(path)
    mf.kcenter_greedy(rows, 5, group=group)
    if group.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    mf.deduplicate(rows, 0.9, group=group)


def bad(group: TorchGroup, path: str) -> None:
    rows = open_store(path).rows(0, 1024).copy()
    if group.rank == 1:
        rows[5] = np.nan
    mf.deduplicate(LocalRows(rows), 0.9, group=group)


def leave(group: TorchGroup, path: str, place: str, name: str) -> None:
    save = Checkpoint.save

    def killed(self: Checkpoint, *told: Any, **arrays: Any) -> bool:
        if self.saves == 2 and group.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return save(self, *told, **arrays)

    Checkpoint.save = killed  # type: ignore[method-assign]
    how = {"group": group, "memory": 20_000_000, "threads": 1, "checkpoint": place}
    OPERATIONS[name](open_store(path), **how)


def main(what: str, *paths: str) -> None:
    torch.set_num_threads(1)
    with join_group(timeout=120) as group:
        {"run": run, "die": die, "bad": bad, "leave": leave}[what](group, *paths)
    with join_group() as again:  # a later block goes on with the same processes
        assert len(again.allgather(np.zeros(1))) == group.size


if __name__ == "__main__":
    main(*sys.argv[1:])

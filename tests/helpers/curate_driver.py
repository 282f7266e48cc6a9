"""Curates again and again in forked children that die by SIGKILL at named points.

``python curate_driver.py SOURCE ENCODER OUT STAGE:POINT ...``: one child for each argument, all at
the same place, then one that may finish. The heavy imports are paid for once. A child that does not
die where it should makes this script fail.

POINT is ``begin`` (the work was announced), ``end`` (it is done, its record is not written),
``middle`` (half of what its progress counts is done), or a number: so many shards have been written
by this process. CURATE_OPTIONS may hold more options, as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch
from forked import die, fork_each

from meddel_fast.benchmark.stages.stage import Stage
from meddel_fast.cluster import curate, local
from meddel_fast.cluster.curation import Silent
from meddel_fast.cluster.record import Record
from meddel_fast.training.embedder import Embedder

OPTIONS = {"budget": 0.3, "dedup": 0.99, "batch_size": 4, "device": "cpu", "workers": 2}


class Killer(Silent):
    """A watcher that kills its own process where the work on a stage begins."""

    def __init__(self, stage: str, point: str) -> None:
        self.stage, self.point, self.active = stage, point, False

    def begin(self, stage: Stage, reason: str) -> None:
        self.active = stage.name == self.stage
        if self.active and self.point == "begin":
            die()

    def progress(self, done: int, total: int) -> None:
        if self.active and self.point == "middle" and 2 * done >= total:
            die()


def child(source: str, encoder: str, out: str, target: str) -> None:
    stage, _, point = target.partition(":")
    done, make = Record.done, local.make_shard
    written = 0

    def done_or_die(self: Record, name: str, *rest: Any) -> None:
        if point == "end" and name == stage:
            die()
        done(self, name, *rest)

    def make_or_die(*job: Any) -> None:
        nonlocal written
        if point.isdigit() and written >= int(point):
            die()
        make(*job)
        written += 1

    Record.done = done_or_die  # type: ignore[method-assign]
    local.make_shard = make_or_die  # type: ignore[assignment]
    options = {**OPTIONS, "encoder": encoder, **json.loads(os.environ.get("CURATE_OPTIONS", "{}"))}
    curate(source, out, watcher=Killer(stage, point), **options)


def main(source: str, encoder: str, out: str, targets: list[str]) -> None:
    torch.set_num_threads(1)
    Embedder(encoder, device="cpu")  # which imports what the children need
    fork_each(targets, partial(child, source, encoder, out))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], str(Path(sys.argv[3])), sys.argv[4:])

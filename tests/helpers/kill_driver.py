"""Runs a benchmark again and again in forked children that die by SIGKILL at named points.

``python kill_driver.py CONFIG OUT STAGE:POINT ...``: one child for each argument, all on the same
run directory, then one that may finish. The heavy imports are paid for once. A child that does not
die where it should makes this script fail.

POINT is ``begin`` (the work was announced, nothing is done), ``middle`` (half of the work's own
progress is done) or ``end`` (the work is done, its record is not written).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
import transformers.models.vit_mae.modeling_vit_mae  # noqa: F401
from forked import die, fork_each

import meddel_fast.benchmark.display as display
from meddel_fast.benchmark.config_file import load_config
from meddel_fast.benchmark.run import run
from meddel_fast.benchmark.stages.stage import Records, Stage


class Killer:
    """A watcher that kills its own process at one point of one stage."""

    def __init__(self, target: str) -> None:
        self.stage, _, self.point = target.partition(":")
        self.active = False

    def begin(self, stage: Stage, reason: str) -> None:
        self.active = stage.name == self.stage
        if self.active and self.point == "begin":
            die()

    def progress(self, done: int, total: int) -> None:
        if self.active and self.point == "middle" and 2 * done >= total:
            die()

    def end(self, stage: Stage, skipped: bool, seconds: float) -> None:
        print(f"{stage.name}: {'skipped' if skipped else 'done'}", flush=True)


def child(config: str, out: str, target: str) -> None:
    killer = Killer(target)

    @contextmanager
    def watch(stages: Sequence[Stage], console: object) -> Iterator[Killer]:
        yield killer

    finish = Records._finish

    def finish_or_die(self: Records, stage: Stage, *rest: object) -> None:
        if stage.name == killer.stage and killer.point == "end":
            die()
        finish(self, stage, *rest)  # type: ignore[arg-type]

    display.watch = watch  # type: ignore[assignment]
    Records._finish = finish_or_die  # type: ignore[assignment, method-assign]
    torch.set_num_threads(1)
    run(load_config(Path(config), out=Path(out)))


def main(config: str, out: str, targets: list[str]) -> None:
    fork_each(targets, partial(child, config, out))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])

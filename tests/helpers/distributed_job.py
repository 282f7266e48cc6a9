"""What one process of a job does: ``python distributed_job.py MANIFEST ENCODER JOB ...``.

A job is ``pretrain:FOLDER``, ``embed:FOLDER``, or one with ``:die`` at its end: there the process
of rank 1 kills itself half-way. Ranks come from the environment, as torchrun sets it.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import torch
from frames import TINY

from meddel_fast.images.manifest import Manifest
from meddel_fast.training.embed import embed
from meddel_fast.training.pretrain import pretrain

CONFIG = replace(TINY, steps=12)


def main(manifest: Manifest, encoder: Path, jobs: list[str]) -> None:
    torch.set_num_threads(1)
    for job in jobs:
        kind, out, *die = job.split(":")

        def progress(done: int, total: int, kind: str = kind, die: list[str] = die) -> None:
            if os.environ["RANK"] == "0":
                print(f"{kind} {done}/{total}", flush=True)
            elif die and 2 * done >= total:
                os.kill(os.getpid(), signal.SIGKILL)

        if kind == "embed":
            embed(manifest, encoder, out, shard_size=2, batch_size=2, progress=progress)
        else:
            pretrain(manifest, None, out, CONFIG, progress=progress)


if __name__ == "__main__":
    main(Manifest.load(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])

"""The engine of one machine: threads that embed shards, and the operations on a store."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, wait
from contextlib import contextmanager
from typing import Any

from meddel_fast.arrays import DeduplicateResult, check_int
from meddel_fast.cluster.shards import ShardJob, make_shard
from meddel_fast.cluster.source import RowSource
from meddel_fast.common.extras import needs
from meddel_fast.common.files import Progress
from meddel_fast.common.pool import Pool
from meddel_fast.common.resources import cores
from meddel_fast.ops import deduplicate
from meddel_fast.selectors import METHODS, Selection, select
from meddel_fast.training.device import deterministic
from meddel_fast.training.embedder import Embedder

with needs("benchmark"):
    import torch

_LOOK = 0.2  # seconds between two looks at how far the threads are


class LocalEngine:
    """Does all work on this machine.

    Each worker embeds a shard at a time: on a CPU one of the cores, on GPUs one each, so that the
    embeddings are the bytes of any other number of workers.

    Parameters
    ----------
    workers
        How many; by default one a core, or one a GPU.
    threads, memory
        Of the operations, see :mod:`meddel_fast.ops`.
    """

    def __init__(
        self,
        workers: int | None = None,
        *,
        threads: int | None = None,
        memory: int | str | None = None,
    ) -> None:
        self._workers = None if workers is None else check_int("workers", workers, 1)
        self._threads, self._memory = threads, memory

    def __enter__(self) -> LocalEngine:
        return self

    def __exit__(self, *exception: object) -> None:
        return

    def embed(self, job: ShardJob, missing: Sequence[int], progress: Progress) -> None:
        """See `engine.Engine`."""
        others = [Embedder(**{**job.options, "device": gpu}) for gpu in _other_gpus(job)]
        embedders = [job.embedder, *others]
        on_cpu = embedders[0].device.type == "cpu"
        workers = min(self._workers or (cores() if on_cpu else len(embedders)), len(missing))
        total = len(job.manifest)
        told = threading.Lock()
        stop = threading.Event()
        done = total - sum(len(job.part(number)) for number in missing)

        def tell(rows: int) -> None:
            nonlocal done
            if stop.is_set():
                raise InterruptedError
            with told:
                done += rows

        def work(number: int) -> None:
            embedder = embedders[number % len(embedders)]
            make_shard(embedder, job.part(number), job.out, number, job.about["key"], tell)

        pool = Pool(workers, "embed")
        with deterministic(), one_thread():
            try:
                left = {pool.submit(work, number) for number in missing}
                while left:
                    ended, left = wait(left, timeout=_LOOK, return_when=FIRST_EXCEPTION)
                    for future in ended:
                        future.result()
                    progress(done, total)
            finally:
                stop.set()
                pool.shutdown(cancel_futures=True)
        progress(total, total)

    def deduplicate(
        self, rows: RowSource, threshold: float, rule: str, checkpoint: str, progress: Progress
    ) -> DeduplicateResult:
        """See `engine.Engine`."""
        return deduplicate(
            rows.open(self._memory),
            threshold,
            rule=rule,
            checkpoint=checkpoint,
            threads=self._threads,
            progress=progress,
        )

    def select(
        self,
        rows: RowSource,
        method: str,
        budget: int,
        options: dict[str, Any],
        checkpoint: str,
        progress: Progress,
    ) -> Selection:
        """See `engine.Engine`."""
        given = {**options, "threads": self._threads}
        if METHODS[method].processes:  # those that go on from checkpoints
            given["checkpoint"] = checkpoint
        return select(method, rows.open(self._memory), budget, progress=progress, **given)


def _other_gpus(job: ShardJob) -> list[str]:
    """Return the GPUs beside the one that the embedder is on, where no certain one is asked for."""
    if job.embedder.device.type != "cuda" or ":" in str(job.options["device"]):
        return []
    own = job.embedder.device.index or 0
    return [f"cuda:{number}" for number in range(torch.cuda.device_count()) if number != own]


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread an operation, so that products are summed alike everywhere."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

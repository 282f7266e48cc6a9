"""The engine of a Ray cluster: actors that embed shards, and workers that hold rows together."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from meddel_fast.arrays import DeduplicateResult, check_int
from meddel_fast.cluster.engine import Tell
from meddel_fast.cluster.local import LocalEngine
from meddel_fast.cluster.ray.session import connected
from meddel_fast.cluster.ray.sources import StoreRows
from meddel_fast.cluster.ray.workers import Answer, Workers
from meddel_fast.cluster.ray.works import DEDUPLICATE, SELECT
from meddel_fast.cluster.ray_shards import ShardPool
from meddel_fast.cluster.shards import ShardJob
from meddel_fast.cluster.source import RowSource
from meddel_fast.common.extras import needs
from meddel_fast.common.files import Progress
from meddel_fast.selectors import METHODS, Selection
from meddel_fast.selectors.selection import make_selection

with needs("ray"):
    import ray


class RayEngine:
    """Does the work on a Ray cluster, whose nodes all see the places that are named.

    An actor loads the encoder once and embeds a shard at a time, with one core's thread, or on a
    GPU of its own. Then workers hold the rows together, see
    :class:`~meddel_fast.cluster.ray.workers.Workers`. Whoever is lost is made again, where there is
    room; that is told.

    Parameters
    ----------
    address
        Of the cluster, as :func:`ray.init` takes it; None begins one of this machine alone.
    workers
        How many at most; by default as many actors as there are cores or GPUs, and a worker a node.
    cpus
        Cores of a worker.
    memory
        Budget of a worker in bytes, or as a text.
    tell
        Is told what was done again.
    patience
        Seconds after which one that does not answer counts as lost.
    """

    def __init__(
        self,
        address: str | None = None,
        workers: int | None = None,
        *,
        cpus: int = 1,
        memory: int | str | None = None,
        tell: Tell,
        patience: float = 45.0,
    ) -> None:
        self._address = address
        self._workers = None if workers is None else check_int("workers", workers, 1)
        self._cpus, self._memory, self._tell, self._patience = cpus, memory, tell, patience
        self._stack = ExitStack()

    def __enter__(self) -> RayEngine:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def embed(self, job: ShardJob, missing: Sequence[int], progress: Progress) -> None:
        """See `engine.Engine`."""
        self._connect()
        gpus = ray.cluster_resources().get("GPU", 0) if job.options["device"] != "cpu" else 0
        cores = ray.cluster_resources().get("CPU", 1)
        most = self._workers or int(gpus or max(1, cores // self._cpus))
        how: dict[str, Any] = {"cpus": self._cpus, "gpus": int(gpus > 0)}
        how |= {"patience": self._patience}
        with ShardPool(job, min(most, len(missing)), tell=self._tell, **how) as pool:
            pool.run(missing, progress)

    def deduplicate(
        self, rows: RowSource, threshold: float, rule: str, checkpoint: str, progress: Progress
    ) -> DeduplicateResult:
        """See `engine.Engine`."""
        answer = self._run(
            "duplicates", rows, checkpoint, DEDUPLICATE, threshold=threshold, rule=rule
        )
        table = answer.table()
        keep = np.asarray(table["keep"].to_numpy(), bool)
        similarity = np.asarray(table["similarity"].to_numpy(), np.float64)
        return DeduplicateResult(keep, table["representative"].to_numpy(), similarity)

    def select(
        self,
        rows: RowSource,
        method: str,
        budget: int,
        options: dict[str, Any],
        checkpoint: str,
        progress: Progress,
    ) -> Selection:
        """See `engine.Engine`. A method that processes cannot share works here, part by part."""
        if not METHODS[method].processes:
            alone = LocalEngine(memory=self._memory)
            return alone.select(rows, method, budget, options, checkpoint, progress)
        given = {"method": method, "budget": budget, **options}
        answer = self._run("selection", rows, checkpoint, SELECT, **given)
        return _selection(method, answer)

    def _connect(self) -> None:
        if not ray.is_initialized():
            self._stack.enter_context(connected(self._address))

    def _run(
        self, stage: str, rows: RowSource, checkpoint: str, work: Any, **options: Any
    ) -> Answer:
        self._connect()
        how: dict[str, Any] = {"cpus": self._cpus, "memory": self._memory}
        how |= {"checkpoint": checkpoint, "patience": self._patience}
        with Workers(StoreRows(list(rows.files)), self._workers, **how) as workers:
            try:
                answer = workers.run(work, **options)
            finally:
                for lost in workers.report.recoveries:
                    who = "the rendezvous" if lost.rank is None else f"worker {lost.rank}"
                    where = f" ({lost.node})" if lost.node else ""
                    again = f"{who}{where} was lost: {lost.why}; all began again"
                    self._tell(stage, f"{again} from the last checkpoint")
            return Answer([ray.put(answer.table())], answer.about)


def _selection(method: str, answer: Answer) -> Selection:
    """Put a selection together again of what the ranks say of their rows."""
    table = answer.table()
    rank = np.asarray(table["rank"].fill_null(-1).to_numpy(), np.int64)
    kept = np.flatnonzero(rank >= 0)
    column = {
        name: np.asarray(table[name].to_numpy(), np.float64)
        for name in ("score", "similarity", "distance")
    }
    whole = {
        name: np.asarray(table[name].fill_null(-1).to_numpy(), np.int64)
        for name in ("duplicate_of", "cluster")
    }
    return make_selection(
        method,
        kept[np.argsort(rank[kept])],
        column["score"],
        answer.about["settings"],
        reason=np.array(table["reason"].to_pylist()),
        similarity=column["similarity"],
        distance=column["distance"],
        **whole,
    )

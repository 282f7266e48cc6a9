"""The ranks of a Ray cluster as one: calls, what is lost on the way, and how they go on."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import Any

from meddel_fast.arrays import check_int
from meddel_fast.cluster.ray.blocks import LostBlocksError
from meddel_fast.cluster.ray.crew import Crew, reason
from meddel_fast.cluster.ray.seat import Work
from meddel_fast.common import places
from meddel_fast.common.extras import needs
from meddel_fast.sharded.group import LostRankError
from meddel_fast.sharded.memory import check_memory

with needs("ray"):
    import pyarrow as pa
    import ray
    from ray.exceptions import RayError, RayTaskError

_LOG = logging.getLogger(__name__)
_LOOK = 0.25  # seconds between two looks at what has come
_ASK = 2.0  # seconds between two questions whether a rank lives


@dataclass(frozen=True)
class Recovery:
    """A rank that was lost, and made again."""

    work: str
    rank: int | None  # None: the rendezvous
    node: str
    why: str


@dataclass
class Answer:
    """What the ranks have found.

    Attributes
    ----------
    tables
        References of Arrow tables, by rank: the rows follow each other in the order of the set.
        They are in the store of the driver's node, and do not go with a worker.
    about
        What there is to say of the whole, by name.
    """

    tables: list[Any]
    about: dict[str, Any]

    def table(self) -> Any:
        """Return all rows as one Arrow table."""
        return pa.concat_tables(ray.get(self.tables))


@dataclass
class Report:
    """What happened in all calls so far.

    Attributes
    ----------
    recoveries
        What was lost and made again, in order.
    sent, meetings
        Bytes that each rank gave others, and exchanges, in the attempts that came to their end.
    """

    recoveries: list[Recovery] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    meetings: int = 0


class _LostError(Exception):
    """An attempt has failed for want of somebody, or of blocks of rows."""

    def __init__(self, why: str, blocks: bool = False) -> None:
        super().__init__(why)
        self.blocks = blocks


class Workers:
    """Actors that hold the rows of a set together and do operations on it; a context manager.

    Results are the bits that the same call gives in memory, for any number of workers. One that is
    lost (its process, its node, or its answers) is made again where there is room, opens its rows
    again, and all begin the call again: from its last checkpoint, where `checkpoint` is given. Each
    such recovery is logged as a warning, and stands in :attr:`report`.

    Parameters
    ----------
    source
        Where the rows are: :class:`~meddel_fast.cluster.ray.sources.StoreRows`, or
        :class:`~meddel_fast.cluster.ray.blocks.BlockRows` of a data set.
    workers : int, optional
        How many; by default one for each node that has `cpus` cores.
    cpus : int
        Cores of a worker, which Ray keeps for it: its number of threads.
    memory : int or str, optional
        Budget of each worker in bytes or as a text such as "8GB", beside its rows where these are
        of a data set. By default half of a node's memory, as Ray counts it, in proportion to
        `cpus` and less the rows: of the node where that is least.
    checkpoint : str, optional
        A place that all workers can write to, see :mod:`meddel_fast.sharded.checkpoint`.
    patience : float
        Seconds after which a worker that does not answer counts as lost. Ray itself gives a node
        that has stopped 66 s.
    wait : float
        Seconds to wait for a node where the cluster has fewer cores than the workers need. Then, if
        a worker was lost, two share a node that has the memory.
    retries : int
        How many recoveries a call may need without getting on.

    Raises
    ------
    RuntimeError
        No room for a worker, or too many recoveries; the message says which and why.
    """

    def __init__(
        self,
        source: Any,
        workers: int | None = None,
        *,
        cpus: int = 1,
        memory: int | str | None = None,
        checkpoint: str | None = None,
        patience: float = 45.0,
        wait: float = 60.0,
        retries: int = 5,
    ) -> None:
        self._source, self._checkpoint = source, checkpoint
        self._retries = check_int("retries", retries, 0)
        self._from = ", from the last checkpoint" if checkpoint else ""
        self._patience, self._calls, self._attempts = patience, 0, 0
        cpus = check_int("cpus", cpus, 1)
        shares = _shares(cpus)
        size = len(shares) if workers is None else check_int("workers", workers, 1)
        share = min(shares, default=0)
        if size == 0 or share == 0:
            raise RuntimeError(f"no node of the cluster has {cpus} cores: {_nodes()}")
        own = source.prepare(size)
        budget = max(1, (share - own) // 2) if memory is None else check_memory(memory)
        self._crew = Crew(size, cpus, budget, budget + own, patience, wait)
        self.report = Report(sent=[0] * size)

    @property
    def size(self) -> int:
        """How many there are."""
        return self._crew.size

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *exception: object) -> None:
        self._crew.close()

    def run(self, work: Work, **options: Any) -> Answer:
        """Have all ranks do a work together.

        Raises
        ------
        RuntimeError
            There is no room for a worker, or too many were lost.
        Exception
            What the work itself raises, as it is.
        """
        self._calls += 1
        shared = ray.put(options)
        losses, begun, kept = 0, False, self._kept()
        tables: dict[int, Any] = {}
        about: dict[int, dict[str, Any]] = {}
        while len(tables) < self.size:
            try:
                self._attempt(work, shared, tables, about, share=begun)
            except _LostError as lost:
                begun, before, kept = True, kept, self._kept()
                losses = 1 if kept != before else losses + 1
                self._recover(work, lost, losses)
        for rank, told in about.items():
            self.report.sent[rank] += told["sent"]
        self.report.meetings += about[0]["meetings"]
        for actor in self._crew.actors.values():
            actor.forget.remote()
        return Answer([tables[rank] for rank in range(self.size)], about[0]["settings"])

    def _attempt(
        self, work: Work, shared: Any, tables: dict[int, Any], about: dict[int, Any], *, share: bool
    ) -> None:
        """Have all begin, and collect what they answer, until all is there or somebody is lost."""
        crew = self._crew
        crew.fill(share=share or bool(self.report.recoveries))
        self._attempts += 1
        if not crew.begin(self._attempts):
            raise _LostError("the rendezvous")
        answers: dict[Any, tuple[int, Any]] = {}
        for rank, actor in crew.actors.items():
            said, table = actor.run.options(num_returns=2).remote(
                self._calls, self._attempts, crew.rendezvous, self._source.for_rank(rank), work,
                self._checkpoint, shared,
            )  # fmt: skip
            answers[said] = rank, table
        asked: dict[int, tuple[Any, float]] = {}
        try:
            while answers:
                done, _ = ray.wait(list(answers), num_returns=1, timeout=_LOOK)
                for said in done:
                    rank, table = answers.pop(said)
                    about[rank] = ray.get(said)
                    self._show(rank, about[rank]["log"])
                    # Of our own, in this node's store: its worker's may go.
                    tables[rank] = ray.put(ray.get(table, timeout=self._patience))
                self._watch([rank for rank, _ in answers.values()], asked)
        except RayTaskError as error:
            raise self._cause(error) from None
        except RayError as error:
            raise _LostError(reason(error, self._patience)) from None

    def _watch(self, ranks: list[int], asked: dict[int, tuple[Any, float]]) -> None:
        """Ask the ranks from time to time whether they live."""
        now = time.monotonic()
        for rank in ranks:
            question, since = asked.get(rank, (None, now - _ASK))
            if question is None:
                if now - since >= _ASK:
                    asked[rank] = self._crew.ask(rank), now
            elif ray.wait([question], timeout=0)[0]:
                self._show(rank, ray.get(question)["log"])
                asked[rank] = None, now
            elif now - since > self._patience:
                raise _LostError(f"rank {rank} has not answered within {self._patience:g} s")

    def _show(self, rank: int, lines: list[tuple[int, str]]) -> None:
        """Log what a rank has logged."""
        for level, line in lines:
            _LOG.log(level, "rank %d: %s", rank, line)

    def _cause(self, error: RayTaskError) -> BaseException:
        """Return what is to be raised of what a rank has raised."""
        cause = error.cause if isinstance(error.cause, BaseException) else error
        if isinstance(cause, LostRankError | LostBlocksError):
            return _LostError(str(cause), isinstance(cause, LostBlocksError))
        self._give_up("another rank has failed")
        return cause

    def _kept(self) -> list[str]:
        """Return what is at the place for checkpoints: it changes as the work gets on."""
        return [] if self._checkpoint is None else places.list_files(self._checkpoint)

    def _give_up(self, why: str) -> None:
        if self._crew.rendezvous is not None:
            self._crew.rendezvous.give_up.remote(self._attempts, why)

    def _recover(self, work: Work, why: _LostError, losses: int) -> None:
        """Find out who is lost, and let the others give up.

        Raises
        ------
        RuntimeError
            Too many have been lost.
        """
        self._give_up(str(why))
        lost = self._crew.examine()
        again = f"all begin again{self._from}"
        for rank, its in lost.items():
            node = "" if rank is None else str(self._crew.places[rank])
            who = "the rendezvous" if rank is None else f"rank {rank} ({node})"
            self.report.recoveries.append(Recovery(work.name, rank, node, its))
            _LOG.warning("%s: %s is lost (%s), made again; %s", work.name, who, its, again)
        if not lost:
            self.report.recoveries.append(Recovery(work.name, None, "", str(why)))
            _LOG.warning("%s: given up with all alive (%s); %s", work.name, why, again)
        if losses > self._retries:
            raise RuntimeError(
                f"{work.name} was given up {losses} times without getting on, the last time: {why}"
            )
        if why.blocks:  # workers make room for the tasks that make them again
            self._crew.close()
            _LOG.warning("%s: the data set is run again, for lost blocks of it", work.name)
            self._source.prepare(self.size)


def _shares(cpus: int) -> list[int]:
    """Return, for each node with so many cores, the bytes of memory that go with them."""
    found = [n["Resources"] for n in ray.nodes() if n["Alive"]]
    return [int(r.get("memory", 0) * cpus / r["CPU"]) for r in found if r.get("CPU", 0) >= cpus]


def _nodes() -> str:
    told = (f"{n['NodeID'][:8]}: {n['Resources'].get('CPU', 0):g}" for n in ray.nodes())
    return f"({', '.join(told)})"

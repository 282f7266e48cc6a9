"""The actors of the ranks and the rendezvous: placed, made again, asked whether they live."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

from meddel_fast.cluster.ray.exchange import Exchange
from meddel_fast.cluster.ray.worker import HEALTH, Worker
from meddel_fast.common.extras import needs

with needs("ray"):
    import ray
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

_LOG = logging.getLogger(__name__)
_LOOK = 0.25  # seconds between two looks at what has come
_START = 300.0  # seconds that a process may take to begin, or others may keep their cores


class Place(NamedTuple):
    """Where a rank is."""

    node: str
    pid: int

    def __str__(self) -> str:
        return f"node {self.node[:8]}, process {self.pid}"


class Crew:
    """One actor a rank, and the rendezvous.

    Parameters
    ----------
    size, cpus, memory
        How many ranks; the cores of each, which Ray keeps for it; the budget of each in bytes.
    room
        Bytes that a rank takes in all: two share a node only where it has them.
    patience
        Seconds after which an actor that does not answer counts as lost.
    wait
        Seconds to wait for a node where the nodes have fewer cores than the ranks need.
    """

    def __init__(
        self, size: int, cpus: int, memory: int, room: int, patience: float, wait: float
    ) -> None:
        self.size, self._cpus, self._memory, self._room = size, cpus, memory, room
        self._patience, self._wait = patience, wait
        self.actors: dict[int, Any] = {}
        self.places: dict[int, Place] = {}
        self.rendezvous: Any = None
        self._kind = ray.remote(max_restarts=0, concurrency_groups={HEALTH: 1})(Worker)
        self._meeting = ray.remote(num_cpus=0, max_restarts=0)(Exchange)

    def fill(self, *, share: bool) -> list[int]:
        """Make the actors that are missing; return their ranks.

        Parameters
        ----------
        share
            Whether one for which no cores become free may go to a node with another.

        Raises
        ------
        RuntimeError
            There is no room for one.
        """
        missing = [rank for rank in range(self.size) if rank not in self.actors]
        for rank in missing:
            self._make(rank, num_cpus=self._cpus, scheduling_strategy="SPREAD")
        left = self._await(missing)
        for rank in left:
            self.drop(rank)
            if not share:
                raise RuntimeError(self._no_room(rank, len(left)))
            node = self._roomiest(rank, len(left))
            on = NodeAffinitySchedulingStrategy(node, soft=False)
            self._make(rank, num_cpus=0, scheduling_strategy=on)
            if self._await([rank], enough=True):
                self.drop(rank)
                raise RuntimeError(self._no_room(rank, len(left)))
            _LOG.warning(
                "rank %d shares %s with another: no node has %d cores free",
                rank, self.places[rank], self._cpus,
            )  # fmt: skip
        if self.rendezvous is None:
            here = ray.get_runtime_context().get_node_id()
            on = NodeAffinitySchedulingStrategy(here, soft=False)  # whose end is the driver's too
            self.rendezvous = self._meeting.options(scheduling_strategy=on).remote(self.size)
        return missing

    def begin(self, attempt: int) -> bool:
        """Tell the rendezvous that an attempt begins; whether it is there."""
        try:
            ray.get(self.rendezvous.begin.remote(attempt), timeout=_START)
        except RayError:
            self.drop(None)
            return False
        return True

    def examine(self) -> dict[int | None, str]:
        """Ask all whether they live; drop those that do not, and return why, by rank.

        None stands for the rendezvous. A node's death is seen by Ray after some 15 seconds.
        """
        asked: dict[int | None, Any] = {rank: self.ask(rank) for rank in self.actors}
        if self.rendezvous is not None:
            asked[None] = self.rendezvous.alive.remote()
        lost: dict[int | None, str] = {}
        end = time.monotonic() + self._patience
        for rank, answer in asked.items():
            try:
                ray.get(answer, timeout=max(0.0, end - time.monotonic()))
            except RayError as error:
                lost[rank] = reason(error, self._patience)
        if not lost:
            lost = self._stopped(self.actors)
        for rank in lost:
            self.drop(rank)
        return lost

    def ask(self, rank: int) -> Any:
        """Ask a rank how far it is; a reference of the answer."""
        return self.actors[rank].alive.options(concurrency_group=HEALTH).remote()

    def drop(self, rank: int | None) -> None:
        """End an actor, None the rendezvous, whether it lives or not."""
        if rank is None:
            actor, self.rendezvous = self.rendezvous, None
        else:
            actor = self.actors.pop(rank, None)
        if actor is not None:
            try:
                ray.kill(actor)
            except (RayError, ValueError):
                _LOG.debug("rank %s could not be ended, it is gone already", rank)

    def close(self) -> None:
        """End all."""
        for rank in [*self.actors, None]:
            self.drop(rank)

    def _make(self, rank: int, **how: Any) -> None:
        threads = self._cpus
        self.actors[rank] = self._kind.options(**how).remote(
            rank, self.size, self._memory, threads, self._patience
        )

    def _await(self, ranks: Iterable[int], *, enough: bool = False) -> list[int]:
        """Note where ranks have been placed; return those for which there is no room.

        As many as the nodes have cores for are given time to start; if `enough` is true, all.
        """
        asked = {self.actors[rank].where.remote(): rank for rank in ranks}
        begun = time.monotonic()
        while asked:
            done, _ = ray.wait(list(asked), num_returns=1, timeout=_LOOK)
            for answer in done:
                rank = asked.pop(answer)
                try:
                    self.places[rank] = Place(*ray.get(answer))
                except RayError as error:  # its node went while it began
                    _LOG.info("rank %d has not begun: %s", rank, reason(error, 0))
                    self.drop(rank)
                    self._make(rank, num_cpus=self._cpus, scheduling_strategy="SPREAD")
                    asked[self.actors[rank].where.remote()] = rank
            waited = time.monotonic() - begun
            short = not enough and len(asked) <= max(0, self.size - self._capacity())
            if asked and waited > (self._wait if short else _START):
                break
        return sorted(asked.values())

    def _capacity(self) -> int:
        """Return how many ranks the nodes have cores for, whatever else runs there."""
        nodes = [n["Resources"] for n in ray.nodes() if n["Alive"]]
        return sum(int(node.get("CPU", 0) // self._cpus) for node in nodes)

    def _stopped(self, ranks: Iterable[int]) -> dict[int | None, str]:
        """Find the ranks whose node no longer starts anything, though its processes answer."""
        of: dict[str, list[int]] = {}
        for rank in ranks:
            of.setdefault(self.places[rank].node, []).append(rank)
        probe = ray.remote(num_cpus=0, max_retries=0)(_nothing)
        asked = {
            node: probe.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)
            ).remote()
            for node in of
        }
        lost: dict[int | None, str] = {}
        end = time.monotonic() + self._patience
        for node, answer in asked.items():
            try:
                ray.get(answer, timeout=max(0.0, end - time.monotonic()))
            except RayError as error:
                why = f"its node: {reason(error, self._patience)}"
                lost |= dict.fromkeys(of[node], why)
        return lost

    def _roomiest(self, rank: int, missing: int) -> str:
        """Return the node with the fewest ranks that has the memory for one more."""
        counts = dict[str, int]()
        for other in self.actors:
            node = self.places[other].node
            counts[node] = counts.get(node, 0) + 1
        memory = {n["NodeID"]: n["Resources"].get("memory", 0) for n in ray.nodes() if n["Alive"]}
        fit = [
            (counts[node], node)
            for node in counts
            if memory.get(node, 0) >= (counts[node] + 1) * self._room
        ]
        if not fit:
            raise RuntimeError(self._no_room(rank, missing))
        return min(fit)[1]

    def _no_room(self, rank: int, missing: int) -> str:
        have = [
            f"{n['NodeID'][:8]}: {n['Resources'].get('CPU', 0):g}"
            for n in ray.nodes()
            if n["Alive"]
        ]
        return (
            f"no node has had {self._cpus} free cores for rank {rank} of {self.size} after "
            f"{self._wait:g} s ({missing} without a place; cores of the nodes, free or not: "
            f"{', '.join(have)})"
        )


def reason(error: BaseException, patience: float) -> str:
    """Say in a line why an actor counts as lost."""
    if isinstance(error, TimeoutError):
        return f"no answer within {patience:g} s"
    said = re.sub(r"\b(class_name|actor_id|pid|namespace|ip): \S+", "", str(error))
    return f"{type(error).__name__}: {' '.join(said.split())[:200]}"


def _nothing() -> None:
    return None

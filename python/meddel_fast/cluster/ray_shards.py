"""Actors of a Ray cluster that embed shards: each loads the encoder once."""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from meddel_fast.cluster.engine import Tell
from meddel_fast.cluster.local import one_thread
from meddel_fast.cluster.ray.crew import Place, reason
from meddel_fast.cluster.shards import ShardJob, make_shard
from meddel_fast.common.extras import needs
from meddel_fast.common.files import Progress
from meddel_fast.images.manifest import Manifest
from meddel_fast.training.device import deterministic
from meddel_fast.training.embedder import Embedder

with needs("ray"):
    import ray
    from ray.exceptions import RayError, RayTaskError

_LOOK = 0.5  # seconds between two looks at what has come
_ASK = 5.0  # seconds between two questions whether an actor lives
_ROOM = 120.0  # seconds to wait for a node that is large enough
_HEALTH = "health"  # the concurrency group whose thread answers while the other one computes
_TIMES = 3  # that a shard may be begun: it may be what its workers die of


class Shards:
    """The actor: an encoder, and the shards that it is asked for."""

    def __init__(self, options: dict[str, Any], settings: dict[str, Any]) -> None:
        self._embedder = Embedder(**options)
        own = self._embedder.settings
        other = sorted(name for name in settings if own[name] != settings[name])
        if other:
            raise ValueError(
                f"encoder: all nodes must have the driver's, on one {', '.join(other)} differ"
            )

    def alive(self) -> tuple[str, int]:
        """Answer: with the id of the node and the process's number."""
        return ray.get_runtime_context().get_node_id(), os.getpid()

    def make(self, table: Any, name: str, root: str, out: str, number: int, key: str) -> None:
        """Make a shard of the images of a table."""
        with deterministic(), one_thread():
            make_shard(self._embedder, Manifest(name, Path(root), table), out, number, key)


class ShardPool:
    """The actors, and the shards that they are at; a context manager.

    One that is lost (its process, its node, or its answers) is made again, and so is its shard.

    Parameters
    ----------
    job
        The shards.
    size
        How many actors.
    cpus, gpus
        What Ray keeps for each. It computes with one thread however many cores it has, so that
        embeddings are the same everywhere; the others decode.
    tell
        Is told what was done again.
    patience
        Seconds after which an actor that does not answer counts as lost.
    """

    def __init__(
        self, job: ShardJob, size: int, *, cpus: int, gpus: int, tell: Tell, patience: float
    ) -> None:
        self._job, self._tell, self._patience = job, tell, patience
        self._needs = {"CPU": cpus, **({"GPU": gpus} if gpus else {})}
        self._room = 0.0
        kind = ray.remote(max_restarts=0, concurrency_groups={_HEALTH: 1})(Shards)
        self._kind = kind.options(num_cpus=cpus, num_gpus=gpus, scheduling_strategy="SPREAD")
        self._options = job.options if gpus else {**job.options, "device": "cpu"}
        self._hired: dict[Any, Any] = {}  # the answer that one is ready -> the actor
        self._places: dict[Any, Place] = {}  # of the actors that have been ready
        self._idle: list[Any] = []
        self._running: dict[Any, tuple[Any, int]] = {}  # the answer -> the actor, the shard
        self._asked: dict[Any, tuple[Any, float]] = {}  # actor -> question, since when
        for _ in range(size):
            self._hire()

    def __enter__(self) -> ShardPool:
        return self

    def __exit__(self, *exception: object) -> None:
        for actor in [*self._hired.values(), *self._idle, *(a for a, _ in self._running.values())]:
            ray.kill(actor)

    def run(self, missing: Sequence[int], progress: Progress) -> None:
        """Make all these shards.

        Raises
        ------
        RuntimeError
            One shard has been begun too often, or no node has room.
        Exception
            What an actor raises, as it is.
        """
        total = len(self._job.manifest)
        done = total - sum(map(self._rows, missing))
        waiting, begun = deque(missing), Counter[int]()
        self._room = time.monotonic() + _ROOM
        while waiting or self._running:
            while waiting and self._idle:
                begun[waiting[0]] += 1
                self._begin(self._idle.pop(), waiting.popleft())
            answers = [*self._hired, *self._running]  # of many that are there the first comes
            ended, _ = ray.wait(answers, num_returns=1, timeout=_LOOK)
            for answer in ended:
                if answer in self._hired:
                    self._welcome(answer)
            for answer, why in self._finished(ended):
                actor, number = self._running.pop(answer)
                self._asked.pop(actor, None)
                if not why:
                    done += self._rows(number)
                    self._idle.append(actor)
                    continue
                where = self._places.pop(actor)
                told = f"shard {number} was made again, its worker ({where}) lost: {why}"
                self._tell("embeddings", told)
                if begun[number] == _TIMES:
                    raise RuntimeError(f"shard {number} was begun {_TIMES} times: {why}")
                waiting.appendleft(number)
                ray.kill(actor)
                self._hire()
            progress(done, total)
            self._check_room()

    def _check_room(self) -> None:
        """Give up where no node could ever take an actor; where all are busy, wait as Ray does."""
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        fit = any(all(n.get(k, 0) >= v for k, v in self._needs.items()) for n in nodes)
        if fit or self._running:
            self._room = time.monotonic() + _ROOM
        elif time.monotonic() > self._room:
            raise RuntimeError(f"no node with {self._needs} has come within {_ROOM:g} s")

    def _hire(self) -> None:
        actor = self._kind.remote(self._options, self._job.embedder.settings)
        self._hired[actor.alive.options(concurrency_group=_HEALTH).remote()] = actor

    def _welcome(self, answer: Any) -> None:
        """Take in an actor that is ready; make one again that was lost before it was."""
        actor = self._hired.pop(answer)
        why = self._why_lost(answer)
        if why:
            self._tell("embeddings", f"a worker was lost before it began: {why}")
            self._hire()
        else:
            self._places[actor] = Place(*ray.get(answer))
            self._idle.append(actor)

    def _rows(self, number: int) -> int:
        return min(self._job.size, len(self._job.manifest) - number * self._job.size)

    def _begin(self, actor: Any, number: int) -> None:
        job, part = self._job, self._job.part(number)
        about = part.name, str(part.root), job.out, number, job.about["key"]
        self._running[actor.make.remote(part.table, *about)] = actor, number

    def _finished(self, ended: Sequence[Any]) -> list[tuple[Any, str]]:
        """Return the answers that have come, or will not come, each with why it was lost if so."""
        came = [(answer, self._why_lost(answer)) for answer in ended if answer in self._running]
        silent = f"no answer within {self._patience:g} s"
        return [*came, *((answer, silent) for answer in self._silent() if answer not in ended)]

    def _why_lost(self, answer: Any) -> str:
        """Return why an answer is none; empty if it is one."""
        try:
            ray.get(answer)
        except RayTaskError as error:
            raise (error.cause if isinstance(error.cause, Exception) else error) from None
        except RayError as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, RayTaskError):  # of an actor that could not be made
                raise (cause.cause if isinstance(cause.cause, Exception) else cause) from None
            return reason(error, self._patience)
        return ""

    def _silent(self) -> list[Any]:
        """Ask the actors from time to time whether they live; return the answers lost with them."""
        now, silent = time.monotonic(), []
        for answer, (actor, _) in self._running.items():
            question, since = self._asked.setdefault(actor, (None, now))
            if question is None:
                if now - since >= _ASK:
                    asked = actor.alive.options(concurrency_group=_HEALTH).remote()
                    self._asked[actor] = asked, now
            elif ray.wait([question], timeout=0)[0]:
                self._asked[actor] = None, now
            elif now - since > self._patience:
                silent.append(answer)
        return silent

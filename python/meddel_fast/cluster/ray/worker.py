"""The actor that holds a rank's rows and does its part of each call."""

from __future__ import annotations

import logging
import os
import traceback
from typing import Any

import numpy as np

from meddel_fast.cluster.ray.seat import Seat, Work
from meddel_fast.cluster.ray.sources import Part
from meddel_fast.common.extras import needs
from meddel_fast.sharded.ray_group import RayGroup

with needs("ray"):
    import ray

_LOG = logging.getLogger(__name__)

HEALTH = "health"  # the concurrency group whose thread answers while the other one computes


class _Lines(logging.Handler):
    """Holds what is logged until the driver, which can show it, asks."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._lines: list[tuple[int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self._lines.append((record.levelno, record.getMessage()))

    def take(self) -> list[tuple[int, str]]:
        """Return the lines so far, and forget them."""
        lines, self._lines = self._lines, []
        return lines


class Worker:
    """One rank. Its methods are called by :class:`meddel_fast.cluster.ray.workers.Workers`."""

    def __init__(self, rank: int, size: int, memory: int, threads: int, patience: float) -> None:
        self._rank, self._size, self._patience = rank, size, patience
        self._memory, self._threads = memory, threads
        self._part: Part | None = None
        self._group: RayGroup | None = None
        self._held: tuple[int, Any] | None = None  # which call, and its result
        self._phase = "idle"
        self._told = _Lines()
        logger = logging.getLogger("meddel_fast")
        logger.setLevel(logging.INFO)
        logger.addHandler(self._told)

    def where(self) -> tuple[str, int]:
        """Return the id of the node, and the process's number."""
        return ray.get_runtime_context().get_node_id(), os.getpid()

    def alive(self) -> dict[str, Any]:
        """Say what it does, how many exchanges of this attempt are behind it, and what it logged.

        Each logged line is told once.
        """
        meetings = 0 if self._group is None else self._group.meetings
        return {"phase": self._phase, "meetings": meetings, "log": self._told.take()}

    def run(
        self,
        call: int,
        attempt: int,
        rendezvous: Any,
        source: Any,
        work: Work,
        checkpoint: str | None,
        options: dict[str, Any],
    ) -> tuple[dict[str, Any], Any]:
        """Do this rank's part of a call; return (what there is to say of it, its rows' table).

        What it raises is among the first, as "error": it comes to the driver as it is, and once.
        """
        self._group = group = RayGroup(
            self._rank, self._size, rendezvous, attempt=attempt, patience=self._patience
        )
        try:
            if self._part is None:
                self._phase = "loading"
                self._part = source.open(self._rank, self._size, self._patience)
            self._phase = work.name
            seat = Seat(self._part, group, self._memory, self._threads, checkpoint)
            result = self._result(call, seat, group, work, options)
            self._phase = "answering"
            settings, table = work.answer(seat, result, **options)
            about = {"settings": settings, "sent": group.sent, "meetings": group.meetings}
            return about | {"log": self._told.take()}, table
        except Exception as error:
            _LOG.debug("rank %d: %s", self._rank, traceback.format_exc())
            return {"error": error, "log": self._told.take()}, None
        finally:
            self._phase = "idle"

    def _result(
        self, call: int, seat: Seat, group: RayGroup, work: Work, options: dict[str, Any]
    ) -> Any:
        """Return the result: what a rank holds already, or else worked out.

        A rank that is lost while the answers are collected has the work done again by nobody.
        """
        if self._held is not None and self._held[0] != call:
            self._held = None
        have = [bool(its[0]) for its in group.allgather(np.array([self._held is not None]))]
        if not any(have):
            self._held = call, work.compute(seat, **options)
        elif not all(have):
            its = group.hand_on(self._held, have.index(True))
            self._held = its if self._held is None else self._held
        assert self._held is not None
        return self._held[1]

    def forget(self) -> None:
        """Let go of the last call's result."""
        self._held = None

"""The actor at which the ranks meet: it holds what each gives until all have come."""

from __future__ import annotations

import asyncio
from typing import Any


class _Meeting:
    """What the ranks gave so far, for those that wait."""

    def __init__(self, about: Any) -> None:
        self.about = about
        self.given: dict[int, Any] = {}
        self.why = ""  # nothing comes of it
        self.over = asyncio.Event()


class Exchange:
    """The rendezvous of :class:`meddel_fast.sharded.ray_group.RayGroup`.

    An asynchronous actor: calls wait in it without a thread each. Of large arrays it holds the
    names alone, which are dropped when the last rank has its answer.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._attempt = -1
        self._why = "the attempt is over"
        self._meetings: dict[int, _Meeting] = {}

    async def begin(self, attempt: int) -> None:
        """Begin an attempt; whoever waits in an earlier one gives up."""
        self._end("another attempt has begun")
        self._attempt, self._why = attempt, ""

    async def give_up(self, attempt: int, why: str) -> None:
        """Let all that wait in this attempt, or come to it, give up."""
        if attempt == self._attempt and not self._why:
            self._end(why)

    async def alive(self) -> bool:
        """Answer."""
        return True

    async def meet(self, attempt: int, number: int, rank: int, about: Any, given: Any) -> Any:
        """Do what :meth:`meddel_fast.sharded.ray_group.Rendezvous.meet` says.

        Raises
        ------
        RuntimeError
            The ranks have come to ask for different things.
        """
        if attempt != self._attempt or self._why:
            return self._why or "another attempt has begun"
        meeting = self._meetings.setdefault(number, _Meeting(about))
        if about != meeting.about:
            why = f"rank {rank} asks for {about}, another for {meeting.about}, in exchange {number}"
            self._end(why)
            raise RuntimeError(f"the ranks have gone different ways: {why}")
        meeting.given[rank] = given
        del given
        if len(meeting.given) == self._size:
            self._meetings.pop(number, None)
            meeting.over.set()
        else:
            await meeting.over.wait()
        if meeting.why:
            return meeting.why
        return [meeting.given[its] for its in range(self._size)]

    def _end(self, why: str) -> None:
        self._why = why
        meetings, self._meetings = self._meetings, {}
        for meeting in meetings.values():
            meeting.why = why
            meeting.over.set()

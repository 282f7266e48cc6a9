"""The rendezvous of a group of Ray actors, by itself, without Ray's processes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytest.importorskip("ray")
from meddel_fast.cluster.ray.exchange import Exchange


def meetings(*calls: tuple[int, int, int, Any, Any], then: str = "", size: int = 2) -> list[Any]:
    """What some ranks get who meet in attempt 1: (attempt, number, rank, about, given)."""

    async def run() -> list[Any]:
        exchange = Exchange(size)
        await exchange.begin(1)
        tasks = [asyncio.create_task(exchange.meet(*call)) for call in calls]
        await asyncio.sleep(0.01)
        if then == "give up":
            await exchange.give_up(0, "an attempt before")
            await exchange.give_up(1, "rank 1 is lost")
            await exchange.give_up(1, "and another")
        if then == "begin":
            await exchange.begin(2)
        assert await exchange.alive()
        found = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
        assert not exchange._meetings  # nothing is held of what is over
        return list(found)

    return asyncio.run(run())


def test_all_get_what_all_gave() -> None:
    calls = [(1, n, r, "gather", f"{n} of {r}") for n in (0, 1) for r in (1, 0)]
    first, second = ["0 of 0", "0 of 1"], ["1 of 0", "1 of 1"]
    assert meetings(*calls) == [first, first, second, second]


def test_those_who_wait_give_up() -> None:
    waits = (1, 0, 0, "gather", "x")
    assert meetings(waits, then="give up") == ["rank 1 is lost"]
    assert meetings(waits, then="begin") == ["another attempt has begun"]
    assert meetings((0, 0, 0, "gather", "x")) == ["another attempt has begun"]


def test_ranks_that_go_different_ways() -> None:
    waits, comes = meetings((1, 0, 0, "gather", "x"), (1, 0, 1, "broadcast", "y"))
    assert waits == "rank 1 asks for broadcast, another for gather, in exchange 0"
    assert isinstance(comes, RuntimeError)
    assert "the ranks have gone different ways" in str(comes)

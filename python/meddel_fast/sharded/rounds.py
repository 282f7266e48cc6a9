"""All pairs of a set's parts, round by round, and how many rounds are done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from numpy.typing import NDArray

from meddel_fast.common.progress import open_pass
from meddel_fast.sharded.checkpoint import Checkpoint
from meddel_fast.sharded.parts import Parts, Tile
from meddel_fast.sharded.records import State


def tile_pairs(
    parts: Parts, done: int = 0, after: Callable[[int], None] = lambda _: None
) -> Iterator[tuple[Tile, NDArray[Any], Tile, NDArray[Any]]]:
    """Go through all pairs of two different parts, each once over all processes: (own, any).

    A round is all pairs for which one part is broadcast. So many have been `done`; after each, all
    processes call a function with how many that makes.

    Of parts a < b, the owner of b looks at the pair while a is broadcast if a + b is even, that of
    a while b is if it is odd, so that the pairs are spread evenly.
    """

    def looks(own: Tile, sent: Tile) -> bool:
        later = own.number > sent.number
        return own.number != sent.number and later == ((own.number + sent.number) % 2 == 0)

    own_of = [[own for own in parts.own_tiles if looks(own, sent)] for sent in parts.tiles]
    work = [sum(own.stop - own.start for own in looked) for looked in own_of]
    level = open_pass(sum(work))
    whole = False
    try:
        level.advance(sum(work[:done]))
        for sent, looked, weight in list(zip(parts.tiles, own_of, work, strict=True))[done:]:
            if not any(looks(tile, sent) for tile in parts.tiles):
                continue
            level.step(weight)
            rows = parts.broadcast(sent)
            for own, own_rows in parts.stream(looked):
                yield own, own_rows, sent, rows
            del rows
            after(sent.number + 1)
        whole = True
    finally:
        level.close(whole=whole)


def rounds_done(parts: Parts, state: State | None, keeper: Checkpoint) -> int | None:
    """Return the rounds of part pairs that a state says are done; None before each part itself."""
    if state is None:
        return None
    if state.told["starts"] != parts.starts:
        keeper.tell("what was compared is compared again, as the parts are cut otherwise now")
        return None
    return int(state.told["rounds"])

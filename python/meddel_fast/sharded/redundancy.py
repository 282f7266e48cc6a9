"""The most similar earlier sample of each, part against part."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast import _core
from meddel_fast.arrays import RedundancyResult, check_labels, check_order
from meddel_fast.common.progress import metered
from meddel_fast.sharded.checkpoint import Checkpoint
from meddel_fast.sharded.group import Group
from meddel_fast.sharded.parts import Float, Int, Parts, Settings, Tile
from meddel_fast.sharded.rounds import rounds_done, tile_pairs

SAVED = 16  # bytes an own row of a checkpoint: similarity, neighbor
_HELD = 40  # bytes a row of the set: place, label, similarity, neighbor, and what others found


@metered
def redundancy(
    x: Any,
    *,
    order: Any | None = None,
    labels: Any | None = None,
    memory: int | str | None = None,
    group: Group | None = None,
    checkpoint: Any | None = None,
    threads: int | None = None,
) -> RedundancyResult:
    """Do :func:`meddel_fast.redundancy` on parts; each process of a group returns all of it."""
    parts = Parts("x", x, Settings.check(x, memory, group, threads))
    places = Places(parts.n, order, labels)
    options = {"order": places.order, "labels": places.labels}
    keeper = Checkpoint(checkpoint, "redundancy", options, parts.group, parts)
    parts.plan(held=keeper.bytes(SAVED), everywhere=_HELD, **keeper.cut())
    parts.survey()
    found = highest_earlier(parts, places, -np.inf, keeper)
    keeper.end()
    return RedundancyResult(*found)


class Places:
    """Where the samples of a set stand in its order, and their groups."""

    def __init__(self, n: int, order: Any | None, labels: Any | None) -> None:
        every = np.arange(n)
        self.order = check_order(order, n)
        self.labels = check_labels(labels, n)
        self.of = every
        if self.order is not None:
            self.of = np.empty(n, np.int64)
            self.of[self.order] = every

    def samples(self, start: int, stop: int) -> Int:
        """Return the samples at some places."""
        return np.arange(start, stop) if self.order is None else self.order[start:stop]

    def part(self, rows: NDArray[Any], samples: Int) -> Any:
        """Return some rows as :mod:`meddel_fast._core` takes a part."""
        labels = None if self.labels is None else self.labels[samples]
        return rows, samples, self.of[samples], labels


def highest_earlier(
    parts: Parts, places: Places, floor: float, keeper: Checkpoint
) -> tuple[Float, Int]:
    """Return similarity and neighbor by sample; floor and -1 where no cosine is above the floor.

    A checkpoint holds what was found in so many rounds. In parts that are cut otherwise all rounds
    are gone through again, but what is known spares work.
    """
    similarity, neighbor = np.full(parts.n, floor), np.full(parts.n, -1, np.int64)
    state = keeper.begin()
    if state is not None:
        similarity, neighbor = (
            parts.all_of(state.own[name]) for name in ("similarity", "neighbor")
        )
    done = rounds_done(parts, state, keeper)

    def save(rounds: int) -> None:
        if keeper.due():
            similarity[:], neighbor[:] = _best_of_all(parts, similarity, neighbor)
            own = slice(parts.own.start, parts.own.stop)
            keeper.save(
                {"rounds": rounds, "starts": parts.starts},
                own={"similarity": similarity[own], "neighbor": neighbor[own]},
            )

    def compare(tile: Tile, rows: NDArray[Any], other: Tile, other_rows: NDArray[Any]) -> None:
        if places.of[tile.slice].max() < places.of[other.slice].min():
            return
        later = places.part(rows, np.arange(tile.start, tile.stop))
        earlier = places.part(other_rows, np.arange(other.start, other.stop))
        similarity[tile.slice], neighbor[tile.slice] = _core.earlier_in_part(
            later, earlier, similarity[tile.slice], neighbor[tile.slice], parts.settings.threads
        )

    # First within parts: the most similar samples often stand near each other, and what is known
    # spares work later.
    if done is None:
        for tile, rows in parts.stream(parts.own_tiles):
            compare(tile, rows, tile, rows)
        save(0)
    for tile, rows, other, other_rows in tile_pairs(parts, done or 0, save):
        compare(tile, rows, other, other_rows)
        compare(other, other_rows, tile, rows)
    return _best_of_all(parts, similarity, neighbor)


def _best_of_all(parts: Parts, similarity: Float, neighbor: Int) -> tuple[Float, Int]:
    """Put together what the processes have found: each has looked at some pairs of any rows."""
    group = parts.group
    if group.size == 1:
        return similarity, neighbor
    best, which = similarity.copy(), neighbor.copy()
    for root in range(group.size):
        found = group.broadcast(similarity if root == group.rank else None, root)
        its = group.broadcast(neighbor if root == group.rank else None, root)
        better = (found > best) | ((found == best) & (its < which))
        best[better], which[better] = found[better], its[better]
    return best, which

"""Pairs above a cosine, part against part."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast import _core
from meddel_fast.arrays import (
    SimilarPairsResult,
    check_equal_width,
    check_float,
    check_int,
    in_chunks,
)
from meddel_fast.common.progress import counted, metered
from meddel_fast.sharded.checkpoint import Checkpoint
from meddel_fast.sharded.group import Group
from meddel_fast.sharded.parts import Float, Int, Parts, Settings, Tile, store_of
from meddel_fast.sharded.records import State
from meddel_fast.sharded.rounds import rounds_done, tile_pairs

# Of a pair while it is collected and when it is sorted (arrays.results), and in the result.
_PAIR_BYTES = 72
_SAVED = 24  # of a pair in a checkpoint
_SHARE = 4  # the pairs' part of the budget


@metered
def similar_pairs(
    x: Any,
    y: Any | None = None,
    *,
    threshold: float = 0.95,
    max_pairs: int | None = None,
    memory: int | str | None = None,
    group: Group | None = None,
    checkpoint: Any | None = None,
    threads: int | None = None,
) -> SimilarPairsResult:
    """Do :func:`meddel_fast.similar_pairs` on parts; each process of a group returns all pairs.

    Memory for max_pairs pairs, by default for what a quarter of the budget holds, comes off it.

    A checkpoint holds the pairs found in so many rounds of part pairs, or with so many rows of y.
    """
    settings = Settings.check(x, memory, group, threads)
    threshold = check_float("threshold", threshold, -1.0, 1.0)
    limit = _limit(max_pairs, settings)
    first, second = open_sets(x, y, settings)
    sets = (first,) if second is None else (first, second)
    keeper = Checkpoint(
        checkpoint, "similar_pairs", {"threshold": threshold}, settings.group, *sets
    )
    # What is saved is copied: at most all pairs.
    beside = limit * (_PAIR_BYTES + keeper.bytes(_SAVED) // 2)
    plan_sets(first, second, beside=beside, **keeper.cut())
    found = _Found(limit, threshold, first, keeper)
    if second is None:
        _within(first, found)
    else:
        _between(first, second, found)
    keeper.end()
    return found.result()


def _within(parts: Parts, found: _Found) -> None:
    """Find the pairs of one set."""
    state = found.take(found.keeper.begin())
    done = rounds_done(parts, state, found.keeper)
    if state is not None and done is None:
        found.forget()

    def save(rounds: int) -> None:
        found.save({"rounds": rounds, "starts": parts.starts})

    if done is None:
        for tile, rows in parts.stream(parts.own_tiles):
            found.add(tile, rows, tile, None)
        save(0)
    for tile, rows, other, other_rows in tile_pairs(parts, done or 0, save):
        if tile.number < other.number:
            found.add(tile, rows, other, other_rows)
        else:
            found.add(other, other_rows, tile, rows)
    found.agree()


def _between(first: Parts, second: Parts, found: _Found) -> None:
    """Find the pairs of two sets."""
    state = found.take(found.keeper.begin())
    done = 0 if state is None else int(state.told["rows of y"])
    with counted(second.n) as progress:
        progress.advance(done)
        for part in second.tiles:
            if part.stop <= done:
                continue
            sent = part._replace(start=max(part.start, done))
            progress.step(sent.stop - sent.start)
            other_rows = second.broadcast(part)[sent.start - part.start :]
            for tile, rows in first.stream(first.own_tiles):
                found.add(tile, rows, sent, other_rows)
            found.agree()
            found.save({"rows of y": sent.stop})


class _Found:
    """Pairs as they are collected, and whether there are too many over all processes."""

    def __init__(self, limit: int, threshold: float, parts: Parts, keeper: Checkpoint) -> None:
        self._limit, self._threshold, self._parts, self.keeper = limit, threshold, parts, keeper
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self._pairs: list[tuple[Int, Int, Float]] = []
        self._count = 0
        self._saved = 0  # of these pieces
        self.keeper.forget()

    def take(self, state: State | None) -> State | None:
        """Add the pairs of a state to those collected; return it."""
        for arrays in [] if state is None else state.grown:
            self._pairs.append((arrays["i"], arrays["j"], arrays["similarity"]))
            self._count += len(arrays["i"])
        self._saved = len(self._pairs)
        return state

    def save(self, told: dict[str, Any]) -> None:
        """Save, if it is time to, what has come since the last time."""
        if not self.keeper.due():
            return
        self.agree()
        empty = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
        new = [np.concatenate(f) for f in zip(empty, *self._pairs[self._saved :], strict=True)]
        if self.keeper.save(told, grown=dict(zip(("i", "j", "similarity"), new, strict=True))):
            self._saved = len(self._pairs)

    def add(
        self, tile: Tile, rows: NDArray[Any], other: Tile, other_rows: NDArray[Any] | None
    ) -> None:
        """Collect the pairs of two parts, or within one."""
        if self._count > self._limit:
            return
        left, every = self._limit - self._count, range(len(rows))
        try:
            found = _pairs(rows, other_rows, every, self._threshold, left, self._parts, tile, other)
        except OverflowError as error:
            self._count += error.args[0]
        else:
            self._pairs.append(found)
            self._count += len(found[0])
        if self._parts.group.size == 1:
            self.agree()

    def agree(self) -> None:
        """Give up on all processes if they have found too many."""
        counts = self._parts.group.allgather(np.array([self._count]))
        total = int(sum(count[0] for count in counts))
        if total > self._limit:
            raise MemoryError(
                f"more than max_pairs = {self._limit} pairs have a cosine of {self._threshold} or "
                f"more: gave up after {total}; raise the threshold, or iterate over "
                "iter_similar_pairs, which holds a part of them at a time"
            )

    def result(self) -> SimilarPairsResult:
        """Return all pairs of all processes, sorted."""
        empty = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
        own = [np.concatenate(fields) for fields in zip(*[empty, *self._pairs], strict=True)]
        self._pairs.clear()
        i, j, similarity = (
            np.concatenate(self._parts.group.allgather(field)) if self._parts.group.size > 1
            else field for field in own
        )  # fmt: skip
        return _sorted(i, j, similarity)


def _sorted(i: Int, j: Int, similarity: Float) -> SimilarPairsResult:
    order = np.lexsort((j, i))
    return SimilarPairsResult(i[order], j[order], similarity[order])


def _pairs(
    rows: NDArray[Any],
    other_rows: NDArray[Any] | None,
    part: range,
    threshold: float,
    most: int,
    parts: Parts,
    tile: Tile,
    other: Tile,
) -> tuple[Int, Int, Float]:
    """Return the pairs of some rows of a part with another part, or within, as samples."""
    i, j, similarity = _core.similar_pairs(
        rows, other_rows, part.start, part.stop, threshold, most, parts.settings.threads
    )
    return i + tile.start, j + other.start, similarity


def iter_similar_pairs(
    x: Any,
    y: Any | None = None,
    *,
    threshold: float = 0.95,
    max_pairs: int = 10_000_000,
    memory: int | str | None = None,
    threads: int | None = None,
) -> Iterator[SimilarPairsResult]:
    """Do :func:`meddel_fast.iter_similar_pairs` on parts, in one process.

    A chunk holds at most max_pairs pairs, or what a quarter of the budget holds, if that is less.
    """
    settings = Settings.check(x, memory, None, threads)
    threshold = check_float("threshold", threshold, -1.0, 1.0)
    limit = min(check_int("max_pairs", max_pairs, 1), max(1, _limit(None, settings)))
    first, second = two_sets(x, y, settings, beside=limit * _PAIR_BYTES)
    return _chunks(first, second, threshold, limit)


def _chunks(
    first: Parts, second: Parts | None, threshold: float, limit: int
) -> Iterator[SimilarPairsResult]:
    """Go through the rows of x by parts, and through those of y, or the later ones, for each."""
    source = first if second is None else second
    for tile, rows in first.stream(first.own_tiles):
        others = first.tiles[tile.number + 1 :] if second is None else source.tiles

        def find(
            part: range, most: int, tile: Tile = tile, rows: Any = rows, others: Any = others
        ) -> SimilarPairsResult:
            found = []
            if second is None:
                found.append(_pairs(rows, None, part, threshold, most, first, tile, tile))
            for other in others:
                left = most - sum(len(pairs[0]) for pairs in found)
                other_rows = source.broadcast(other)
                found.append(_pairs(rows, other_rows, part, threshold, left, first, tile, other))
            return _sorted(*(np.concatenate(fields) for fields in zip(*found, strict=True)))

        for _, chunk in in_chunks(len(rows), source.n, limit, find):
            yield chunk


def two_sets(
    x: Any,
    y: Any | None,
    settings: Settings,
    *,
    held: int = 0,
    everywhere: int = 0,
    beside: int = 0,
) -> tuple[Parts, Parts | None]:
    """Open, cut and check one set or two of equal width."""
    first, second = open_sets(x, y, settings)
    plan_sets(first, second, held=held, everywhere=everywhere, beside=beside)
    return first, second


def open_sets(x: Any, y: Any | None, settings: Settings) -> tuple[Parts, Parts | None]:
    """Open one set or two of equal width; two of different types are both widened."""
    if y is None:
        return Parts("x", x, settings), None
    half = settings.share(2)
    widen = store_of("x", x).dtype != store_of("y", y).dtype
    first, second = (Parts(name, v, half, widen=widen) for name, v in (("x", x), ("y", y)))
    check_equal_width(first, second)
    return first, second


def plan_sets(
    first: Parts,
    second: Parts | None,
    *,
    held: int = 0,
    everywhere: int = 0,
    beside: int = 0,
    **cut: Any,
) -> None:
    """Cut one set or two into parts, as :meth:`Parts.plan` takes it, and look at all rows."""
    if second is None:
        first.plan(held=held, everywhere=everywhere, beside=beside, **cut)
    else:
        first.plan(held=held, everywhere=everywhere, beside=beside // 2)
        second.plan(everywhere=0, beside=beside // 2, often=bool(cut.get("often")))
    first.survey()
    if second is not None:
        second.survey()


def _limit(max_pairs: int | None, settings: Settings) -> int:
    if max_pairs is not None:
        return check_int("max_pairs", max_pairs, 0)
    return settings.memory // _SHARE // _PAIR_BYTES

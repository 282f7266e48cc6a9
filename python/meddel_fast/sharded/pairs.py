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
from meddel_fast.sharded.group import Group
from meddel_fast.sharded.parts import Float, Int, Parts, Settings, Tile, store_of, tile_pairs

# Of a pair while it is collected and when it is sorted (arrays.results), and in the result.
_PAIR_BYTES = 72
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
    threads: int | None = None,
) -> SimilarPairsResult:
    """Do :func:`meddel_fast.similar_pairs` on parts; each process of a group returns all pairs.

    Memory for max_pairs pairs, by default for what a quarter of the budget holds, comes off it.
    """
    settings = Settings.check(x, memory, group, threads)
    threshold = check_float("threshold", threshold, -1.0, 1.0)
    limit = _limit(max_pairs, settings)
    first, second = two_sets(x, y, settings, beside=limit * _PAIR_BYTES)
    found = _Found(limit, threshold, first)
    if second is None:
        for tile, rows in first.stream(first.own_tiles):
            found.add(tile, rows, tile, None)
        for tile, rows, other, other_rows in tile_pairs(first):
            if tile.number < other.number:
                found.add(tile, rows, other, other_rows)
            else:
                found.add(other, other_rows, tile, rows)
        found.agree()
    else:
        with counted(second.n) as progress:
            for sent in second.tiles:
                progress.step(sent.stop - sent.start)
                other_rows = second.broadcast(sent)
                for tile, rows in first.stream(first.own_tiles):
                    found.add(tile, rows, sent, other_rows)
                found.agree()
    return found.result()


class _Found:
    """Pairs as they are collected, and whether there are too many over all processes."""

    def __init__(self, limit: int, threshold: float, parts: Parts) -> None:
        self._limit, self._threshold, self._parts = limit, threshold, parts
        self._pairs: list[tuple[Int, Int, Float]] = []
        self._count = 0

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
    """Open and check one set or two of equal width; two of different types are both widened."""
    if y is None:
        parts = Parts("x", x, settings)
        parts.plan(held=held, everywhere=everywhere, beside=beside)
        parts.survey()
        return parts, None
    half = settings.share(2)
    widen = store_of("x", x).dtype != store_of("y", y).dtype
    first, second = (Parts(name, v, half, widen=widen) for name, v in (("x", x), ("y", y)))
    check_equal_width(first, second)
    first.plan(held=held, everywhere=everywhere, beside=beside // 2)
    second.plan(everywhere=0, beside=beside // 2)
    first.survey()
    second.survey()
    return first, second


def _limit(max_pairs: int | None, settings: Settings) -> int:
    if max_pairs is not None:
        return check_int("max_pairs", max_pairs, 0)
    return settings.memory // _SHARE // _PAIR_BYTES

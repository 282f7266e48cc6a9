"""k-means++ on parts: the seeds of the operation on the whole, with few rows read for each.

Weights, and codes of all own rows as far as the budget has room for them, stay in memory: they tell
which rows a seed may come nearer to than those before it. These alone are asked for. The first seed
is compared with all rows while these are read for the first time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast import _core
from meddel_fast.arrays import check_finite
from meddel_fast.common.progress import counted
from meddel_fast.sharded.group import together
from meddel_fast.sharded.parts import BLOCK, Float, Int, Parts, Tile

_SAMPLE = 2048  # rows to learn from
HELD = 40  # bytes an own row: <x, x> (twice), weight, and which rows are asked for
_CODE = 64  # bytes of a code are a multiple of it
# Bytes a row beside its code of 8 bits an element: that of a prefix, and where either's sums start.
_BESIDE = 128 + 16


def code_bytes(parts: Parts) -> int:
    """Return how many bytes the codes of all own rows take."""
    return (-(-parts.d // _CODE) * _CODE + _BESIDE) * len(parts.own)


class Seeding:
    """Draws seeds, one for each uniform; each process has the weights of its own rows.

    Parameters
    ----------
    parts
        Planned, and not yet surveyed.
    spherical, uniforms
        As of :func:`meddel_fast.reference.kmeans_plus_plus`.
    weights
        Of all rows, as there.
    room
        Bytes that codes may take, and then rows that stay. Without any, and while codes tell
        nothing apart, a seed goes through all own rows; with codes of a part of them, through all
        others.
    """

    def __init__(
        self, parts: Parts, uniforms: Float, room: int, weights: Float | None, *, spherical: bool
    ) -> None:
        self._parts, self._spherical, self._uniforms = parts, spherical, uniforms
        self._own = None if weights is None else weights[parts.own.start : parts.own.stop]
        self._room, self._threads = room, parts.settings.threads
        self._weights: _core.SeedParts | None = None
        self._held: NDArray[Any] = np.empty((0, parts.d), parts.store.dtype)  # the first own rows
        self._seed = self._held
        self._sample = -1

    def run(self) -> tuple[Float, NDArray[Any]]:
        """Survey the parts; return <x, x> of the own rows, and the seeds."""
        parts, n = self._parts, self._parts.n
        if self._own is None:
            chosen = [min(int(self._uniforms[0] * n), n - 1)]
        else:
            own = self._own
            chosen = [self._draw(self._uniforms[0], [], block_sums(own), lambda a, b: own[a:b])]
        if parts.stays:
            squares = parts.survey()
            self._learn(chosen[0])
            for tile, rows in parts.stream(parts.own_tiles):
                self._begin(tile, rows, squares[parts.mine(tile)])
        else:
            self._learn(chosen[0])
            squares = parts.survey(self._begin)
        seeds = [self._seed]
        with counted(len(self._uniforms)) as progress:
            progress.advance(1)
            for number, uniform in enumerate(self._uniforms[1:], 1):
                progress.step(1)
                if number > 1:
                    self._compare()
                chosen.append(self._draw_next(uniform, chosen))
                self._sample, self._seed = chosen[-1], parts.fetch(np.array(chosen[-1:]))
                seeds.append(self._seed)
        return squares, np.concatenate(seeds)

    def _learn(self, first: int) -> None:
        """Read the first seed, and what screens learn from."""
        parts, own = self._parts, self._parts.own
        owners = parts.owners(np.array([first]))
        held: list[NDArray[Any]] = []

        def read() -> None:
            held.append(parts.take(np.array([first])[owners == parts.group.rank]))
            count = min(len(own), _SAMPLE)
            if count == 0:
                return
            rows = parts.take(own.start + np.arange(count) * len(own) // count)
            try:
                check_finite(parts.name, rows, self._threads, 0)
            except ValueError:  # as the survey will find, which knows where
                rows = np.zeros_like(rows[:1])
            self._weights = _core.SeedParts(
                rows, self._spherical, len(own), len(self._uniforms), self._room, self._own,
                self._threads,
            )  # fmt: skip
            if not parts.stays:
                rest = (self._room - self._weights.bytes()) // parts.store.row_bytes
                self._held = np.empty((max(0, min(rest, len(own))), parts.d), rows.dtype)

        together(parts.group, read)
        self._sample, self._seed = first, parts.join(owners, held[0])

    def _begin(self, tile: Tile, rows: NDArray[Any], squares: Float) -> None:
        """Take an own part for the first time, and compare the first seed with it."""
        if self._weights is None:
            return
        here = self._parts.mine(tile)
        self._weights.add(rows, squares, here.start, self._threads)
        self._held[here] = rows[: len(self._held[here])]
        inside = self._mine() if tile.start <= self._sample < tile.stop else -1
        self._lower(rows, np.arange(here.start, here.stop), inside)

    def _mine(self) -> int:
        """Return which of the own rows the seed is, or -1."""
        own = self._parts.own
        return self._sample - own.start if self._sample in own else -1

    def _lower(self, rows: NDArray[Any], which: Int, inside: int) -> None:
        if self._weights is not None:
            self._weights.lower(rows, which, self._seed, inside, self._threads)

    def _compare(self) -> None:
        """Compare a seed with the own rows that it may come nearer to."""
        if self._weights is None:
            return
        parts, mine = self._parts, self._mine()
        left = self._weights.left(self._seed, self._threads)
        if mine >= 0:  # a row of zeros is not near itself
            left = np.union1d(left, [mine])
        held = left[: np.searchsorted(left, len(self._held))]
        left = left[len(held) :]
        for which in self._some(held):
            self._lower(self._held[which], which, mine if mine in which else -1)
        if len(left) == len(parts.own):
            for tile, rows in parts.stream(parts.own_tiles):
                here = parts.mine(tile)
                inside = mine if here.start <= mine < here.stop else -1
                self._lower(rows, np.arange(here.start, here.stop), inside)
            return
        for which in self._some(left):
            inside = mine if mine in which else -1
            self._lower(parts.take(which + parts.own.start), which, inside)

    def _some(self, rows: Int) -> Iterator[Int]:
        """Go through them, as many at a time as a part has."""
        for start in range(0, len(rows), self._parts.step):
            yield rows[start : start + self._parts.step]

    def _draw_next(self, uniform: float, chosen: list[int]) -> int:
        weights = self._weights
        if weights is None:
            return self._draw(uniform, chosen, np.empty(0), lambda a, b: np.empty(0))
        return self._draw(uniform, chosen, weights.sums(self._threads), weights.shares)

    def _draw(
        self, uniform: float, chosen: list[int], sums: Float, shares: Callable[[int, int], Float]
    ) -> int:
        """Draw a row with a probability proportional to its share, as reference.py states.

        Of the own rows: the sums of their blocks, and what returns the shares of a range of them.
        """
        parts = self._parts
        running = np.cumsum(parts.all_of(sums))
        if running[-1] == 0.0:  # only copies of the seeds are left
            taken = set(chosen)
            return next(i for i in range(parts.n) if i not in taken)
        target = min(uniform * running[-1], np.nextafter(running[-1], 0.0))
        block = int(np.argmax(running > target))
        owner = int(parts.owners(np.array([block * BLOCK]))[0])
        found = None
        if owner == parts.group.rank:
            first = block * BLOCK - parts.own.start
            inside = shares(first, min(first + BLOCK, len(parts.own)))
            before = running[block - 1] if block else 0.0
            beyond = np.cumsum(np.concatenate([[before], inside]))[1:] > target
            # Rounding may leave the block's own sum short of the target: the last possible row.
            last = int(np.flatnonzero(inside)[-1])
            found = np.array([block * BLOCK + (int(np.argmax(beyond)) if beyond.any() else last)])
        return int(parts.group.broadcast(found, owner)[0])


def block_sums(values: Float) -> Float:
    """Sum each block of rows, one value after the other (a cumulative sum does not reorder)."""
    whole = len(values) // BLOCK * BLOCK
    sums = np.cumsum(values[:whole].reshape(-1, BLOCK), axis=1)[:, -1]
    if whole == len(values):
        return sums
    return np.append(sums, np.cumsum(values[whole:])[-1])

"""A greedy for samples that are wanted, and far from those kept: a sum that only falls.

The sum of a sample is what it is wanted for, which does not change, plus a strength (at least 0)
times its distance to the nearest kept sample. In fp64, too, a smaller distance gives no larger sum
(products and sums round monotonically), so that a sum of any time before is an upper bound.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from meddel_fast import _core, arrays
from meddel_fast.selectors.plan import Task
from meddel_fast.stores.store import Store

_LEAST, _MOST = 64, 2048  # samples to choose among: a 256th of all, within these
_TILE = 1 << 16  # rows of a store that are read together, at most
_SAMPLE = 96  # bytes a sample: what it is wanted for, distance, sum, and the search for the highest


class Wish(NamedTuple):
    """What samples are wanted for.

    Attributes
    ----------
    base : float64, shape (n,)
        Sum of strength times term, in the order of the objectives.
    terms
        Objectives that do not change, by name; float64, shape (n,), from 0 to 1.
    diversity
        Strength of the distance to the nearest kept sample.
    limit
        Samples as near as that to a kept one are near copies; -1 for none.
    room
        More than any two sums differ by.
    """

    base: NDArray[np.float64]
    terms: dict[str, NDArray[np.float64]]
    diversity: float
    limit: float
    room: float

    @classmethod
    def of(cls, strengths: dict[str, float], terms: dict[str, NDArray[np.float64]], n: int) -> Wish:
        """Add up the terms; what is unlike counts against a sample.

        A cosine of at least `dedup` is a distance of at most 1 - dedup: from 0.5 to 1 both
        differences are exact.
        """
        base = np.zeros(n)
        for name, term in terms.items():
            base = base + (-strengths[name] if name == "unlike" else strengths[name]) * term
        limit = 1.0 - strengths["dedup"] if "dedup" in strengths else -1.0
        room = 1.0 + sum(abs(s) for name, s in strengths.items() if name != "dedup")
        return cls(base, terms, strengths.get("diversity", 0.0), limit, room)

    def sums(self, which: NDArray[np.int64], distance: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sums of some samples at these distances."""
        return self.base[which] + self.diversity * distance


class FarAndWanted:
    """Keeps the sample of the highest sum, the lowest among equals, again and again.

    Near copies are kept when nothing else is left.

    Attributes
    ----------
    order, gains, at
        Samples as they were kept beside those selected, their sums and distances at that time.
    distinct
        How many of them are no near copies: the first ones.
    """

    def __init__(self, task: Task, wish: Wish) -> None:
        self._wish, self._threads = wish, arrays.resolve_threads(task.threads)
        self._store = task.x if isinstance(task.x, Store) else None
        room = max(task.counts)
        self._tile = _TILE if self._store is None else _tile(task, self._store, room)
        if self._store is None:
            self._array = arrays.check_rows("x", task.x, self._threads).array
        self.order: list[int] = []
        self.gains: list[float] = []
        self.at: list[float] = []
        self.distinct = 0
        self._limit = wish.limit
        self._distance = np.ones(task.n)  # to those that are seen
        self._seen = np.zeros(task.n, dtype=np.int32)
        self._free = np.ones(task.n, dtype=bool)  # neither kept nor found to be a copy
        self._sum = wish.sums(np.arange(task.n), self._distance)  # bounds; -inf where not free
        self._kept = np.zeros(task.n, dtype=bool)
        rows = self._take(task.selected)
        self._centres = np.empty((room, rows.shape[1]), rows.dtype)
        self._centres[: len(rows)] = rows
        self._count = len(rows)
        self._take_out(task.selected)
        self._kept[task.selected] = True
        self._wanted = self._active = min(max(task.n // 256, _LEAST), _MOST)

    def keep(self, number: int) -> Iterator[int]:
        """Keep samples until there are so many beside those selected; yield each."""
        while len(self.order) < number:
            if not self._free.any():  # the rest are copies
                self._limit = -1.0
                self._free = ~self._kept
                left = np.flatnonzero(self._free)
                self._sum[left] = self._wish.sums(left, self._distance[left])
            yield from self._round(number)

    def distances(self) -> NDArray[np.float64]:
        """Return the distance of each sample to the nearest kept one, 1 at most."""
        n = len(self._distance)
        if self._store is None:
            self._catch_up(np.arange(n), self._array)
        else:
            for start in range(0, n, self._tile):
                stop = min(n, start + self._tile)
                self._catch_up(np.arange(start, stop), self._store.rows(start, stop))
        free = np.flatnonzero(self._free)
        self._sum[free] = self._wish.sums(free, self._distance[free])
        return self._distance.copy()

    def rows_kept(self) -> NDArray[Any]:
        """Return the rows of what is kept, those selected first."""
        return self._centres[: self._count]

    def _round(self, number: int) -> Iterator[int]:
        """Choose among the samples with the highest bounds, as long as no other may be higher."""
        samples, bar, behind = self._highest(self._wanted)
        rows = self._take(samples)
        self._catch_up(samples, rows)
        near = self._distance[samples]
        sums = self._wish.sums(samples, near)
        copies = near <= self._limit
        self._take_out(samples[copies])
        sums[copies] = -np.inf
        chosen = 0
        while len(self.order) < number:
            ahead = np.flatnonzero((sums > bar) | ((sums == bar) & (samples < behind)))
            if len(ahead) == 0:
                break
            if 2 * len(ahead) <= len(samples):  # the others wait: theirs are bounds from now on
                self._put_back(samples, near, sums)
                samples, rows, near, sums = samples[ahead], rows[ahead], near[ahead], sums[ahead]
            best = int(np.argmax(sums))
            self._add(int(samples[best]), float(sums[best]), float(near[best]), rows[best])
            chosen += 1
            yield self.order[-1]
            sums[best] = -np.inf
            near = self._compare(rows, self._count - 1, near)
            free = sums > -np.inf
            sums[free] = self._wish.sums(samples[free], near[free])
            copies = free & (near <= self._limit)
            self._take_out(samples[copies])
            sums[copies] = -np.inf
        self._put_back(samples, near, sums)
        if chosen < self._active // 64:
            self._wanted = min(2 * self._wanted, 4 * _MOST)
        elif chosen > self._active // 8:
            self._wanted = max(self._active, self._wanted // 2)

    def _put_back(
        self, samples: NDArray[np.int64], near: NDArray[np.float64], sums: NDArray[np.float64]
    ) -> None:
        self._distance[samples], self._seen[samples] = near, self._count
        self._sum[samples] = sums

    def _add(self, sample: int, gain: float, distance: float, row: NDArray[Any]) -> None:
        self.order.append(sample)
        self.gains.append(gain)
        self.at.append(distance)
        if self._limit == self._wish.limit:
            self.distinct = len(self.order)
        self._centres[self._count] = row
        self._count += 1
        self._take_out(np.array([sample]))
        self._kept[sample] = True

    def _take_out(self, samples: NDArray[np.int64]) -> None:
        self._free[samples] = False
        self._sum[samples] = -np.inf

    def _highest(self, count: int) -> tuple[NDArray[np.int64], float, int]:
        """Return the samples with the highest bounds, rising, and the highest bound of the others.

        Among equals the lower sample comes first; with the bound comes the sample that has it.
        """
        sums, n = self._sum, len(self._sum)
        if count + 1 < n:
            cut = float(np.partition(sums, n - count - 1)[n - count - 1])
            above = np.flatnonzero(sums > cut)
            equal = np.flatnonzero(sums == cut)[: count + 1 - len(above)]
            some = np.concatenate([above, equal])
        else:
            some = np.arange(n)
        some = some[np.lexsort((some, -sums[some]))]
        some = some[sums[some] > -np.inf]
        if len(some) <= count:
            return np.sort(some), -np.inf, -1
        return np.sort(some[:count]), float(sums[some[count]]), int(some[count])

    def _compare(
        self, rows: NDArray[Any], start: Any, near: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return distances that take account of the kept ones from `start` on, one or one a row."""
        first = int(np.min(start))
        seen = np.broadcast_to(np.asarray(start) - first, near.shape).astype(np.int32)
        return _core.catch_up(
            rows, self._centres[first : self._count], True, seen, near, self._threads
        )

    def _catch_up(self, samples: NDArray[np.int64], rows: NDArray[Any]) -> None:
        """Make the distances of some samples exact."""
        stale = self._seen[samples] < self._count
        if not stale.any():
            return
        if not stale.all():
            samples, rows = samples[stale], rows[stale]
        near = self._compare(rows, self._seen[samples], self._distance[samples])
        self._distance[samples], self._seen[samples] = near, self._count

    def _take(self, which: NDArray[np.int64]) -> NDArray[Any]:
        return self._array[which] if self._store is None else self._store.take(which)


def _tile(task: Task, store: Store, room: int) -> int:
    """Return the rows that may be read together within the budget of a store.

    Raises
    ------
    ValueError
        It does not hold what is kept with its codes, and a few rows.
    """
    least = 4 * _MOST  # to choose among
    held = task.n * _SAMPLE + 2 * room * store.row_bytes + store.beside
    wanted = held + 3 * min(task.n, least) * store.row_bytes
    memory = task.memory or 0
    if memory < wanted:
        raise ValueError(
            f"memory must be at least {wanted} bytes for {room} of {task.n} x {store.shape[1]} "
            f"rows of x, got {memory}"
        )
    return max(1, min(_TILE, (memory - held) // (3 * store.row_bytes)))

"""k-center greedy on parts.

Distances are kept by row, as upper bounds: a row's distance to its nearest centre only shrinks.
Each round takes the rows with the largest bounds, wherever they are, makes these exact, and lets
all processes choose among them, alike, for as long as the farthest of them is farther than the
largest bound of all other rows. So the rows are gone through once in the beginning, once in the end
if distances are wanted, and else a few of them are asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast import _core
from meddel_fast.arrays import KCenterResult, check_centres, check_choice
from meddel_fast.common.progress import counted, metered
from meddel_fast.sharded.checkpoint import Checkpoint
from meddel_fast.sharded.group import Group
from meddel_fast.sharded.parts import Float, Int, Parts, Settings

_LEAST, _MOST = 64, 2048  # rows to choose among: a 256th of all, within these
_SHARE = 8  # of the budget: for the centres that a radius alone comes to
_RESULT = 32  # bytes a centre: index and radius, when they are put together
_SAVED = 12  # bytes an own row of a checkpoint: bound, what it has seen
_OFTEN = 1000  # centres from one chance to save to the next
_HELD = 36  # bytes an own row: bound, what it has seen, and the search for the largest bounds


@metered
def kcenter_greedy(
    x: Any,
    k: int | None = None,
    *,
    radius: float | None = None,
    metric: str = "euclidean",
    start: int = 0,
    selected: Any | None = None,
    distances: bool = True,
    memory: int | str | None = None,
    group: Group | None = None,
    checkpoint: Any | None = None,
    threads: int | None = None,
) -> KCenterResult:
    """Do :func:`meddel_fast.kcenter_greedy` on parts; each process of a group returns all of it.

    A checkpoint holds the centres, and the bounds of all rows.
    """
    settings = Settings.check(x, memory, group, threads)
    check_choice("metric", metric, ("euclidean", "cosine"))
    parts = Parts("x", x, settings)
    row_bytes = parts.store.row_bytes
    known = k is not None
    k, limit, centres, start = check_centres(parts.n, k, radius, start, selected)
    # Centres are held as well; how many a radius alone comes to is not known beforehand.
    room = k + len(centres)
    if not known:
        room = min(room, max(_LEAST, settings.memory // _SHARE // row_bytes))
    options = {
        "k": k, "radius": limit, "metric": metric, "start": start, "selected": centres,
        "distances": bool(distances),
    }  # fmt: skip
    keeper = Checkpoint(checkpoint, "kcenter_greedy", options, settings.group, parts)
    parts.plan(held=_HELD + keeper.bytes(_SAVED), everywhere=8, beside=room * (row_bytes + _RESULT))
    parts.survey()
    greedy = _Greedy(parts, metric == "cosine", room)
    found = [(np.empty(0, np.int64), np.empty(0))]
    ended = False
    state = keeper.begin()
    if state is not None:
        found.append((state.common["indices"], state.common["radii"]))
        greedy.go_on(np.concatenate([centres, found[-1][0]]), state.own)
        ended = bool(state.told["ended"])
    elif len(centres):
        greedy.begin(centres)
    else:
        found.append((np.array([start]), np.array([np.inf])))
        greedy.begin(found[-1][0])
    count = saved = sum(len(indices) for indices, _ in found)

    def save() -> None:
        if not keeper.due():
            return
        indices, radii = (np.concatenate(fields) for fields in zip(*found, strict=True))
        told = {"centres": len(indices), "ended": ended}
        keeper.save(told, common={"indices": indices, "radii": radii}, own=greedy.bounds())

    with counted(k) as progress:
        progress.advance(count)
        while count < k and not ended:
            chosen, at, ended = greedy.choose(k - count, limit)
            found.append((chosen, at))
            count += len(chosen)
            progress.advance(len(chosen))
            if count - saved >= _OFTEN:
                saved = count
                save()
    nearest = greedy.distances(save) if distances else None
    keeper.end()
    indices, radii = (np.concatenate(fields) for fields in zip(*found, strict=True))
    return KCenterResult(indices, radii, nearest)


class _Greedy:
    def __init__(self, parts: Parts, cosine: bool, room: int) -> None:
        self._parts, self._cosine = parts, cosine
        self._nearest = np.full(len(parts.own), np.inf)  # squared if Euclidean; -1 of centres
        self._seen = np.zeros(len(parts.own), np.int32)  # how many centres that takes account of
        self._rows = np.empty((room, parts.d), parts.store.dtype)
        self._count = 0  # centres, the first of these rows
        self._active = min(max(parts.n // 256, _LEAST), _MOST, parts.step)
        self._wanted = self._active

    def begin(self, centres: Int) -> None:
        """Go through all rows once, with the first centres."""
        self._add(centres, self._parts.fetch(centres))
        self._catch_up_all()

    def go_on(self, centres: Int, bounds: dict[str, NDArray[Any]]) -> None:
        """Go on from these centres, with what :meth:`bounds` has returned for them."""
        for start in range(0, len(centres), self._parts.step):
            some = centres[start : start + self._parts.step]
            self._add(some, self._parts.fetch(some))
        self._nearest, self._seen = bounds["nearest"], bounds["seen"]

    def bounds(self) -> dict[str, NDArray[Any]]:
        """Return what is known of own rows."""
        return {"nearest": self._nearest, "seen": self._seen}

    def choose(self, k: int, radius: float) -> tuple[Int, Float, bool]:
        """Return up to k centres more, maybe none yet, and whether the radius has ended it."""
        parts = self._parts
        samples, bound, behind = self._largest(self._wanted)
        mine = samples[parts.owners(samples) == parts.group.rank] - parts.own.start
        rows = parts.take(mine + parts.own.start)
        self._catch_up(mine, rows)
        # Those that are still farther than all others are up for the choice.
        nearest = parts.join(parts.owners(samples), self._nearest[mine])
        order = np.lexsort((samples, -nearest))
        ahead = (nearest > bound) | ((nearest == bound) & (samples < behind))
        order = order[ahead[order]]
        self._adapt(len(order))
        if len(order) > self._active:
            bound, behind = nearest[order[self._active]], int(samples[order[self._active]])
            order = order[: self._active]
        active = np.sort(order)  # samples rise
        if len(active) == 0:
            return samples[:0], np.empty(0), False
        samples, nearest = samples[active], nearest[active]
        owners = parts.owners(samples)
        own = np.searchsorted(mine + parts.own.start, samples[owners == parts.group.rank])
        all_rows = parts.join(owners, rows[own])
        chosen, radii, nearest, ended = _core.choose_among(
            all_rows, nearest, k, radius, self._cosine, bound,
            int(np.searchsorted(samples, behind)), parts.settings.threads,
        )  # fmt: skip
        self._add(samples[chosen], all_rows[chosen])
        mine = samples[owners == parts.group.rank] - parts.own.start
        self._nearest[mine] = nearest[owners == parts.group.rank]
        self._seen[mine] = self._count
        return samples[chosen], radii, ended

    def distances(self, after: Callable[[], None]) -> Float:
        """Go through all rows once more, with the centres that they have not seen.

        Calls a function after each part; as often on each process.
        """
        self._catch_up_all(after)
        nearest = np.maximum(0.0, self._nearest)
        return self._parts.all_of(nearest if self._cosine else np.sqrt(nearest))

    def _adapt(self, found: int) -> None:
        """Ask for more rows next time where too few of them stay ahead, and the other way round."""
        if found < self._active // 2:
            self._wanted = min(2 * self._wanted, self._parts.step)
        elif found > self._active:
            self._wanted = max(self._active, self._wanted // 2)

    def _add(self, centres: Int, rows: NDArray[Any]) -> None:
        count = self._count + len(rows)
        if count > len(self._rows):
            raise MemoryError(
                f"memory has room for {len(self._rows)} centres, and the radius takes more of "
                "them: pass k, a larger radius or more memory"
            )
        self._rows[self._count : count] = rows
        self._count = count
        own = centres[self._parts.owners(centres) == self._parts.group.rank]
        self._nearest[own - self._parts.own.start] = -1.0

    def _catch_up_all(self, after: Callable[[], None] = lambda: None) -> None:
        for tile, rows in self._parts.stream(self._parts.own_tiles):
            here = self._parts.mine(tile)
            self._catch_up(np.arange(here.start, here.stop), rows)
            after()
        for _ in range(self._parts.most_tiles - len(self._parts.own_tiles)):
            after()

    def _catch_up(self, mine: Int, rows: NDArray[Any]) -> None:
        """Make the bounds of some own rows exact."""
        count = self._count
        stale = (self._seen[mine] < count) & (self._nearest[mine] >= 0.0)
        if not stale.any():
            return
        if not stale.all():
            mine, rows = mine[stale], rows[stale]
        seen, nearest = self._seen[mine], self._nearest[mine]
        # As many centres at a time as a part has rows: the kernel takes memory for either.
        for start in range(int(seen.min()), count, self._parts.step):
            centres = self._rows[start : min(start + self._parts.step, count)]
            nearest = _core.catch_up(
                rows, centres, self._cosine, np.clip(seen - start, 0, len(centres)), nearest,
                self._parts.settings.threads,
            )  # fmt: skip
        self._nearest[mine] = nearest
        self._seen[mine] = count

    def _largest(self, count: int) -> tuple[Int, float, int]:
        """Return the samples with the largest bounds, rising, and the largest bound of the others.

        Among equals the lower sample comes first; with the bound comes the sample that has it.
        """
        parts = self._parts
        bounds, samples = self._first(count + 1)
        bounds = np.concatenate(parts.group.allgather(bounds))
        samples = np.concatenate(parts.group.allgather(samples))
        order = np.lexsort((samples, -bounds))[: count + 1]
        if len(order) <= count:
            return np.sort(samples), -1.0, parts.n
        return (
            np.sort(samples[order[:count]]),
            float(bounds[order[count]]),
            int(samples[order[count]]),
        )

    def _first(self, count: int) -> tuple[Float, Int]:
        """Return the `count` own rows with the largest bounds, centres left out."""
        bounds = self._nearest
        if count < len(bounds):
            least = max(0.0, float(np.partition(bounds, len(bounds) - count)[len(bounds) - count]))
            above = np.flatnonzero(bounds > least)
            equal = np.flatnonzero(bounds == least)[: count - len(above)]
            mine = np.concatenate([above, equal])
        else:
            mine = np.flatnonzero(bounds >= 0.0)
        return bounds[mine], mine + self._parts.own.start

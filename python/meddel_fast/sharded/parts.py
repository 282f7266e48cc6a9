"""Who owns which rows of a set, and the ways to read, send and ask for them within a budget."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from meddel_fast import _core
from meddel_fast.arrays import check_finite, resolve_threads
from meddel_fast.common.pool import Pool
from meddel_fast.common.progress import open_pass
from meddel_fast.sharded.fingerprint import Fingerprint
from meddel_fast.sharded.group import Group, check_group, together
from meddel_fast.sharded.memory import check_memory
from meddel_fast.stores.shards import ArrayShard
from meddel_fast.stores.store import LocalRows, Store, as_store

Int = NDArray[np.int64]
Float = NDArray[np.float64]

BLOCK = 1024  # rows: parts begin at multiples of it, as k-means sums by such blocks
# Bytes of a row while a kernel works on it, beside d of its dense code: 64 to 128 of a prefix's
# code, 72 of norms and orders (docs/performance.md), and what is known of it, in and out.
WORK = 256
# Bytes of what does not grow with the rows: samples, screens, the threads' tables. Without them a
# budget of 32 MB was exceeded by 2.
_FIXED = 3_000_000
_LEAST_BLOCKS = 2  # of a part, where its memory could serve another purpose
_TILES_A_RANK = 8  # so that the ranks' shares of a triangle of tiles are about equal
# Parts where something is done often: so many, but each of at least and at most so many rows. The
# codes of rows are made for each pair of parts: in parts of 8,192 rows deduplicate took 1.4 times
# as long as at once.
_OFTEN, _OFTEN_LEAST, _OFTEN_MOST = 64, 64 * BLOCK, 256 * BLOCK


class Settings(NamedTuple):
    """What all operations on parts take."""

    memory: int
    group: Group
    threads: int
    sets: int = 1  # which share the user's budget

    def share(self, sets: int) -> Settings:
        """Return the settings of one of so many sets."""
        return self._replace(memory=self.memory // sets, sets=sets)

    @classmethod
    def check(
        cls, x: Any, memory: Any | None, group: Group | None, threads: int | None
    ) -> Settings:
        """Check the user's; a store may have a budget of its own."""
        if memory is None and isinstance(x, Store):
            memory = x.memory
        group = check_group(group)
        budget = check_memory(memory)
        if memory is None and group.size > 1:  # what is free is shared by the machine's processes
            budget //= max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
        return cls(budget, group, resolve_threads(threads))


class Tile(NamedTuple):
    """A part: adjacent rows of one owner."""

    number: int
    start: int
    stop: int
    owner: int

    @property
    def slice(self) -> slice:
        """Where its rows stand in arrays of one entry a row of the set."""
        return slice(self.start, self.stop)


def block_bounds(n: int, size: int) -> list[int]:
    """Return where the ranges of so many processes begin in n rows that all have, and n."""
    blocks = -(-n // BLOCK)
    return [min(n, blocks * rank // size * BLOCK) for rank in range(size + 1)]


def store_of(name: str, x: Any) -> Store:
    """Return what this process has of a set."""
    if isinstance(x, LocalRows):
        return x.rows if isinstance(x.rows, Store) else Store([ArrayShard(name, x.rows)])
    return as_store(name, x)


class Parts:
    """A set of rows in parts, spread over a group.

    Each process owns a range of rows, and all know of all parts. How many rows a part has follows
    from the budget; if a process's rows fit into it, they are read once and stay.

    Parameters
    ----------
    name, x
        A store or an array that each process has as a whole, or :class:`LocalRows`.
    settings
        Budget, group, threads.
    widen
        Give rows in fp32, exactly.

    Attributes
    ----------
    n, d, kind
        Rows of the whole set, their width and type.
    own
        The rows of this process.
    fingerprint
        Where one is put here, :meth:`survey` adds all own rows to it.

    Raises
    ------
    TypeError, ValueError
        For rows of wrong type or shape: on all processes.
    """

    def __init__(self, name: str, x: Any, settings: Settings, *, widen: bool = False) -> None:
        self.name, self.settings, self.group = name, settings, settings.group
        self._widen = widen
        self._local = isinstance(x, LocalRows)
        together(self.group, lambda: self._open(x))
        self._shares = self._share_out()
        self.n, self.d = self._shares[-1], self.store.shape[1]
        self._bound([])
        self.fingerprint: Fingerprint | None = None
        self._buffer: NDArray[Any] | None = None  # all own rows, where they stay

    def plan(
        self,
        *,
        held: int = 0,
        everywhere: int,
        beside: int = 0,
        wanted: int = 0,
        often: bool = False,
        starts: Sequence[int] = (),
    ) -> int:
        """Cut all rows into parts, by what the budget leaves.

        Parameters
        ----------
        held
            Bytes an own row that the operation keeps throughout.
        everywhere
            Bytes a row of the whole set that it keeps on each process, its result included.
        beside
            Bytes that it keeps beside all that.
        wanted
            Bytes more that would make it faster.
        often
            Cut more parts than needed, so that something is done with one of them in a short time.
        starts
            Where parts shall begin: as here in :attr:`starts` before, maybe in other processes.
            They are cut otherwise where that cannot be, for lack of memory say.

        Returns
        -------
        int
            How many of these there are: parts that are smaller for them, but not small.

        Raises
        ------
        ValueError
            The budget is too small; the message says what is needed.
        """
        longest = max((b - a for a, b in itertools.pairwise([*starts, self.n])), default=0)
        self._bound([*starts, self.n] if starts else [])
        taken = everywhere * self.n + beside + self.store.beside + _FIXED
        left = self.settings.memory - taken - held * len(self.own)
        spare = max(0, min(wanted, self._spare(left)))
        self.step, self.stays = self._rows_a_part(left - spare)
        if starts and (longest > self.step or not set(self.bounds) <= {*starts, self.n}):
            return self.plan(
                held=held, everywhere=everywhere, beside=beside, wanted=wanted, often=often
            )
        if starts:
            self.step = longest
        elif self.group.size > 1 or often:
            tiles = self.group.size * _TILES_A_RANK
            few = -(-self.n // tiles) if self.group.size > 1 else self.n
            if often:
                few = min(few, max(_OFTEN_LEAST, min(-(-self.n // _OFTEN), _OFTEN_MOST)))
            self.step = min(self.step, -(-few // BLOCK) * BLOCK)
        self.starts = list(starts) or [
            start
            for first, end in itertools.pairwise(self.bounds)
            for start in range(first, end, self.step)
        ]
        owners = self.owners(np.array(self.starts)).tolist()
        spans = itertools.pairwise([*self.starts, self.n])
        self.tiles = [
            Tile(number, *span, owner)
            for number, (span, owner) in enumerate(zip(spans, owners, strict=True))
        ]
        self.own_tiles = [tile for tile in self.tiles if tile.owner == self.group.rank]
        self._buffer, self._loaded = None, set[int]()
        if self.stays and not self._costless:
            dtype = np.dtype(np.float32) if self._widen else self.store.dtype
            self._buffer = np.empty((len(self.own), self.d), dtype)
        return spare

    # Setting up.

    def _open(self, x: Any) -> None:
        self.store = store_of(self.name, x)
        self.kind = f"{self.store.dtype}" + " (bf16)" * self.store.bfloat16

    def _share_out(self) -> list[int]:
        size, shape = self.group.size, self.store.shape
        kind = f"{shape[1]} columns of {self.kind}"
        about = np.frombuffer(kind.encode(), np.uint8)
        lengths = [int(part[0]) for part in self.group.allgather(np.array([shape[0]], np.int64))]
        kinds = [bytes(part).decode() for part in self.group.allgather(about)]
        if len(set(kinds)) > 1 or (not self._local and len(set(lengths)) > 1):
            got = ", ".join(f"{n} rows of {k}" for n, k in zip(lengths, kinds, strict=True))
            raise ValueError(f"{self.name} must be the same set on all ranks, got {got}")
        if sum(lengths) == 0 or shape[1] == 0:
            raise ValueError(f"{self.name} must have at least one row and one column, got {shape}")
        if self._local:
            return [0, *np.cumsum(lengths).tolist()]
        return block_bounds(shape[0], size)

    def _bound(self, ends: list[int]) -> None:
        """Set the owners' bounds; where it can be so, each at one of these, which end in n."""
        self.bounds = self._shares
        if ends and not self._local:
            self.bounds = [0, *(ends[np.searchsorted(ends, share)] for share in self._shares[1:])]
        self.own = range(self.bounds[self.group.rank], self.bounds[self.group.rank + 1])

    def _spare(self, left: int) -> int:
        """Return what is left beside rows that stay, or else beside parts of some blocks."""
        row_bytes = 4 * self.d if self._widen else self.store.row_bytes
        stay = 0 if self._costless else 2 * row_bytes * len(self.own)
        parts = _LEAST_BLOCKS * BLOCK * (4 * row_bytes + 2 * (self.d + WORK))
        return left - parts - (stay if stay <= left - parts else 0)

    def _rows_a_part(self, left: int) -> tuple[int, bool]:
        """Return it, alike on all ranks, and whether all own rows may stay."""
        store = self.store
        row_bytes = 4 * self.d if self._widen else store.row_bytes
        row = 0 if self._costless else row_bytes
        work = self.d + WORK
        # Two parts at work, and one that is being read; what comes from others takes memory too.
        other = row_bytes if self.group.size > 1 else row
        streamed = 2 * row + other + 2 * work
        stays = 2 * row * len(self.own) <= left or row == 0
        if stays:
            left, streamed = left - row * len(self.own), other + 2 * work
        most = int(min(part[0] for part in self.group.allgather(np.array([left // streamed]))))
        rows = most // BLOCK * BLOCK
        if rows < BLOCK:
            memory, sets = self.settings.memory, self.settings.sets
            raise ValueError(
                f"memory must be at least {sets * (memory - left + BLOCK * streamed)} bytes for "
                f"{self.n} x {self.d} rows of {self.name}, got {sets * memory}"
            )
        return rows, stays

    @property
    def _costless(self) -> bool:
        """Whether a part's rows are views."""
        return self.store.in_memory and not (self._widen and self.store.dtype != np.float32)

    def survey(self, also: Callable[[Tile, NDArray[Any], Float], None] | None = None) -> Float:
        """Read all own rows once: check them, and return their <x, x>.

        A function given sees each part as well, and these of it.

        Raises
        ------
        ValueError
            A row holds a NaN or an infinity, or a shard is damaged: on all processes.
        """
        squares = np.empty(len(self.own))
        if self.fingerprint is not None:
            self.fingerprint.clear()

        def look() -> None:
            threads = self.settings.threads
            for tile, rows in self.stream(self.own_tiles):
                check_finite(self.name, rows, threads, tile.start)
                if self.fingerprint is not None:
                    self.fingerprint.add(rows, tile.start)
                squares[self.mine(tile)] = _core.squared_norms(rows, threads)
                if also is not None:
                    also(tile, rows, squares[self.mine(tile)])

        together(self.group, look)
        return squares

    @property
    def most_tiles(self) -> int:
        """How many parts the process with the most of them has."""
        owners = [tile.owner for tile in self.tiles]
        return max(map(owners.count, set(owners)))

    # Own rows.

    def mine(self, tile: Tile) -> slice:
        """Return where the rows of an own part stand in arrays of one entry an own row."""
        return slice(tile.start - self.own.start, tile.stop - self.own.start)

    def rows(self, tile: Tile) -> NDArray[Any]:
        """Return the rows of an own part."""
        if self._buffer is None:
            return self.read(tile.start, tile.stop)
        here = self.mine(tile)
        if tile.number not in self._loaded:
            self._buffer[here] = self.read(tile.start, tile.stop)
            self._loaded.add(tile.number)
        return self._buffer[here]

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return own rows [start, stop)."""
        shift = self.own.start if self._local else 0
        return self._plain(self.store.rows(start - shift, stop - shift))

    def stream(self, tiles: Sequence[Tile]) -> Iterator[tuple[Tile, NDArray[Any]]]:
        """Go through own parts, each of which is read while the one before is worked on.

        Progress counts their rows.
        """
        level = open_pass(sum(tile.stop - tile.start for tile in tiles))
        whole = False
        try:
            for tile, rows in self._stream(tiles):
                level.step(tile.stop - tile.start)
                yield tile, rows
                del rows  # before the next one comes
            whole = True
        finally:
            level.close(whole=whole)

    def _stream(self, tiles: Sequence[Tile]) -> Iterator[tuple[Tile, NDArray[Any]]]:
        if self.stays:
            for tile in tiles:
                yield tile, self.rows(tile)
            return
        with Pool(1, "read-ahead") as reader:
            coming = [reader.submit(self.rows, tile) for tile in tiles[:1]]
            for place, tile in enumerate(tiles):
                rows = coming.pop().result()
                if place + 1 < len(tiles):
                    coming.append(reader.submit(self.rows, tiles[place + 1]))
                yield tile, rows
                del rows  # before the next one comes

    def take(self, samples: Int) -> NDArray[Any]:
        """Return some own rows; after :meth:`survey`, where they stay."""
        if self._buffer is not None:
            return self._buffer[samples - self.own.start]
        return self._plain(self.store.take(samples - (self.own.start if self._local else 0)))

    def _plain(self, rows: NDArray[Any]) -> NDArray[Any]:
        if not self._widen or rows.dtype == np.float32:
            return rows
        if self.store.bfloat16:
            return (rows.astype(np.uint32) << 16).view(np.float32)
        return rows.astype(np.float32)

    # Rows of all; each process has to call these.

    def broadcast(self, tile: Tile) -> NDArray[Any]:
        """Return the rows of any part."""
        mine = tile.owner == self.group.rank
        return self.group.broadcast(self.rows(tile) if mine else None, tile.owner)

    def owners(self, samples: Int) -> Int:
        """Return the owner of each sample."""
        return np.searchsorted(np.array(self.bounds), samples, "right") - 1

    def fetch(self, samples: Int) -> NDArray[Any]:
        """Return the rows of some samples, the same ones on all processes."""
        owners = self.owners(samples)
        return self.join(owners, self.take(samples[owners == self.group.rank]))

    def join(self, owners: Int, own: NDArray[Any]) -> NDArray[Any]:
        """Put together what each owner has, in the order of `owners`."""
        if self.group.size == 1:
            return own
        if len(owners) and (owners == owners[0]).all():  # the others need not send
            root = int(owners[0])
            return self.group.broadcast(own if root == self.group.rank else None, root)
        out = np.empty((len(owners), *own.shape[1:]), own.dtype)
        for rank, part in enumerate(self.group.allgather(own)):
            out[owners == rank] = part
        return out

    def all_of(self, own: NDArray[Any]) -> NDArray[Any]:
        """Return one entry a row of the set, of one an own row."""
        return own if self.group.size == 1 else np.concatenate(self.group.allgather(own))

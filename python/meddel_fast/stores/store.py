"""Embeddings in files, larger than memory if need be: opened, checked, and read a range at a time.

A :class:`Store` stands for the (n, d) array that its files hold together, one after the other; the
operations take one wherever they take an array. Nothing is mapped: rows are read into memory that
their reader owns, so that neither ``ulimit -v`` nor a process's resident size sees the files. Rows
come in the type that they have on disk; what that costs is :attr:`Store.row_bytes` a row.
"""

from __future__ import annotations

import copy
import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.arrays import RowReader, kind_of, opened
from meddel_fast.common.places import (
    StrPath,
    as_place,
    is_folder,
    is_remote,
    join,
    shown,
    suffix_of,
)
from meddel_fast.common.pool import Pool
from meddel_fast.stores.library_folders import open_library_folder
from meddel_fast.stores.shards import SUFFIXES, ArrayShard, Shard, Span, open_shard, shards_of

_OPENED_AT_ONCE = 8  # remote shards whose headers are asked for


class Store:
    """Rows in one file or many, as one (n, d) array. See :func:`open_store`.

    Attributes
    ----------
    shape : tuple of int
        (n, d).
    dtype : numpy.dtype
        Of what :meth:`rows` returns: float32, float16, int8, or uint16 for the bits of bfloat16;
        float64 on disk is rounded to float32.
    bfloat16 : bool
        Whether it is bfloat16.
    memory : int or str, optional
        The budget for operations on it that are given none.
    rows_read : int
        Rows read so far, each time anew: divided by n, the passes over the files.
    """

    def __init__(self, shards: Sequence[Shard], hashes: Sequence[str] | None = None) -> None:
        self.memory: int | str | None = None
        hashes = [""] * len(shards) if hashes is None else hashes
        pairs = [(s, h) for s, h in zip(shards, hashes, strict=True) if s.rows]
        shards = [shard for shard, _ in pairs] or shards[:1]  # an empty one adds nothing
        first = shards[0]
        for shard in shards:
            if (shard.width, shard.dtype, shard.bfloat16) != (
                first.width, first.dtype, first.bfloat16,
            ):  # fmt: skip
                raise ValueError(
                    f"{shown(shard.name)} must have {first.width} columns of {first.dtype} like "
                    f"{shown(first.name)}, got {shard.width} of {shard.dtype}"
                )
        self.dtype = first.read_type()
        self.bfloat16 = first.bfloat16
        self._shards = list(shards)
        self._starts = [0, *accumulate(shard.rows for shard in shards)]
        self.shape = (self._starts[-1], first.width)
        self._unchecked = {place: h for place, (_, h) in enumerate(pairs) if h}
        self._reading = 0  # the shard that was read last
        self.rows_read = 0

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        kind = "bfloat16" if self.bfloat16 else self.dtype.name
        n, d = self.shape
        return f"<Store of {n} x {d} {kind} in {len(self._shards)} shards from {self.name}>"

    def __array__(self, *args: Any, **kwargs: Any) -> NDArray[Any]:
        """Refuse to become an array unasked, which might take more memory than there is."""
        raise TypeError("a Store is read in parts: store.rows(0, len(store)) gives all as an array")

    def __getitem__(self, which: NDArray[np.int64]) -> Store:
        """Return some rows, by an array of indices, as a store that reads them from this one.

        Raises
        ------
        TypeError
            `which` is no array of indices; :meth:`rows` reads a range.
        """
        if np.ndim(which) != 1:
            raise TypeError(f"indices must be of shape (k,), got {type(which).__name__} {which!r}")
        some = Store([_SomeRows(self, np.asarray(which))])
        some.memory = self.memory
        return some

    def followed_by(self, rows: NDArray[Any]) -> Store:
        """Return these rows and after them some in memory, as :meth:`rows` would give them."""
        shard = ArrayShard(self.name, rows)
        shard.bfloat16 = self.bfloat16
        both = Store([_SomeRows(self, np.arange(len(self))), shard])
        both.memory = self.memory
        return both

    def within(self, memory: int | str | None) -> Store:
        """Return the same rows with another budget; None leaves it as it is."""
        other = copy.copy(self)
        other.memory = self.memory if memory is None else memory
        return other

    def check_rows(self) -> Store:
        """Return the store, if there is a number in it.

        Raises
        ------
        ValueError
            It has no rows, or no columns.
        """
        if 0 in self.shape:
            raise ValueError(
                f"{self.name} must have at least one row and one column, got {self.shape}"
            )
        return self

    @property
    def name(self) -> str:
        """What errors call it: its first file."""
        return shown(self._shards[0].name)

    @property
    def beside(self) -> int:
        """Bytes that reading takes beside the rows that come."""
        return max(shard.beside for shard in self._shards)

    def forget(self) -> None:
        """Let go of what is held for the next read."""
        self._shards[self._reading].forget()

    @property
    def in_memory(self) -> bool:
        """Whether reading costs no memory beyond what is there already."""
        return all(isinstance(s, ArrayShard) and s.dtype == self.dtype for s in self._shards)

    @property
    def row_bytes(self) -> int:
        """Bytes of a row as it is read."""
        return self.shape[1] * self.dtype.itemsize

    def rows(self, start: int, stop: int) -> NDArray[Any]:
        """Return rows [start, stop), 0 <= start < stop <= n, as an array of adjacent elements.

        Raises
        ------
        ValueError
            A shard is damaged: it is not what the index's hash says (looked at when it is first
            read, before anything of it is returned), or its file has been written to, replaced or
            removed since the store was opened.
        OSError
            A shard cannot be read.
        """
        pieces = []
        at = start
        while at < stop:
            number = bisect_right(self._starts, at) - 1
            end = min(stop, self._starts[number + 1])
            pieces += self._read(number, [(at, end)])
            at = end
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def take(self, indices: NDArray[np.int64]) -> NDArray[Any]:
        """Return the rows of these indices, in any order, repeated where an index is.

        Rows that lie close together are read at once. Raises what :meth:`rows` does.
        """
        wanted, back = np.unique(indices, return_inverse=True)
        out = np.empty((len(wanted), self.shape[1]), self.dtype)
        for number in np.unique(np.searchsorted(self._starts, wanted, "right") - 1).tolist():
            first, last = np.searchsorted(wanted, self._starts[number : number + 2]).tolist()
            for runs in self._runs(wanted, first, last, self._shards[number]):
                spans = [(int(wanted[a]), int(wanted[b - 1]) + 1) for a, b in runs]
                for (a, b), span, rows in zip(runs, spans, self._read(number, spans), strict=True):
                    out[a:b] = rows[wanted[a:b] - span[0]]
        unmoved = len(back) == len(wanted) and bool((back[1:] > back[:-1]).all())
        return out if unmoved else out[back]

    def _runs(
        self, wanted: NDArray[np.int64], first: int, last: int, shard: Shard
    ) -> Iterator[list[tuple[int, int]]]:
        """Yield places [a, b) in `wanted` whose rows lie close together, a few MB at a time."""
        near = max(1, shard.near // self.row_bytes - 1)
        most = max(1, shard.at_once // self.row_bytes)
        here = wanted[first:last]
        far = (np.diff(here) > near) | (np.diff((here - here[0]) // most) > 0)
        cuts = [0, *(np.flatnonzero(far) + 1).tolist(), len(here)]
        runs: list[tuple[int, int]] = []
        rows = 0
        for a, b in pairwise(cuts):
            rows += int(here[b - 1] - here[a]) + 1
            if runs and rows > most:
                yield runs
                runs, rows = [], int(here[b - 1] - here[a]) + 1
            runs.append((first + a, first + b))
        yield runs

    def _read(self, number: int, spans: Sequence[Span]) -> list[NDArray[Any]]:
        """Return rows of one shard, by their indices in all."""
        if number != self._reading:
            self.forget()
            self._reading = number
        self._check(number)
        self.rows_read += sum(stop - start for start, stop in spans)
        first = self._starts[number]
        shard = self._shards[number]
        try:
            found = shard.read([(a - first, b - first) for a, b in spans])
        finally:  # what it raised would be but a consequence
            shard.check_unchanged()
        return [self._plain(rows) for rows in found]

    def _check(self, number: int) -> None:
        wanted = self._unchecked.get(number)
        if wanted is None:
            return
        from meddel_fast.common.hashes import sha256_file

        name = self._shards[number].name
        if sha256_file(name) != wanted:
            raise ValueError(f"shard {shown(name)} is damaged: its hash is not the index's")
        self._unchecked.pop(number, None)

    def _plain(self, rows: NDArray[Any]) -> NDArray[Any]:
        if rows.dtype != self.dtype:
            with np.errstate(over="ignore"):  # beyond fp32 becomes infinite, which is refused
                rows = rows.astype(self.dtype)
        return rows if rows.flags.c_contiguous and rows.flags.aligned else np.array(rows, order="C")


class _SomeRows(Shard):
    """Some rows of a store, in any order, as a shard of another."""

    def __init__(self, store: Store, which: NDArray[np.int64]) -> None:
        self._store, self._which = store, which
        self.name, self.rows, self.width = store.name, len(which), store.shape[1]
        self.dtype, self.bfloat16, self.beside = store.dtype, store.bfloat16, store.beside

    def read(self, spans: Sequence[Span]) -> list[NDArray[Any]]:
        """Return copies."""
        return [self._store.take(self._which[start:stop]) for start, stop in spans]

    def forget(self) -> None:
        """Let the store do so."""
        self._store.forget()


@dataclass(frozen=True)
class LocalRows:
    """The rows that this process has, of a set of which each process of a group has some.

    The rows of rank r follow those of rank r - 1; a rank may have none, given as an array of shape
    (0, d). For k-means each rank's but the last one's number of rows must be a multiple of 1,024.
    """

    rows: Any


def open_store(
    source: StrPath | Sequence[StrPath] | Any,
    *,
    tensor: str | None = None,
    column: str | None = None,
    memory: int | str | None = None,
) -> Store:
    """Open embeddings in files, larger than memory if need be.

    Headers and sizes are looked at now; of a folder that :func:`meddel_fast.training.embed.embed`
    wrote, each shard's hash when it is first read.

    Parameters
    ----------
    source
        A ``.npy``, ``.npz``, ``.safetensors`` or ``.parquet`` file, several of them (rows follow
        each other in the order given), or a folder with the ``index.json`` of
        :func:`meddel_fast.training.embed.embed`; by path, or by URL (``s3://``, ``gs://``,
        ``az://``, ``https://``, ``hf://``), see docs/howto/object-stores.md. Or a folder that Zarr
        or Lance writes. Or an object of another library (:mod:`meddel_fast.arrays.kinds`): a table,
        a column, a data set, an index.
    tensor
        Which tensor of the safetensors files, or array of the ``.npz`` files or of a Zarr or HDF5
        group; not needed where there is but one in a file.
    column
        Which column of the Parquet files, the table or the data set: lists of one length of
        float16, float32, float64 or int8, of whatever kind of list. Not needed where there is but
        one such column.
    memory
        The budget for operations on the store, selectors' included, that are given none.

    Returns
    -------
    Store
        Takes an array's place in every operation.

    Raises
    ------
    FileNotFoundError
        A file or shard is missing; the message names it.
    TypeError
        Elements of no supported type.
    ValueError
        A file is truncated, of another form, or does not fit the others or the index; the message
        names it.
    OSError
        A URL cannot be read.
    """
    if isinstance(source, (str, os.PathLike)):
        source = [source]
    if kind_of(source) is not None:
        store = Store(shards_of("source", opened("source", source, column or tensor)))
    elif len(source) == 0:
        raise ValueError("source must be at least one file, got none")
    else:
        store = _open_places([as_place(path) for path in source], tensor, column)
    store.memory = memory
    return store.check_rows()


def as_store(name: str, x: Any) -> Store:
    """Return a store as it is, and an array or a CPU tensor as a store that reads from it."""
    return x if isinstance(x, Store) else Store(shards_of(name, opened(name, x))).check_rows()


def taken(name: str, x: Any, *, in_parts: bool) -> Any:
    """Return another library's object as an array, a tensor or a store; others as they are.

    It is a store where its rows are in files or in several chunks; with `in_parts`, as a budget
    asks for, also where an array would have to be made of it.

    Raises
    ------
    TypeError, ValueError
        As :func:`meddel_fast.arrays.opened`.
    """
    rows = opened(name, x.rows if isinstance(x, LocalRows) else x)
    if isinstance(x, LocalRows):
        return LocalRows(Store(shards_of(name, rows)) if isinstance(rows, RowReader) else rows)
    if not isinstance(rows, RowReader):
        return rows
    if rows.at_once and not in_parts:
        return rows.whole()
    return Store(shards_of(name, rows)).check_rows()


def _open_places(places: Sequence[str], tensor: str | None, column: str | None) -> Store:
    if len(places) != 1 or not _is_folder(places[0]):
        return Store(_open_all(places, tensor, column))
    found = None if is_remote(places[0]) else open_library_folder(Path(places[0]))
    if found is None:
        return _open_folder(places[0])
    return Store(shards_of(places[0], opened(places[0], found, column or tensor)))


def _is_folder(place: str) -> bool:
    if is_remote(place):
        return suffix_of(place) not in SUFFIXES
    return is_folder(place)


def _open_all(
    places: Sequence[str], tensor: str | None = None, column: str | None = None
) -> list[Shard]:
    """Open files, remote ones a few at a time."""
    if not any(map(is_remote, places)):
        return [open_shard(place, tensor, column) for place in places]
    with Pool(_OPENED_AT_ONCE, "open") as pool:
        return list(pool.map(lambda place: open_shard(place, tensor, column), places))


def _open_folder(folder: str) -> Store:
    from meddel_fast.stores.embedding_files import read_index

    index = read_index(folder)
    if not index["complete"]:
        raise ValueError(f"{shown(folder)}: embedding was interrupted, run it again to complete it")
    width, dtype, entries = index["shape"][1], np.dtype(index["dtype"]), index["shards"]
    shards = _open_all([join(folder, entry["name"]) for entry in entries])
    for shard, entry in zip(shards, entries, strict=True):
        got = (shard.rows, shard.width, shard.dtype)
        if got != (entry["rows"], width, dtype):
            raise ValueError(
                f"shard {shown(shard.name)} is not the index's: "
                f"wanted {entry['rows']} x {width} {dtype}, got {got[0]} x {got[1]} {got[2]}"
            )
    return Store(shards, [entry["sha256"] for entry in entries])

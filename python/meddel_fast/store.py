"""Embeddings in files, larger than memory if need be: opened, checked, and read a range at a time.

A :class:`Store` stands for the (n, d) array that its files hold together, one after the other; the
operations take one wherever they take an array. Nothing is mapped: rows are read into memory that
their reader owns, so that neither ``ulimit -v`` nor a process's resident size sees the files. Rows
come in the type that they have on disk; what that costs is :attr:`Store.row_bytes` a row.
"""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from meddel_fast.arrays import SUPPORTED, is_torch, to_numpy
from meddel_fast.files import StrPath, read_json, sha256_file

_INDEX = "index.json"
_SUFFIXES = (".npy", ".safetensors", ".parquet")
_TENSOR_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I8": "|i1"}
_LONGEST_HEADER = 100_000_000  # bytes, the limit of the safetensors format
_PAGE = 4096  # bytes: what lies between two wanted rows of one page is read along

Span = tuple[int, int]


class Shard(ABC):
    """The rows of one file (or array), in one of the types that the kernels take or float64."""

    name: str
    rows: int
    width: int
    dtype: np.dtype[Any]
    bfloat16: bool = False

    @abstractmethod
    def read(self, spans: Sequence[Span]) -> list[NDArray[Any]]:
        """Return the rows [start, stop) of each span as they are stored."""


class _Raw(Shard):
    """Rows that lie in a file element after element."""

    def __init__(self, path: Path, offset: int, shape: Sequence[int], dtype: Any) -> None:
        if len(shape) != 2:
            raise ValueError(f"{path} must hold a 2-d float array, got shape {tuple(shape)}")
        self.name, self._path, self._offset = str(path), path, offset
        self.rows, self.width = int(shape[0]), int(shape[1])
        self.dtype = np.dtype(dtype)
        wanted = offset + self.rows * self.width * self.dtype.itemsize
        size = path.stat().st_size
        if size < wanted:
            raise ValueError(f"{path} is truncated: its header wants {wanted} bytes, it has {size}")

    def read(self, spans: Sequence[Span]) -> list[NDArray[Any]]:
        with self._path.open("rb", buffering=0) as file:
            return [self._read(file.fileno(), start, stop) for start, stop in spans]

    def _read(self, file: int, start: int, stop: int) -> NDArray[Any]:
        out = np.empty((stop - start, self.width), self.dtype)
        at = self._offset + start * self.width * self.dtype.itemsize
        left: memoryview = out.reshape(-1).view(np.uint8).data
        while left:
            count = os.preadv(file, [left], at)
            if count == 0:
                raise ValueError(f"{self._path} has become shorter since it was opened")
            at, left = at + count, left[count:]
        return out


class _Npy(_Raw):
    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            shape, by_columns, dtype = _npy_header(path, file)
            offset = file.tell()
        if by_columns and len(shape) == 2 and min(shape) > 1:
            raise ValueError(
                f"{path} must hold its array row after row (C order), got Fortran order"
            )
        super().__init__(path, offset, shape, dtype)


class _Safetensors(_Raw):
    def __init__(self, path: Path, tensor: str | None) -> None:
        header, offset = _safetensors_header(path)
        found = [name for name in header if name != "__metadata__"]
        if tensor is None and len(found) != 1:
            raise ValueError(f"tensor must name one of those in {path}: {', '.join(sorted(found))}")
        name = found[0] if tensor is None else tensor
        if name not in found:
            raise ValueError(f"{path} must hold a tensor {name!r}, got {', '.join(sorted(found))}")
        about = header[name]
        if about["dtype"] not in _TENSOR_TYPES:
            raise TypeError(f"{path} must be {SUPPORTED}, got {about['dtype']}")
        super().__init__(
            path, offset + about["data_offsets"][0], about["shape"], _TENSOR_TYPES[about["dtype"]]
        )
        self.bfloat16 = about["dtype"] == "BF16"


class _Parquet(Shard):
    """A column of lists, all as long; read by row groups, of which the last one is kept."""

    def __init__(self, path: Path, column: str | None) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            self._file = pq.ParquetFile(path, memory_map=False)
        except pa.ArrowInvalid as error:
            raise ValueError(f"{path} is not a whole Parquet file: {error}") from error
        schema = self._file.schema_arrow
        lists = [f.name for f in schema if pa.types.is_fixed_size_list(f.type)]
        if column is None and len(lists) != 1:
            raise ValueError(
                f"column must name one of the fixed-size lists in {path}: {', '.join(lists)}"
            )
        self._column = lists[0] if column is None else column
        if self._column not in lists:
            raise ValueError(f"{path} must hold fixed-size lists {self._column!r}, got {lists}")
        kind = schema.field(self._column).type
        self.name, self.rows, self.width = str(path), self._file.metadata.num_rows, kind.list_size
        self.dtype = np.dtype(kind.value_type.to_pandas_dtype())
        groups = [
            self._file.metadata.row_group(g).num_rows for g in range(self._file.num_row_groups)
        ]
        self._starts = [0, *accumulate(groups)]
        self._kept: tuple[int, NDArray[Any]] = (-1, np.empty((0, self.width), self.dtype))

    def read(self, spans: Sequence[Span]) -> list[NDArray[Any]]:
        return [self._read(start, stop) for start, stop in spans]

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        out = np.empty((stop - start, self.width), self.dtype)
        at = start
        while at < stop:
            group = bisect_right(self._starts, at) - 1
            first = self._starts[group]
            end = min(stop, self._starts[group + 1])
            out[at - start : end - start] = self._group(group)[at - first : end - first]
            at = end
        return out

    def _group(self, group: int) -> NDArray[Any]:
        if self._kept[0] != group:
            self._kept = (-1, self._kept[1][:0])  # let go of the old one first
            chunks = self._file.read_row_group(group, columns=[self._column]).column(0)
            values = chunks.combine_chunks()
            if values.null_count or values.flatten().null_count:
                raise ValueError(f"{self.name} must hold no null, row group {group} does")
            flat = values.flatten().to_numpy(zero_copy_only=False)
            self._kept = (group, flat.reshape(-1, self.width))
        return self._kept[1]


class _Array(Shard):
    """An array in memory, so that operations need but one way to read."""

    def __init__(self, name: str, x: Any) -> None:
        self.bfloat16 = is_torch(x) and str(x.dtype) == "torch.bfloat16"
        array = to_numpy(name, x)
        if array.ndim != 2:
            raise ValueError(f"{name} must be a 2-d float array, got shape {array.shape}")
        self.name, (self.rows, self.width), self.dtype = name, array.shape, array.dtype
        self._array = array

    def read(self, spans: Sequence[Span]) -> list[NDArray[Any]]:
        return [self._array[start:stop] for start, stop in spans]


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
    rows_read : int
        Rows read so far, each time anew: divided by n, the passes over the files.
    """

    def __init__(self, shards: Sequence[Shard], hashes: Sequence[str] | None = None) -> None:
        first = shards[0]
        for shard in shards:
            if (shard.width, shard.dtype, shard.bfloat16) != (
                first.width, first.dtype, first.bfloat16,
            ):  # fmt: skip
                raise ValueError(
                    f"{shard.name} must have {first.width} columns of {first.dtype} like "
                    f"{first.name}, got {shard.width} of {shard.dtype}"
                )
        self.dtype = _read_type(first)
        self.bfloat16 = first.bfloat16
        self._shards = list(shards)
        self._starts = [0, *accumulate(shard.rows for shard in shards)]
        self.shape = (self._starts[-1], first.width)
        if 0 in self.shape:
            raise ValueError(
                f"{first.name} must have at least one row and one column, got {self.shape}"
            )
        self._unchecked = dict(enumerate(hashes or []))
        self.rows_read = 0

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        kind = "bfloat16" if self.bfloat16 else self.dtype.name
        n, d = self.shape
        return (
            f"<Store of {n} x {d} {kind} in {len(self._shards)} shards from {self._shards[0].name}>"
        )

    @property
    def in_memory(self) -> bool:
        """Whether reading costs no memory beyond what is there already."""
        return all(isinstance(s, _Array) and s.dtype == self.dtype for s in self._shards)

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
            read, before anything of it is returned), or shorter than it was.
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
        gap = max(1, _PAGE // self.row_bytes)
        for number in np.unique(np.searchsorted(self._starts, wanted, "right") - 1).tolist():
            first, last = np.searchsorted(wanted, self._starts[number : number + 2])
            here = wanted[first:last]
            cuts = [0, *(np.flatnonzero(np.diff(here) > gap) + 1).tolist(), len(here)]
            runs = list(pairwise(cuts))
            spans = [(int(here[a]), int(here[b - 1]) + 1) for a, b in runs]
            for (a, b), span, rows in zip(runs, spans, self._read(number, spans), strict=True):
                out[first + a : first + b] = rows[here[a:b] - span[0]]
        unmoved = len(back) == len(wanted) and bool((back[1:] > back[:-1]).all())
        return out if unmoved else out[back]

    def _read(self, number: int, spans: Sequence[Span]) -> list[NDArray[Any]]:
        """Return rows of one shard, by their indices in all."""
        self._check(number)
        self.rows_read += sum(stop - start for start, stop in spans)
        first = self._starts[number]
        found = self._shards[number].read([(a - first, b - first) for a, b in spans])
        return [self._plain(rows) for rows in found]

    def _check(self, number: int) -> None:
        wanted = self._unchecked.get(number)
        if wanted is None:
            return
        name = self._shards[number].name
        if sha256_file(name) != wanted:
            raise ValueError(f"shard {name} is damaged: its hash is not the index's")
        del self._unchecked[number]

    def _plain(self, rows: NDArray[Any]) -> NDArray[Any]:
        if rows.dtype != self.dtype:
            with np.errstate(over="ignore"):  # beyond fp32 becomes infinite, which is refused
                rows = rows.astype(self.dtype)
        return rows if rows.flags.c_contiguous and rows.flags.aligned else np.array(rows, order="C")


@dataclass(frozen=True)
class LocalRows:
    """The rows that this process has, of a set of which each process of a group has some.

    The rows of rank r follow those of rank r - 1. For k-means each rank's but the last one's
    number of rows must be a multiple of 1,024.
    """

    rows: Any


def open_store(
    source: StrPath | Sequence[StrPath], *, tensor: str | None = None, column: str | None = None
) -> Store:
    """Open embeddings in files, larger than memory if need be.

    Headers and sizes are looked at now; of a folder that :func:`meddel_fast.embed.embed` wrote,
    each shard's hash when it is first read.

    Parameters
    ----------
    source
        A ``.npy``, ``.safetensors`` or ``.parquet`` file, several of them (rows follow each other
        in the order given), or a folder with the ``index.json`` of :func:`meddel_fast.embed.embed`.
    tensor
        Which tensor of the safetensors files; not needed where there is but one.
    column
        Which column of the Parquet files, of fixed-size lists; not needed where there is but one.

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
    """
    if isinstance(source, (str, os.PathLike)):
        if Path(source).is_dir():
            return _open_folder(Path(source))
        source = [source]
    if len(source) == 0:
        raise ValueError("source must be at least one file, got none")
    return Store([_open_shard(Path(path), tensor, column) for path in source])


def as_store(name: str, x: Any) -> Store:
    """Return a store as it is, and an array or a CPU tensor as a store that reads from it."""
    return x if isinstance(x, Store) else Store([_Array(name, x)])


def _open_shard(path: Path, tensor: str | None = None, column: str | None = None) -> Shard:
    if not path.is_file():
        raise FileNotFoundError(f"shard {path} is missing")
    if path.suffix not in _SUFFIXES:
        raise ValueError(f"{path} must end in one of {', '.join(_SUFFIXES)}")
    if path.suffix == ".npy":
        return _Npy(path)
    return _Safetensors(path, tensor) if path.suffix == ".safetensors" else _Parquet(path, column)


def _open_folder(folder: Path) -> Store:
    if not (folder / _INDEX).is_file():
        raise FileNotFoundError(f"{folder} holds no embeddings: it has no {_INDEX}")
    index = read_json(folder / _INDEX)
    try:
        complete, shape, listed = index["complete"], tuple(index["shape"]), index["shards"]
        entries = [(str(s["name"]), int(s["rows"]), str(s["sha256"])) for s in listed]
        dtype = np.dtype(index["dtype"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder / _INDEX} is no index of embeddings: {error!r}") from error
    if not complete or not entries:
        raise ValueError(f"{folder}: embedding was interrupted, run it again to complete it")
    shards = [_open_shard(folder / name) for name, _, _ in entries]
    for shard, (name, rows, _) in zip(shards, entries, strict=True):
        got = (shard.rows, shard.width, shard.dtype)
        if got != (rows, shape[1], dtype):
            raise ValueError(
                f"shard {folder / name} is not the index's: wanted {rows} x {shape[1]} {dtype}, "
                f"got {got[0]} x {got[1]} {got[2]}"
            )
    if sum(rows for _, rows, _ in entries) != shape[0]:
        raise ValueError(f"{folder / _INDEX} must list shards of {shape[0]} rows in all")
    return Store(shards, [sha256 for _, _, sha256 in entries])


def _read_type(shard: Shard) -> np.dtype[Any]:
    kind, size = shard.dtype.kind, shard.dtype.itemsize
    if shard.bfloat16:
        return np.dtype(np.uint16)
    if (kind, size) not in {("f", 8), ("f", 4), ("f", 2), ("i", 1)}:
        raise TypeError(f"{shard.name} must be {SUPPORTED}, got {shard.dtype}")
    return np.dtype(np.float32) if size == 8 else shard.dtype.newbyteorder("=")


def _npy_header(path: Path, file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, by_columns, dtype = read(file)
    except ValueError as error:
        raise ValueError(f"{path} is not a .npy file: {error}") from error
    return shape, by_columns, dtype


def _safetensors_header(path: Path) -> tuple[dict[str, Any], int]:
    """Return the table of tensors, and where the data begin."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > _LONGEST_HEADER:
            raise ValueError(
                f"{path} is not a safetensors file: its header would be {length} bytes"
            )
        text = file.read(length)
    try:
        header = json.loads(text)
        for name, about in header.items():
            if name != "__metadata__":
                about["dtype"], about["shape"][0], about["data_offsets"][1]
    except (ValueError, AttributeError, KeyError, IndexError, TypeError) as error:
        raise ValueError(f"{path} is not a safetensors file: {error!r}") from error
    return header, 8 + length

"""Files of rows, one at a time: .npy, .npz, safetensors, Parquet; headers checked, none mapped.

On this machine or by URL. Of a remote file each read asks for the very object that was opened;
where a store cannot be asked so, its tag is looked at after the read.
"""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from meddel_fast.arrays import SUPPORTED, RowReader, is_torch, rows_of, to_bits
from meddel_fast.common.files import why_no_file
from meddel_fast.common.npy import npy_header
from meddel_fast.common.places import (
    AHEAD,
    State,
    checks_reads,
    is_file,
    is_remote,
    open_reader,
    read_ranges,
    shown,
    state,
    suffix_of,
)
from meddel_fast.stores import npz_rows, parquet_rows

SUFFIXES = (".npy", ".npz", ".safetensors", ".parquet")
_TENSOR_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I8": "|i1"}
_LONGEST_HEADER = 100_000_000  # bytes, the limit of the safetensors format
_NEAR = 1 << 16  # as Shard.near, where a request costs as much as reading so far
_AT_ONCE = 8 << 20  # as Shard.at_once, so that there are several requests to make at a time

Span = tuple[int, int]


class Shard(ABC):
    """The rows of one file (or array), in one of the types that the kernels take or float64."""

    name: str
    rows: int
    width: int
    dtype: np.dtype[Any]
    bfloat16: bool = False
    beside: int = 0  # bytes that reading takes beside the rows that it returns
    near: int = 4096  # bytes: what lies between two wanted rows that fit into so much is read along
    at_once: int = 1 << 20  # bytes that are read before they are put in their places
    state: State | None = None  # of the file when it was opened

    def forget(self) -> None:
        """Let go of what is held for the next read."""
        return

    @abstractmethod
    def read(self, spans: Sequence[Span]) -> list[NDArray[Any]]:
        """Return the rows [start, stop) of each span as they are stored."""

    def check_unchanged(self) -> None:
        """Raise a ValueError when the file is no longer the one that was opened.

        Called after each reading: several passes over rows that change in between would give a
        result that is true of no set of rows.
        """
        if self.state is None:
            return
        try:
            unchanged = state(self.name) == self.state
        except OSError as error:
            if is_remote(self.name) and not isinstance(error, FileNotFoundError):
                raise
            why = error.strerror or "it was removed"
            raise ValueError(f"{shown(self.name)} is no longer there: {why}") from error
        if not unchanged:
            raise ValueError(
                f"{shown(self.name)} has changed since it was opened: the rows read before are "
                "others"
            )

    def read_type(self) -> np.dtype[Any]:
        """Return the type that the kernels take such rows in; TypeError if there is none."""
        kind, size = self.dtype.kind, self.dtype.itemsize
        if self.bfloat16:
            return np.dtype(np.uint16)
        if (kind, size) not in {("f", 8), ("f", 4), ("f", 2), ("i", 1)}:
            raise TypeError(f"{self.name} must be {SUPPORTED}, got {self.dtype}")
        return np.dtype(np.float32) if size == 8 else self.dtype.newbyteorder("=")


class _Raw(Shard):
    """Rows that lie in a file element after element."""

    def __init__(
        self, place: str, size: int, offset: int, shape: Sequence[int], dtype: Any
    ) -> None:
        _check_axes(place, shape)
        self.name, self._offset = place, offset
        self.rows, self.width = int(shape[0]), int(shape[1])
        self.dtype = np.dtype(dtype)
        wanted = offset + self.rows * self.width * self.dtype.itemsize
        if size < wanted:
            raise ValueError(
                f"{shown(place)} is truncated: its header wants {wanted} bytes, it has {size}"
            )

    def read(self, spans: Sequence[Span]) -> list[NDArray[Any]]:
        with open(self.name, "rb", buffering=0) as file:  # noqa: PTH123 - a place is text
            return [self._read(file.fileno(), start, stop) for start, stop in spans]

    def _read(self, file: int, start: int, stop: int) -> NDArray[Any]:
        out = np.empty((stop - start, self.width), self.dtype)
        at = self._place_of(start)
        left = _bytes_of(out)
        while left:
            count = os.preadv(file, [left], at)
            if count == 0:
                raise ValueError(f"{self.name} has become shorter since it was opened")
            at, left = at + count, left[count:]
        return out

    def _place_of(self, row: int) -> int:
        return self._offset + row * self.width * self.dtype.itemsize


class _RemoteRaw(_Raw):
    """The same of a file by URL: ranges, several requests at a time."""

    near, at_once = _NEAR, _AT_ONCE
    beside = AHEAD

    def read(self, spans: Sequence[Span]) -> list[NDArray[Any]]:
        assert self.state is not None
        flat = np.empty((sum(stop - start for start, stop in spans), self.width), self.dtype)
        left = _bytes_of(flat)

        def put(offset: int, data: bytes) -> None:
            left[offset : offset + len(data)] = data

        ranges = [(self._place_of(start), self._place_of(stop)) for start, stop in spans]
        read_ranges(self.name, ranges, self.state, put)
        ends = accumulate(stop - start for start, stop in spans)
        return np.split(flat, list(ends)[:-1])

    def check_unchanged(self) -> None:
        """Ask only where reading does not."""
        if not checks_reads(self.name):
            super().check_unchanged()


def _bytes_of(array: NDArray[Any]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _open_npy(place: str, file: BinaryIO) -> _Raw:
    shape, by_columns, dtype = npy_header(shown(place), file)
    offset, size = file.tell(), file.seek(0, os.SEEK_END)
    _check_order(place, shape, by_columns)
    return _raw(place)(place, size, offset, shape, dtype)


def _open_npz(place: str, file: BinaryIO, tensor: str | None, opened: State) -> Shard:
    member = npz_rows.Member(place, file, tensor, opened)
    _check_axes(place, member.shape)
    _check_order(place, member.shape, member.by_columns)
    if member.packed:
        return _PackedNpz(place, member)
    size = file.seek(0, os.SEEK_END)
    return _raw(place)(place, size, member.offset, member.shape, member.dtype)


def _check_axes(place: str, shape: Sequence[int]) -> None:
    if len(shape) != 2:
        raise ValueError(f"{shown(place)} must hold a 2-d float array, got shape {tuple(shape)}")


def _check_order(place: str, shape: Sequence[int], by_columns: bool) -> None:
    if by_columns and len(shape) == 2 and min(shape) > 1:
        raise ValueError(
            f"{shown(place)} must hold its array row after row (C order), got Fortran order"
        )


def _open_safetensors(place: str, file: BinaryIO, tensor: str | None) -> _Raw:
    header, offset = _safetensors_header(place, file)
    found = [name for name in header if name != "__metadata__"]
    if tensor is None and len(found) != 1:
        raise ValueError(
            f"tensor must name one of those in {shown(place)}: {', '.join(sorted(found))}"
        )
    name = found[0] if tensor is None else tensor
    if name not in found:
        raise ValueError(
            f"{shown(place)} must hold a tensor {name!r}, got {', '.join(sorted(found))}"
        )
    about = header[name]
    if about["dtype"] not in _TENSOR_TYPES:
        raise TypeError(f"{shown(place)} must be {SUPPORTED}, got {about['dtype']}")
    begin, size = offset + about["data_offsets"][0], file.seek(0, os.SEEK_END)
    dtype = _TENSOR_TYPES[about["dtype"]]
    shard = _raw(place)(place, size, begin, about["shape"], dtype)
    shard.bfloat16 = about["dtype"] == "BF16"
    return shard


def _raw(place: str) -> type[_Raw]:
    return _RemoteRaw if is_remote(place) else _Raw


class _PackedNpz(Shard):
    """A deflated array of an archive, see :mod:`meddel_fast.stores.npz_rows`."""

    beside = 1 << 20

    def __init__(self, place: str, member: npz_rows.Member) -> None:
        self.name, self._member = place, member
        (self.rows, self.width), self.dtype = member.shape, member.dtype

    def read(self, spans: Sequence[Span]) -> list[NDArray[Any]]:
        found = [np.empty((stop - start, self.width), self.dtype) for start, stop in spans]
        for out, (start, _) in zip(found, spans, strict=True):
            self._member.unpack(out, start)
        return found

    def forget(self) -> None:
        self._member.forget()


class _Parquet(Shard):
    """A column of vectors, see :mod:`meddel_fast.stores.parquet_rows`."""

    def __init__(self, place: str, file: BinaryIO | None, column: str | None) -> None:
        self._column = parquet_rows.Column(place, column, file)
        self.name, self.dtype = place, self._column.dtype
        self.rows, self.width = self._column.rows, self._column.width
        self.beside = self._column.beside

    def read(self, spans: Sequence[Span]) -> list[NDArray[Any]]:
        found = []
        for start, stop in spans:
            found.append(np.empty((stop - start, self.width), self.dtype))
            self._column.fill(found[-1], start)
        return found

    def forget(self) -> None:
        self._column.forget()


class ArrayShard(Shard):
    """An array in memory, so that operations need but one way to read."""

    def __init__(self, name: str, x: Any) -> None:
        x = rows_of(x)
        if is_torch(x) and x.device.type != "cpu":
            raise ValueError(f"{name} must be on the CPU to be worked on in parts, got {x.device}")
        array, self.bfloat16 = to_bits(name, x)
        self.name, (self.rows, self.width), self.dtype = name, array.shape, array.dtype
        self._array = array

    def read(self, spans: Sequence[Span]) -> list[NDArray[Any]]:
        """Return views."""
        return [self._array[start:stop] for start, stop in spans]


class _Read(Shard):
    """Rows that are read from, or put together of, another library's object."""

    def __init__(self, reader: RowReader) -> None:
        self._reader = reader
        self.name, (self.rows, self.width) = reader.name, reader.shape
        self.dtype, self.bfloat16, self.beside = reader.dtype, reader.bfloat16, reader.beside

    def read(self, spans: Sequence[Span]) -> list[NDArray[Any]]:
        """Return copies."""
        return self._reader.read_spans(spans)


def shards_of(name: str, x: Any) -> list[Shard]:
    """Return what an array, a CPU tensor or a :class:`RowReader` is read by: one shard or some."""
    if not isinstance(x, RowReader):
        return [ArrayShard(name, x)]
    parts = x.parts()
    return [_Read(x)] if parts is None else [ArrayShard(name, part) for part in parts]


def open_shard(place: str, tensor: str | None = None, column: str | None = None) -> Shard:
    """Open a file by its suffix; see :func:`meddel_fast.stores.store.open_store` for the errors."""
    suffix = suffix_of(place)
    if not is_remote(place) and not is_file(place):
        raise FileNotFoundError(f"shard {place} is missing{why_no_file(place)}")
    if suffix not in SUFFIXES:
        raise ValueError(f"{shown(place)} must end in one of {', '.join(SUFFIXES)}")
    try:
        before = state(place)
    except FileNotFoundError:
        raise FileNotFoundError(f"shard {shown(place)} is missing") from None
    shard: Shard
    if suffix == ".parquet":
        shard = _Parquet(place, open_reader(place, before) if is_remote(place) else None, column)
    else:
        with open_reader(place, before) as file:
            if suffix == ".npy":
                shard = _open_npy(place, file)
            elif suffix == ".npz":
                shard = _open_npz(place, file, tensor, before)
            else:
                shard = _open_safetensors(place, file, tensor)
    shard.state = before
    return shard


def _safetensors_header(place: str, file: BinaryIO) -> tuple[dict[str, Any], int]:
    """Return the table of tensors, and where the data begin."""
    length = int.from_bytes(file.read(8), "little")
    if length > _LONGEST_HEADER:
        raise ValueError(
            f"{shown(place)} is not a safetensors file: its header would be {length} bytes"
        )
    text = file.read(length)
    try:
        header = json.loads(text)
        for name, about in header.items():
            if name != "__metadata__":
                about["dtype"], about["shape"][0], about["data_offsets"][1]
    except (ValueError, AttributeError, KeyError, IndexError, TypeError) as error:
        raise ValueError(f"{shown(place)} is not a safetensors file: {error!r}") from error
    return header, 8 + length

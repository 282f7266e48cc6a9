"""Files of rows, one at a time: .npy, .npz, safetensors, Parquet; headers checked, none mapped."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.arrays import SUPPORTED, RowReader, is_torch, rows_of, to_bits
from meddel_fast.common.files import State, state, why_no_file
from meddel_fast.common.npy import npy_header
from meddel_fast.stores import npz_rows, parquet_rows

_SUFFIXES = (".npy", ".npz", ".safetensors", ".parquet")
_TENSOR_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I8": "|i1"}
_LONGEST_HEADER = 100_000_000  # bytes, the limit of the safetensors format

Span = tuple[int, int]


class Shard(ABC):
    """The rows of one file (or array), in one of the types that the kernels take or float64."""

    name: str
    rows: int
    width: int
    dtype: np.dtype[Any]
    bfloat16: bool = False
    beside: int = 0  # bytes that reading takes beside the rows that it returns
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
            raise ValueError(f"{self.name} is no longer there: {error.strerror}") from error
        if not unchanged:
            raise ValueError(
                f"{self.name} has changed since it was opened: the rows read before are others"
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

    def __init__(self, path: Path, offset: int, shape: Sequence[int], dtype: Any) -> None:
        _check_axes(path, shape)
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
            shape, by_columns, dtype = npy_header(path, file)
            offset = file.tell()
        _check_order(path, shape, by_columns)
        super().__init__(path, offset, shape, dtype)


class _PackedNpz(Shard):
    """A deflated array of an archive, see :mod:`meddel_fast.stores.npz_rows`."""

    beside = 1 << 20

    def __init__(self, path: Path, member: npz_rows.Member) -> None:
        self.name, self._member = str(path), member
        (self.rows, self.width), self.dtype = member.shape, member.dtype

    def read(self, spans: Sequence[Span]) -> list[NDArray[Any]]:
        found = [np.empty((stop - start, self.width), self.dtype) for start, stop in spans]
        for out, (start, _) in zip(found, spans, strict=True):
            self._member.unpack(out, start)
        return found

    def forget(self) -> None:
        self._member.forget()


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
    """A column of vectors, see :mod:`meddel_fast.stores.parquet_rows`."""

    def __init__(self, path: Path, column: str | None) -> None:
        self._column = parquet_rows.Column(path, column)
        self.name, self.dtype = str(path), self._column.dtype
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


def open_shard(path: Path, tensor: str | None = None, column: str | None = None) -> Shard:
    """Open a file by its suffix; see :func:`meddel_fast.stores.store.open_store` for the errors."""
    if not path.is_file():
        raise FileNotFoundError(f"shard {path} is missing{why_no_file(path)}")
    if path.suffix not in _SUFFIXES:
        raise ValueError(f"{path} must end in one of {', '.join(_SUFFIXES)}")
    before = state(path)
    shard: Shard
    if path.suffix == ".npy":
        shard = _Npy(path)
    elif path.suffix == ".npz":
        shard = _open_npz(path, tensor)
    elif path.suffix == ".safetensors":
        shard = _Safetensors(path, tensor)
    else:
        shard = _Parquet(path, column)
    shard.state = before
    return shard


def _open_npz(path: Path, tensor: str | None) -> Shard:
    member = npz_rows.Member(path, tensor)
    _check_axes(path, member.shape)
    _check_order(path, member.shape, member.by_columns)
    if member.packed:
        return _PackedNpz(path, member)
    return _Raw(path, member.offset, member.shape, member.dtype)


def _check_axes(path: Path, shape: Sequence[int]) -> None:
    if len(shape) != 2:
        raise ValueError(f"{path} must hold a 2-d float array, got shape {tuple(shape)}")


def _check_order(path: Path, shape: Sequence[int], by_columns: bool) -> None:
    if by_columns and len(shape) == 2 and min(shape) > 1:
        raise ValueError(f"{path} must hold its array row after row (C order), got Fortran order")


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

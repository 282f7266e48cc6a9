"""Files that may be damaged or forged: read as what was wanted, or refused in the name of the file.

A reader of ours raises ``ValueError`` (``FileNotFoundError`` where there is no file) and nothing
else, makes no room for what a ``.npy`` header claims and the file has not, unpickles nothing, and
opens no file outside the folder that it was given.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from meddel_fast.extras import needs

if TYPE_CHECKING:
    import pyarrow as pa

    from meddel_fast.files import StrPath

_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
Header = tuple[tuple[int, ...], bool, np.dtype[Any]]
"""Shape, whether in Fortran order, and type of a ``.npy`` file."""

_LONGEST_HEADER = 1 << 14  # bytes; numpy itself refuses headers of more than 10,000
_WRONG = (KeyError, TypeError, AttributeError, IndexError, OverflowError, ValueError, csv.Error)


@contextmanager
def described(path: StrPath, wanted: str) -> Iterator[None]:
    """Turn what a missing key or a value of another type raises into an error about the file.

    Parameters
    ----------
    path
        Where the values in the block come from.
    wanted
        What the file should be, to be read after "is no".

    Raises
    ------
    ValueError
        The block raised one of those.
    """
    try:
        yield
    except _WRONG as error:
        told = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{os.fspath(path)} is no {wanted}: {told}") from error


def plain_name(path: StrPath, name: Any) -> str:
    """Return a file name that `path` lists, unless it leads out of the folder of `path`.

    Raises
    ------
    ValueError
        It is no name of a file in that folder: empty, no text, ``..``, or with a separator.
    """
    if not isinstance(name, str) or name in ("", ".", "..") or set(name) & set("/\\\0"):
        raise ValueError(f"{os.fspath(path)} must list files of its own folder, got {name!r:.200}")
    return name


def npy_header(path: StrPath, file: BinaryIO) -> Header:
    """Read the header of an open ``.npy`` file; its position is then that of the first element.

    Returns
    -------
    shape, fortran, dtype

    Raises
    ------
    ValueError
        It is no such file, it holds Python objects, or fewer bytes than its header promises.
    """
    header = _parse_header(path, file)
    begin = file.tell()
    wanted, size = begin + _data_bytes(header), file.seek(0, os.SEEK_END)
    file.seek(begin)
    if size < wanted:
        raise ValueError(f"{path} is truncated: its header wants {wanted} bytes, it has {size}")
    return header


def _parse_header(path: StrPath, file: BinaryIO) -> Header:
    try:
        version = npy.read_magic(file)
        shape, fortran, dtype = _HEADERS[version](file)
    except Exception as error:  # parsed as a Python literal, and tokenized where that fails
        raise ValueError(f"{path} is not a .npy file: {error}") from error
    if dtype.hasobject or dtype.itemsize == 0:
        raise ValueError(f"{path} is not a .npy file of numbers: its elements are {dtype}")
    if min(shape, default=0) < 0:
        raise ValueError(f"{path} is not a .npy file: its shape would be {shape}")
    return shape, fortran, dtype


def _data_bytes(header: Header) -> int:
    shape, _, dtype = header
    return math.prod(shape) * dtype.itemsize


def parse_npy(path: StrPath, data: bytes) -> NDArray[Any]:
    """Return the array of a ``.npy`` file whose content, read from `path`, is `data`.

    Raises
    ------
    ValueError
        As :func:`npy_header`.
    """
    file = io.BytesIO(data)
    npy_header(path, file)
    file.seek(0)
    array: NDArray[Any] = np.load(file, allow_pickle=False)
    return array


def load_npy(path: StrPath, *, mapped: bool = False) -> NDArray[Any]:
    """Load a ``.npy`` file, or map it into memory, read-only.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        As :func:`npy_header`.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    with path.open("rb") as file:
        npy_header(path, file)
    array: NDArray[Any] = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    return array


class Npz:
    """Arrays of an ``.npz`` file, whose headers are known before any is unpacked.

    Parameters
    ----------
    file
        The file, open.
    names
        The arrays that are wanted.

    Attributes
    ----------
    headers : dict
        Name -> shape, whether in Fortran order, dtype.
    bytes : int
        What these arrays come to when they are unpacked.

    Raises
    ------
    KeyError
        An array is not there.
    ValueError
        A header is none of a ``.npy`` file of numbers, or does not go with the size that the
        archive states; or an array is packed in a way whose growth cannot be bounded.
    zipfile.BadZipFile, OSError, RuntimeError, EOFError, zlib.error
        The archive is damaged, or encrypted.
    """

    def __init__(self, file: BinaryIO, names: Iterable[str]) -> None:
        self._archive = zipfile.ZipFile(file)
        self._members = {name: self._archive.getinfo(f"{name}.npy") for name in names}
        self.headers = {name: self._header(member) for name, member in self._members.items()}
        self.bytes = sum(member.file_size for member in self._members.values())

    def _header(self, member: zipfile.ZipInfo) -> Header:
        check_packing(member)
        head = io.BytesIO(self._unpack(member, _LONGEST_HEADER))
        header = _parse_header(member.filename, head)
        wanted = head.tell() + _data_bytes(header)
        if member.file_size != wanted:
            raise ValueError(
                f"{member.filename} must have the {wanted} bytes that its header wants, the "
                f"archive says {member.file_size}"
            )
        return header

    def read(self, name: str) -> NDArray[Any]:
        """Unpack an array; raises what the constructor does."""
        member = self._members[name]
        return parse_npy(member.filename, self._unpack(member, member.file_size + 1))

    def _unpack(self, member: zipfile.ZipInfo, most: int) -> bytes:
        with self._archive.open(member) as file:
            return file.read(most)


def check_packing(member: zipfile.ZipInfo) -> None:
    """Refuse what `zipfile` would unpack further than it was asked to.

    Raises
    ------
    ValueError
        The member is neither stored nor deflated.
    """
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(
            f"{member.filename} must be stored or deflated, it is packed by method "
            f"{member.compress_type}"
        )


def read_parquet(path: StrPath, columns: Mapping[str, str], wanted: str) -> pa.Table:
    """Read a Parquet file that must have certain columns, without a null in them.

    Parameters
    ----------
    path
        The file.
    columns
        Name -> Arrow's name of the type (``"int64"``, ``"double"``, ``"bool"``, ``"string"``).
        Dictionaries of a type are taken for it.
    wanted
        What the file should be, to be read after "is no".

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is no Parquet file, or without one of the columns.
    """
    with _parquet(path) as file:
        table = file.read()
    for name, kind in columns.items():
        if name not in table.column_names:
            raise ValueError(f"{os.fspath(path)} is no {wanted}: it has no column {name!r}")
        got, nulls = _plain_type(table.schema.field(name).type), table[name].null_count
        if got != kind or nulls:
            raise ValueError(
                f"{os.fspath(path)} is no {wanted}: its column {name!r} must be {kind} without "
                f"nulls, got {got} with {nulls}"
            )
    return table


def read_parquet_schema(path: StrPath) -> pa.Schema:
    """Read the columns and the metadata of a Parquet file.

    Raises
    ------
    FileNotFoundError, ValueError
        There is no such file, or it is no Parquet file.
    """
    with _parquet(path) as file:
        return file.schema_arrow


def json_metadata(path: StrPath, schema: pa.Schema, key: bytes) -> dict[str, Any]:
    """Return the JSON object that a Parquet file's metadata hold under `key`; empty without one.

    Raises
    ------
    ValueError
        What is there is no JSON object.
    """
    try:
        about = json.loads((schema.metadata or {}).get(key, b"{}"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{os.fspath(path)} has damaged metadata: {error}") from error
    if not isinstance(about, dict):
        raise ValueError(f"{os.fspath(path)} has damaged metadata: wanted an object, got {about!r}")
    return about


def check_fields(
    path: StrPath,
    about: Mapping[str, Any],
    fields: Mapping[str, type | tuple[type, ...]],
    wanted: str,
) -> None:
    """Check that a mapping read from a file has certain keys, with values of certain types.

    Raises
    ------
    ValueError
        A key is missing, or its value of another type.
    """
    for name, kinds in fields.items():
        allowed = kinds if isinstance(kinds, tuple) else (kinds,)
        got = about.get(name)
        if not isinstance(got, allowed) or (isinstance(got, bool) and bool not in allowed):
            names = " or ".join(kind.__name__ for kind in allowed)
            raise ValueError(
                f"{os.fspath(path)} is no {wanted}: {name!r} must be {names}, got {got!r:.80}"
            )


@contextmanager
def _parquet(path: StrPath) -> Iterator[Any]:
    """Open a Parquet file; what Arrow raises in the block names the file."""
    with needs("benchmark"):
        import pyarrow as pa
        import pyarrow.parquet as pq

    if not Path(path).is_file():
        raise FileNotFoundError(f"no file {os.fspath(path)}")
    try:
        # one file: read_table takes a path like a=1/x.parquet for a part of a partitioned set
        with pq.ParquetFile(Path(path)) as file:
            yield file
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{os.fspath(path)} is not a Parquet file: {error}") from error


def _plain_type(kind: Any) -> str:
    value = getattr(kind, "value_type", None)
    is_dictionary = value is not None and hasattr(kind, "index_type")
    return str(value if is_dictionary else kind)

"""Files that may be damaged or forged: read as what was wanted, or refused in the name of the file.

A reader of ours raises ``ValueError`` (``OSError`` where there is no file, or it may not be read)
and nothing else, unpickles nothing, and opens no file outside the folder that it was given. Arrays
are read by :mod:`~meddel_fast.common.npy` and :mod:`~meddel_fast.common.npz`.
"""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meddel_fast.common.extras import needs
from meddel_fast.common.files import why_no_file
from meddel_fast.common.places import open_reader
from meddel_fast.common.remote.errors import RemoteError
from meddel_fast.common.urls import StrPath, is_remote, shown

if TYPE_CHECKING:
    import pyarrow as pa

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
        raise ValueError(f"{shown(path)} is no {wanted}: {told}") from error


def plain_name(path: StrPath, name: Any) -> str:
    """Return a file name that `path` lists, unless it leads out of the folder of `path`.

    Raises
    ------
    ValueError
        It is no name of a file in that folder: empty, no text, ``..``, or with a separator.
    """
    if not isinstance(name, str) or name in ("", ".", "..") or set(name) & set("/\\\0"):
        raise ValueError(f"{shown(path)} must list files of its own folder, got {name!r:.200}")
    return name


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
        table.validate(full=True)  # a damaged dictionary or text would raise where it is used
    for name, kind in columns.items():
        if name not in table.column_names:
            raise ValueError(f"{shown(path)} is no {wanted}: it has no column {name!r}")
        got, nulls = _plain_type(table.schema.field(name).type), table[name].null_count
        if got != kind or nulls:
            raise ValueError(
                f"{shown(path)} is no {wanted}: its column {name!r} must be {kind} without "
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
        raise ValueError(f"{shown(path)} has damaged metadata: {error}") from error
    if not isinstance(about, dict):
        raise ValueError(f"{shown(path)} has damaged metadata: wanted an object, got {about!r}")
    return about


def check_fields(
    path: StrPath,
    about: Any,
    fields: Mapping[str, type | tuple[type, ...]],
    wanted: str,
) -> None:
    """Check that a mapping read from a file has certain keys, with values of certain types.

    Raises
    ------
    ValueError
        It is no mapping; a key is missing, or its value of another type.
    """
    if not isinstance(about, Mapping):
        raise ValueError(f"{shown(path)} is no {wanted}: must be an object, got {about!r:.80}")
    for name, kinds in fields.items():
        allowed = kinds if isinstance(kinds, tuple) else (kinds,)
        got = about.get(name)
        if not isinstance(got, allowed) or (isinstance(got, bool) and bool not in allowed):
            names = " or ".join(kind.__name__ for kind in allowed)
            raise ValueError(
                f"{shown(path)} is no {wanted}: {name!r} must be {names}, got {got!r:.80}"
            )


@contextmanager
def _parquet(path: StrPath) -> Iterator[Any]:
    """Open a Parquet file; what Arrow raises in the block names the file."""
    with needs("benchmark"):
        import pyarrow as pa
        import pyarrow.parquet as pq

    if not is_remote(path) and not Path(path).is_file():
        raise FileNotFoundError(f"no file {shown(path)}{why_no_file(path)}")
    try:
        with contextlib.ExitStack() as stack:
            source = stack.enter_context(open_reader(path)) if is_remote(path) else Path(path)
            # one file: read_table takes a path like a=1/x.parquet for a part of a partitioned set
            yield stack.enter_context(pq.ParquetFile(source, pre_buffer=False))
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        told_by_system = getattr(error, "errno", None) is not None or isinstance(error, RemoteError)
        if told_by_system or isinstance(error, MemoryError):  # not the file's fault
            raise
        raise ValueError(f"{shown(path)} is not a Parquet file: {error}") from error


def _plain_type(kind: Any) -> str:
    value = getattr(kind, "value_type", None)
    is_dictionary = value is not None and hasattr(kind, "index_type")
    return str(value if is_dictionary else kind)

"""What is done with a URL: asked about, read, written, listed, removed; tried again if need be.

Takes URLs as :func:`meddel_fast.common.urls.as_place` spells them. Errors are those of
:mod:`~meddel_fast.common.remote.errors`.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import BinaryIO, cast

from meddel_fast.common.remote.client import Info
from meddel_fast.common.remote.connect import client
from meddel_fast.common.remote.errors import RemoteError, RemoteMissingError
from meddel_fast.common.remote.ranges import RangeReader, read_ranges
from meddel_fast.common.remote.retry import attempt
from meddel_fast.common.urls import StrPath, shown

_BUFFER = 1 << 16  # bytes


def info(place: str) -> Info:
    """Return the size and the tag of a file."""
    return attempt(place, "read", lambda: client(place).info(place))


def is_file(place: str) -> bool:
    """Tell whether there is a file."""
    try:
        info(place)
    except RemoteMissingError:
        return False
    return True


def is_folder(place: str) -> bool:
    """Tell whether there is something below a place; of web servers nobody can."""
    try:
        return attempt(place, "listed", lambda: client(place).is_folder(place))
    except RemoteMissingError:
        return False


def read(place: str, start: int = 0, stop: int | None = None) -> bytes:
    """Return the bytes [start, stop) of a file, fewer where it ends before."""
    found = info(place)
    end = found.size if stop is None else min(stop, found.size)
    if end <= start:
        return b""
    out = bytearray(end - start)

    def put(offset: int, data: bytes) -> None:
        out[offset : offset + len(data)] = data

    read_ranges(place, [(start, end)], found.tag, put)
    return bytes(out)


def get(place: str, start: int, stop: int | None) -> tuple[bytes, Info]:
    """Return a range by one request, and what the answer says of the whole file."""
    return attempt(place, "read", lambda: client(place).get(place, start, stop))


def reader(place: str, known: Info | None = None) -> BinaryIO:
    """Open a file; where its size and tag are known already they are not asked for."""
    source = RangeReader(place, info(place) if known is None else known)
    return cast(BinaryIO, io.BufferedReader(source, _BUFFER))


def write(place: str, data: bytes) -> None:
    """Put a file, and look at the size that it has then."""
    attempt(place, "written", lambda: client(place).write(place, data))
    _check_size(place, len(data))


def upload(local: StrPath, place: str) -> None:
    """Put the content of a local file, and look at the size that it has then."""
    path = os.fspath(local)
    size = Path(path).stat().st_size
    attempt(place, "written", lambda: client(place).upload(place, path))
    _check_size(place, size)


def check_writable(place: str) -> None:
    """Say now what writing would say at the end, as far as the store tells."""
    attempt(place, "written", lambda: client(place).check_writable(place))


def remove(place: str) -> None:
    """Remove a file, if it is there."""
    try:
        attempt(place, "removed", lambda: client(place).remove(place))
    except RemoteMissingError:
        return


def files(place: str) -> dict[str, int]:
    """Return the sizes of the files below a place, by their names relative to it."""
    try:
        return attempt(place, "listed", lambda: dict(client(place).files(place)))
    except RemoteMissingError:
        return {}


def checks_tag(place: str) -> bool:
    """Tell whether each read of a place fails once the file is another one."""
    return client(place).checks_tag


def _check_size(place: str, wanted: int) -> None:
    got = info(place).size
    if got != wanted:
        raise RemoteError(f"{shown(place)} has {got} bytes after {wanted} were written")

"""Places of files, on this machine or by URL: one set of functions for both.

A place is a local path or a URL (``s3://``, ``gs://``, ``az://``, ``http(s)://``, ``hf://``), text
in and text out. Nothing is asked of a network but for a URL that somebody wrote. Credentials come
from the environment alone; a URL with some in it is refused.

What is written is there as a whole or not at all, and a failed or killed writer leaves what was
there before. What is read is of the length that was asked for, and of one object. Requests that
fail for a reason that may pass are made again, within MEDDEL_REMOTE_PATIENCE seconds (60), each
told by a warning of :mod:`logging`.
"""

from __future__ import annotations

import io
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from meddel_fast.common import atomic, files
from meddel_fast.common.remote.client import Info
from meddel_fast.common.remote.connect import client
from meddel_fast.common.remote.errors import RemoteChangedError, RemoteError, RemoteMissingError
from meddel_fast.common.remote.ranges import AHEAD, RangeReader, read_ranges
from meddel_fast.common.remote.retry import attempt
from meddel_fast.common.urls import (
    StrPath,
    as_place,
    is_remote,
    join,
    local_path,
    name_of,
    shown,
    suffix_of,
)

__all__ = [
    "AHEAD", "Listing", "RemoteChangedError", "RemoteError", "State", "StrPath", "as_place",
    "exists", "is_folder", "is_remote", "join", "list_files", "listing", "local_path", "name_of",
    "open_reader", "put_file", "read_bytes", "remove", "shown", "size", "state", "suffix_of",
    "write_bytes",
]  # fmt: skip

_LOG = logging.getLogger(__name__)

State = tuple[int | str, ...]
"""What tells a file from another one, or from itself once written to."""


@dataclass(frozen=True)
class Listing:
    """The files below a place.

    Attributes
    ----------
    sizes
        Name below the place -> bytes, in the order of the names.
    folders
        Keys that end in "/", which stores make for empty folders; they are no files.
    odd
        Names that no path below a folder has (``a//b``, ``../c``); they are left out of `sizes`.
    """

    sizes: dict[str, int]
    folders: int
    odd: tuple[str, ...]


def exists(place: StrPath) -> bool:
    """Tell whether there is a file, or a folder with something in it.

    Raises
    ------
    RemoteError
        The store cannot be asked, or does not want to tell.
    """
    place = as_place(place)
    if not is_remote(place):
        return Path(place).exists()
    try:
        _info(place)
    except RemoteMissingError:
        return is_folder(place)
    return True


def is_folder(place: StrPath) -> bool:
    """Tell whether there is a folder; a remote one is there when something is in it."""
    place = as_place(place)
    if not is_remote(place):
        return Path(place).is_dir()
    if place.startswith("http"):
        return False
    try:
        return attempt(place, "listed", lambda: next(client(place).files(place), None)) is not None
    except RemoteMissingError:
        return False


def size(place: StrPath) -> int:
    """Return the bytes of a file.

    Raises
    ------
    FileNotFoundError
        There is none.
    """
    place = as_place(place)
    return _info(place).size if is_remote(place) else Path(place).stat().st_size


def state(place: StrPath) -> State:
    """Return what changes with a file: of a remote one, its size and its tag.

    Raises
    ------
    FileNotFoundError
        There is none.
    """
    place = as_place(place)
    if not is_remote(place):
        return files.state(place)
    info = _info(place)
    return info.size, info.tag


def read_bytes(place: StrPath, start: int = 0, stop: int | None = None) -> bytes:
    """Return the bytes [start, stop) of a file, all by default; fewer where it ends before.

    A remote file is read by several requests at a time, and is one object all through.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It was replaced meanwhile, or the range is none.
    OSError
        It cannot be read.
    """
    if start < 0 or (stop is not None and stop < start):
        raise ValueError(f"start and stop must be 0 <= start <= stop, got {start} and {stop}")
    place = as_place(place)
    if not is_remote(place):
        with Path(place).open("rb") as file:
            file.seek(start)
            return file.read() if stop is None else file.read(stop - start)
    info = _info(place)
    end = info.size if stop is None else min(stop, info.size)
    if end <= start:
        return b""
    out = bytearray(end - start)

    def put(offset: int, data: bytes) -> None:
        out[offset : offset + len(data)] = data

    read_ranges(place, [(start, end)], info.tag, put)
    return bytes(out)


def open_reader(place: StrPath) -> BinaryIO:
    """Open a file for reading, as a seekable binary file.

    A remote one is read by ranges: little more than what is asked for, up to 16 MiB ahead where one
    range follows the other. It is one object all through: once it is replaced, reading fails.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    OSError
        It cannot be read.
    """
    place = as_place(place)
    if not is_remote(place):
        return Path(place).open("rb")
    return cast(BinaryIO, io.BufferedReader(RangeReader(place, _info(place)), 1 << 16))


def write_bytes(place: StrPath, data: bytes) -> None:
    """Write a file, all of it or nothing; missing folders are made.

    Raises
    ------
    OSError
        It cannot be written; what was there is as it was.
    """
    place = as_place(place)
    if not is_remote(place):
        atomic.write_bytes(place, data)
        return
    attempt(place, "written", lambda: client(place).write(place, data))
    _check_size(place, len(data))


def put_file(local: StrPath, place: StrPath) -> None:
    """Write the content of a local file to a place, all of it or nothing.

    Large files go to S3 in parts, four at a time.

    Raises
    ------
    OSError
        It cannot be written; what was there is as it was.
    """
    place = as_place(place)
    if not is_remote(place):
        import shutil

        with atomic.atomic_path(place) as temporary:
            shutil.copyfile(local, temporary)
        return
    text = os.fspath(local)
    wanted = Path(text).stat().st_size
    attempt(place, "written", lambda: client(place).upload(place, text))
    _check_size(place, wanted)


def remove(place: StrPath) -> None:
    """Remove a file; one that is not there is none to remove."""
    place = as_place(place)
    if not is_remote(place):
        Path(place).unlink(missing_ok=True)
        return
    try:
        attempt(place, "removed", lambda: client(place).remove(place))
    except RemoteMissingError:
        return


def list_files(place: StrPath) -> list[str]:
    """Return the names of the files below a folder, sorted; none where there is no folder.

    Names are relative, with "/" between folders. See :func:`listing` for what is left out.
    """
    return list(listing(place).sizes)


def listing(place: StrPath) -> Listing:
    """Return the files below a folder with their sizes, and what was left out.

    Raises
    ------
    RemoteError
        It cannot be listed; web servers (``http:``) have no listings.
    """
    place = as_place(place)
    found = _remote_files(place) if is_remote(place) else _local_files(Path(place))
    odd = sorted(name for name in found if _is_odd(name))
    sizes = {name: found[name] for name in sorted(found) if not name.endswith("/")}
    for name in odd:
        sizes.pop(name, None)
    if odd:
        _LOG.warning(
            "%s: %d names that are no paths below a folder were left out, %r first",
            shown(place), len(odd), odd[0],
        )  # fmt: skip
    return Listing(sizes, sum(n.endswith("/") for n in found) + ("" in found), tuple(odd))


def _is_odd(name: str) -> bool:
    parts = name.removesuffix("/").split("/")
    return name != "" and bool({"", ".", ".."} & set(parts) or "\0" in name)


def _remote_files(place: str) -> dict[str, int]:
    try:
        return attempt(place, "listed", lambda: dict(client(place).files(place)))
    except RemoteMissingError:
        return {}


def _local_files(folder: Path) -> dict[str, int]:
    if not folder.is_dir():
        return {}
    found = {}
    for above, folders, names in files.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(atomic.TEMPORARY_PREFIX)]
        for name in names:
            path = Path(above, name)
            if path.is_file():
                found[path.relative_to(folder).as_posix()] = path.stat().st_size
    return found


def _info(place: str) -> Info:
    return attempt(place, "read", lambda: client(place).info(place))


def _check_size(place: str, wanted: int) -> None:
    got = _info(place).size
    if got != wanted:
        raise RemoteError(f"{shown(place)} has {got} bytes after {wanted} were written")

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

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from meddel_fast.common import atomic, files
from meddel_fast.common.remote import objects
from meddel_fast.common.remote import ranges as ranges_of
from meddel_fast.common.remote.client import Info
from meddel_fast.common.remote.errors import RemoteChangedError, RemoteError
from meddel_fast.common.remote.ranges import AHEAD, RangeReader
from meddel_fast.common.urls import (
    StrPath,
    as_place,
    is_inner,
    is_remote,
    join,
    local_path,
    name_of,
    shown,
    suffix_of,
)

__all__ = [
    "AHEAD",
    "Listing",
    "RemoteChangedError",
    "RemoteError",
    "State",
    "StrPath",
    "as_place",
    "checks_reads",
    "exists",
    "forget",
    "get_bytes",
    "is_file",
    "is_folder",
    "is_remote",
    "join",
    "list_files",
    "listing",
    "local_path",
    "name_of",
    "open_reader",
    "put_file",
    "read_bytes",
    "read_ranges",
    "remove",
    "shown",
    "size",
    "state",
    "suffix_of",
    "write_bytes",
]  # fmt: skip

_LOG = logging.getLogger(__name__)

State = tuple[int | str, ...]
"""What tells a file from another one, or from itself once written to."""

write_bytes = atomic.write_bytes


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
    """Tell whether there is a file, or a folder (of a store: with something in it).

    Raises
    ------
    OSError
        The store cannot be asked, or does not want to tell.
    """
    return is_file(place) or is_folder(place)


def is_file(place: StrPath) -> bool:
    """Tell whether there is a file. Raises what :func:`exists` does."""
    place = as_place(place)
    return objects.is_file(place) if is_remote(place) else Path(place).is_file()


def is_folder(place: StrPath) -> bool:
    """Tell whether there is a folder; a remote one is there when something is in it.

    Raises what :func:`exists` does.
    """
    place = as_place(place)
    return objects.is_folder(place) if is_remote(place) else Path(place).is_dir()


def size(place: StrPath) -> int:
    """Return the bytes of a file.

    Raises
    ------
    FileNotFoundError
        There is none.
    """
    place = as_place(place)
    return objects.info(place).size if is_remote(place) else Path(place).stat().st_size


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
    info = objects.info(place)
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
    if is_remote(place):
        return objects.read(place, start, stop)
    with Path(place).open("rb") as file:
        file.seek(start)
        return file.read() if stop is None else file.read(stop - start)


def get_bytes(place: str, start: int = 0, stop: int | None = None) -> tuple[bytes, State]:
    """Return the bytes [start, stop) of a remote file by one request, and its state if told.

    For many small files or ranges, which :func:`read_bytes` would ask about first. The state is
    empty where the answer does not tell it.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    OSError
        It cannot be read.
    """
    data, info = objects.get(place, start, stop)
    return data, ((info.size, info.tag) if info.size >= 0 and info.tag else ())


def open_reader(place: StrPath, known: State | None = None) -> BinaryIO:
    """Open a file for reading, as a seekable binary file.

    A remote one is read by ranges: little more than what is asked for, up to :data:`AHEAD` bytes
    ahead where one range follows the other. It is one object all through: once it is replaced,
    reading fails.

    Parameters
    ----------
    place
        The file.
    known
        What :func:`state` said of it just now, to save asking again.

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
    return objects.reader(place, None if known is None else Info(int(known[0]), str(known[1])))


def forget(file: BinaryIO) -> None:
    """Let go of what a file of :func:`open_reader` has read ahead; it may still be read."""
    raw = getattr(file, "raw", None)
    if isinstance(raw, RangeReader):
        raw.forget()


def read_ranges(
    place: StrPath,
    ranges: Sequence[tuple[int, int]],
    known: State,
    put: Callable[[int, bytes], None],
) -> None:
    """Read ranges of a remote file, several requests at a time.

    Parameters
    ----------
    place
        The URL.
    ranges
        Each [start, stop), within the file.
    known
        What :func:`state` said of it.
    put
        Called as ``put(offset, data)`` in the order of the ranges; offset is that in all ranges,
        laid one after the other.

    Raises
    ------
    ValueError
        The file is no longer the one that is known, or no longer there.
    OSError
        It cannot be read.
    """
    try:
        ranges_of.read_ranges(as_place(place), ranges, str(known[1]), put)
    except FileNotFoundError:
        raise RemoteChangedError(f"{shown(place)} is no longer there") from None


def checks_reads(place: StrPath) -> bool:
    """Tell whether each read of a remote file fails once it is another one than was opened."""
    return objects.checks_tag(as_place(place))


def put_file(local: StrPath, place: StrPath) -> None:
    """Write the content of a local file to a place, all of it or nothing.

    Large files go to S3 in parts, four at a time.

    Raises
    ------
    OSError
        It cannot be written; what was there is as it was.
    """
    place = as_place(place)
    if is_remote(place):
        objects.upload(local, place)
        return
    with atomic.atomic_path(place) as temporary:
        shutil.copyfile(local, temporary)


def remove(place: StrPath) -> None:
    """Remove a file; one that is not there is none to remove."""
    place = as_place(place)
    if is_remote(place):
        objects.remove(place)
    else:
        Path(place).unlink(missing_ok=True)


def list_files(place: StrPath) -> list[str]:
    """Return the names of the files below a folder, sorted; none where there is no folder.

    Names are relative, with "/" between folders. See :func:`listing` for what is left out.
    """
    return list(listing(place).sizes)


def listing(place: StrPath) -> Listing:
    """Return the files below a folder with their sizes, and what was left out.

    Raises
    ------
    OSError
        It cannot be listed; web servers (``http:``) have no listings.
    """
    place = as_place(place)
    found = objects.files(place) if is_remote(place) else _local_files(Path(place))
    folders = [name for name in found if name == "" or name.endswith("/")]
    odd = sorted(name for name in found.keys() - set(folders) if not is_inner(name))
    left = set(folders) | set(odd)
    if odd:
        _LOG.warning(
            "%s: %d names that are no paths below a folder were left out, %r first",
            shown(place), len(odd), odd[0],
        )  # fmt: skip
    sizes = {name: found[name] for name in sorted(found) if name not in left}
    return Listing(sizes, len(folders), tuple(odd))


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

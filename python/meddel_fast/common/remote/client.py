"""What any file system of fsspec does for us: one request a call, nothing kept between calls.

Nothing here is tried again, and errors are the library's: :mod:`~meddel_fast.common.remote.retry`
sees to both.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from meddel_fast.common.remote.errors import Passing, RemoteChangedError, RemoteError
from meddel_fast.common.urls import shown

_SILENCE = 30.0  # seconds that a request may take whatever its size
UNKNOWN = 64 << 20
"""Bytes that a file of unknown size is taken for, to limit the time."""
_SLOWEST = 200_000  # bytes a second below which a transfer is taken for stuck

_TAGS = ("etag", "ETag", "generation", "blob_id", "oid", "last_modified", "mtime", "created")


def time_limit(size: int) -> float:
    """Return the seconds after which a request for so many bytes is given up."""
    return _SILENCE + size / _SLOWEST


@dataclass(frozen=True)
class Info:
    """What a store says of an object.

    Attributes
    ----------
    size
        In bytes.
    tag
        What changes with its content: the entity tag where there is one, else a time.
    """

    size: int
    tag: str


class Client:
    """The objects of one store.

    Parameters
    ----------
    fs
        A file system of fsspec, which keeps no listings.
    """

    checks_tag = False  # whether a read fails once the file has another tag

    def __init__(self, fs: Any) -> None:
        self.fs = fs

    def info(self, place: str) -> Info:
        """Ask for the size and the tag of a file; ``FileNotFoundError`` where there is none."""
        found = self.fs.info(place)
        if found.get("type") == "directory" or found.get("size") is None:
            raise FileNotFoundError(place)
        tag = next((str(found[name]) for name in _TAGS if found.get(name)), "")
        return Info(int(found["size"]), tag)

    def read(self, place: str, start: int, stop: int, tag: str) -> bytes:
        """Return the bytes [start, stop) of a file, all of them.

        Where a store can be told `tag`, it refuses when the file has another by now.
        """
        del tag
        data: bytes = self.fs.cat_file(place, start=start, end=stop)
        return whole(place, data, stop - start)

    def get(self, place: str, start: int, stop: int | None) -> tuple[bytes, Info]:
        """Return a range, or all from `start`, and what the answer says of the whole file.

        One request, of a file that nothing was asked about before. A size of -1 is not told.
        """
        data: bytes = self.fs.cat_file(place, start=start or None, end=stop)
        return data, Info(-1 if start or stop is not None else len(data), "")

    def write(self, place: str, data: bytes) -> None:
        """Put a file, all of it or nothing."""
        self.fs.pipe_file(place, data)

    def upload(self, place: str, local: str) -> None:
        """Put the content of a local file, all of it or nothing."""
        self.fs.put_file(local, place)

    def check_writable(self, place: str) -> None:
        """Say now what writing would say at the end; most stores tell nothing before."""

    def files(self, place: str) -> Iterator[tuple[str, int]]:
        """Give the files below a place, in any order: names relative to it, sizes in bytes."""
        top = self.fs._strip_protocol(place).rstrip("/") + "/"
        for path, about in self.fs.find(place, withdirs=False, detail=True).items():
            if path.startswith(top):
                yield path[len(top) :], int(about.get("size") or 0)
            elif f"{path}/" != top:  # a file is found at its own name
                raise RemoteError(f"{shown(place)} cannot be listed: {path!r} is not below it")

    def is_folder(self, place: str) -> bool:
        """Tell whether there is something below a place."""
        return bool(self.fs.isdir(place))

    def remove(self, place: str) -> None:
        """Remove a file."""
        self.fs.rm_file(place)


class MemoryClient(Client):
    """Files in this process's memory, which fsspec has for tests."""

    def upload(self, place: str, local: str) -> None:
        """Put all at once: fsspec's own way shows a file while it is written."""
        with open(local, "rb") as file:  # noqa: PTH123 - text as it came
            self.write(place, file.read())


class ReadingClient(Client):
    """What can only be read."""

    how = "write to this machine, and copy it there"

    def write(self, place: str, data: bytes) -> None:
        """Refuse."""
        raise RemoteError(f"{shown(place)} can only be read: {self.how}")

    def upload(self, place: str, local: str) -> None:
        """Refuse."""
        self.write(place, b"")

    def check_writable(self, place: str) -> None:
        """Refuse."""
        self.write(place, b"")

    def remove(self, place: str) -> None:
        """Refuse."""
        raise RemoteError(f"{shown(place)} can only be read, not removed")


class HubClient(ReadingClient):
    """Files of the Hugging Face Hub."""

    how = "write to this machine, and upload the folder with huggingface_hub"

    def read(self, place: str, start: int, stop: int, tag: str) -> bytes:
        """Return a range without the 5 MB that the library would read behind it."""
        del tag
        data: bytes = self.fs.cat_file(place, start=start, end=stop, cache_type="none")
        return whole(place, data, stop - start)


def whole(place: str, data: bytes, wanted: int) -> bytes:
    """Return data, if they are as many as were asked for."""
    if len(data) > wanted:
        raise RemoteError(
            f"{shown(place)} cannot be read in parts: asked for {wanted} bytes, the server sent "
            f"{len(data)}; copy the file to this machine first"
        )
    if len(data) < wanted:
        raise Passing(f"{len(data)} bytes came of {wanted}")
    return data


def byte_range(start: int, stop: int | None) -> str:
    """Return the header ``Range`` of the bytes [start, stop), or of all from `start`."""
    return f"bytes={start}-{'' if stop is None else stop - 1}"


def same(place: str, got: str, wanted: str) -> None:
    """Raise an error where the tag that came is another one than was wanted."""
    if got and wanted and got != wanted:
        raise RemoteChangedError(f"{shown(place)} has changed since it was opened")


def size_of(local: str) -> int:
    """Return the bytes of a local file."""
    return os.stat(local).st_size  # noqa: PTH116 - text as it came

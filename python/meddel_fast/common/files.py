"""Paths and files: links followed, JSON read, folders made and walked, changes noticed.

Of URLs, JSON is read; a folder of that name is never made.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from meddel_fast.common.remote import objects
from meddel_fast.common.urls import StrPath as StrPath
from meddel_fast.common.urls import as_place, is_remote, local_path, shown

Progress = Callable[[int, int], None]
"""A stage reports ``progress(done, total)``; ``None`` in its place means silence."""

State = tuple[int, int, int, int]


def followed(path: StrPath) -> Path:
    """Give the file that a path leads to by its links, there or not.

    Raises
    ------
    OSError
        They run in a circle.
    """
    real = Path(os.path.realpath(path))
    if real.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), os.fspath(path))
    return real


def is_stream(path: StrPath) -> bool:
    """Tell whether what is written to `path` flows on instead of staying there as a file.

    So it is of devices, pipes and sockets, and of ``/dev/stdout`` even when that is a file: there
    the shell holds a place in it.
    """
    plain = os.path.abspath(path)  # noqa: PTH100 - follows no link
    if plain in ("/dev/stdout", "/dev/stderr") or plain.startswith(("/dev/fd/", "/proc/")):
        return True
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - a path of any kind
    except OSError:
        return False
    return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def read_json(path: StrPath) -> Any:
    """Read a JSON file, on this machine or by URL.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is not JSON; the message names the file and the place.
    """
    data = objects.read(as_place(path)) if is_remote(path) else Path(path).read_bytes()
    try:
        return json.loads(data)
    except ValueError as error:  # JSONDecodeError, and UnicodeDecodeError of binary files
        raise ValueError(f"{shown(path)} is not a JSON file: {error}") from error


def state(path: StrPath) -> State:
    """Return what tells a file from another one, or from itself once written to.

    Its device and number there, its size, and when its content changed last.
    """
    found = os.stat(path)  # noqa: PTH116 - asked for at every read
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, unless it is there.

    Raises
    ------
    NotADirectoryError
        It, or one above it, is something else; the message names it.
    ValueError
        It is the URL of one, of which a folder of this machine would be made.
    """
    folder = local_path(folder, "a folder to write into")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        wrong = next(p for p in (folder, *folder.parents) if p.is_symlink() or p.exists())
        told = why_no_file(wrong) or ": it is a file"
        raise NotADirectoryError(f"wanted a folder {wrong}{told}") from None


def check_readable(path: Path) -> None:
    """Open a file and close it: of one that may not be read, libraries say that it is not there.

    Raises
    ------
    OSError
        It cannot be opened; the error names it.
    """
    with path.open("rb"):
        pass


def why_no_file(path: StrPath) -> str:
    """Say, to be read after a path, why no file can be read there; empty when nothing is there."""
    if is_remote(path):
        return f": {shown(path)} is not on this machine, and not read by its URL here; copy it"
    link = f"it is a link to {os.readlink(path)}, " if os.path.islink(path) else ""  # noqa: PTH114, PTH115
    try:
        status = os.stat(path)  # noqa: PTH116 - Path's own tests do not tell one error from another
    except OSError as error:
        told = f"{error.strerror}" if link or error.errno != errno.ENOENT else ""
        return f": {link}{told}" if told else ""
    return f": {link}it is a folder" if stat.S_ISDIR(status.st_mode) else ""


def walk(
    root: StrPath, *, follow_links: bool = False
) -> Iterator[tuple[str, list[str], list[str]]]:
    """Walk as ``os.walk``; a folder that cannot be listed is an error, not an empty one."""

    def fail(error: OSError) -> None:
        raise error

    return os.walk(root, onerror=fail, followlinks=follow_links)

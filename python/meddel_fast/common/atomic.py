"""Files that are either whole or absent.

Everything the package leaves on disk passes through here: it is written beside its place, flushed
to the disk and renamed, so that a killed run never leaves half a file under a real name. What a
kill does leave is a hidden ``.tmp-*`` folder, which :func:`remove_leftovers` sweeps away.

What goes to a URL is written to a file of this machine first, and put there as a whole.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from meddel_fast.common.files import StrPath, followed, is_stream, make_folder
from meddel_fast.common.pool import Pool
from meddel_fast.common.remote import objects
from meddel_fast.common.urls import as_place, is_remote, local_path, name_of, shown

TEMPORARY_PREFIX = ".tmp-"


@contextlib.contextmanager
def atomic_path(path: StrPath) -> Iterator[Path]:
    """Yield a path to write to; it becomes `path` when the block ends without an exception.

    The yielded path has the name (and so the suffix) of `path`, in a hidden folder beside it, so
    that writers that look at the suffix work and ``glob("*.json")`` never meets half a file.
    Missing parents are made. On an exception, Ctrl-C included, nothing is left and an earlier file
    at `path` stays as it was. An ``OSError`` of the block that names no file gets the name `path`.

    A link stays a link, and what it leads to is replaced; a device, a pipe, or whatever
    ``/dev/stdout`` is, is written to when the block has ended; an earlier file's permissions stay.
    With a URL the hidden folder is among the system's own (``TMPDIR``).

    Raises
    ------
    IsADirectoryError, NotADirectoryError
        `path` is a directory, or a folder that it should be in is something else; raised before
        anything is written.
    FileNotFoundError
        The block wrote nothing at the yielded path.
    """
    if is_remote(path):
        with _temporary_folder(None) as folder:
            temporary = folder / name_of(path)
            yield temporary
            if not temporary.is_file():
                raise FileNotFoundError(f"nothing was written for {shown(path)}")
            objects.upload(temporary, as_place(path))
        return
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"path: wanted a file to write, {path} is a directory")
    stream = is_stream(path)
    target = followed(path) if path.is_symlink() and not stream else path
    with _temporary_folder(None if stream else target.parent) as folder:
        temporary = folder / path.name
        with _named(path):
            yield temporary
        if not temporary.is_file():
            raise FileNotFoundError(f"nothing was written for {path}")
        if stream:
            with _named(path), temporary.open("rb") as source, path.open("ab") as sink:
                shutil.copyfileobj(source, sink)
            return
        _flush(temporary)
        if target.exists():
            temporary.chmod(stat.S_IMODE(target.stat().st_mode))
        temporary.replace(target)
        _flush(target.parent)


@contextlib.contextmanager
def atomic_directory(path: StrPath, *, replace: bool = False) -> Iterator[Path]:
    """Yield an empty directory to fill; it becomes `path` when the block ends without an exception.

    Parameters
    ----------
    path
        Where the directory goes. Missing parents are made.
    replace
        Take the place of a non-empty directory. The old one is moved aside only after the new one
        is complete; a kill in the instant between the two renames leaves it in ``.tmp-*`` beside
        `path`.

    Raises
    ------
    FileExistsError
        `path` is a file, or a directory that is not empty and `replace` is false; raised before
        any work is done.
    NotADirectoryError
        A folder that `path` should be in is something else.
    ValueError
        It is a URL: stores have no renaming of folders.
    """
    path = local_path(path, "a folder that is written as a whole")
    if path.exists() and not path.is_dir():
        raise FileExistsError(f"path: wanted a directory to write, {path} is a file")
    if not replace and path.is_dir() and any(path.iterdir()):
        raise FileExistsError(f"path: wanted a new or an empty directory, {path} is not empty")
    if path.is_symlink():  # the link stays, what it leads to is replaced
        path = path.resolve()
    with _temporary_folder(path.parent) as folder:
        temporary = folder / "new"
        temporary.mkdir()
        yield temporary
        # many at once: the disk joins their waits, which is 30 times faster for small files
        with Pool(16) as pool:
            list(pool.map(_flush, [temporary, *temporary.rglob("*")]))
        if path.exists():
            path.rename(folder / "old")
        temporary.rename(path)
        _flush(path.parent)


def write_bytes(path: StrPath, data: bytes) -> None:
    """Write a file on this machine or by URL, all of `data` or nothing; missing folders are made.

    Raises
    ------
    OSError
        It cannot be written; what was there is as it was.
    """
    if is_remote(path):
        objects.write(as_place(path), data)
        return
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: StrPath, text: str) -> None:
    """Write `text` to `path` atomically, as UTF-8 with the line ends it has."""
    write_bytes(path, text.encode())


def write_json(path: StrPath, value: Any) -> None:
    """Write `value` to `path` atomically, as indented JSON.

    Dataclasses, paths, numpy scalars and numpy arrays are written as what they hold. NaN and
    infinity are no JSON: write ``None``.

    Raises
    ------
    ValueError
        A number is NaN or infinite.
    TypeError
        A value has no JSON form.
    """
    text = json.dumps(value, default=plain, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def remove_leftovers(folder: StrPath) -> int:
    """Delete what killed writers left in `folder` and below; return how many there were.

    Only for a folder that nobody else is writing to at this moment. A folder that is absent holds
    none.
    """
    leftovers = [path for path in Path(folder).rglob(f"{TEMPORARY_PREFIX}*") if path.is_dir()]
    for path in leftovers:
        shutil.rmtree(path, ignore_errors=True)
    return len(leftovers)


@contextlib.contextmanager
def _temporary_folder(parent: Path | None) -> Iterator[Path]:
    """Make a hidden folder in `parent`, or among the system's own, gone at the end of the block."""
    if parent is not None:
        make_folder(parent)
    folder = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Give the name `path` to an error of the block that has none, as one of ``write``."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = os.fspath(path)
        raise


def _flush(path: Path) -> None:
    """Force a file or a directory entry to the disk, where the file system can."""
    handle = os.open(path, os.O_RDONLY)
    try:
        with _named(path):
            os.fsync(handle)
    except OSError:  # some network file systems refuse directories; the rename still is atomic
        if path.is_file():
            raise
    finally:
        os.close(handle)


def plain(value: Any) -> Any:
    """Give the JSON form of what ``json`` does not know."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):  # numpy scalars and arrays, without importing numpy
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form: {value!r}")

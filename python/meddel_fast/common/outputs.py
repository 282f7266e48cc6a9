"""Where a result may go: never in the place of what a user has and this package did not write.

Every writer of a file that a user names asks here, before any work: a result takes the place of
nothing but an earlier result of its own kind, which is told by content, and never that of an input.
A file may go to a URL, a folder where its writer says so.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from meddel_fast.common.atomic import atomic_path
from meddel_fast.common.files import StrPath, followed, is_stream, read_json, why_no_file
from meddel_fast.common.npy import npy_header
from meddel_fast.common.places import exists, list_files, open_reader, read_bytes, size
from meddel_fast.common.remote import objects
from meddel_fast.common.suffixes import DICOMS, IMAGES
from meddel_fast.common.untrusted import read_parquet_schema
from meddel_fast.common.urls import as_place, is_remote, join, local_path, shown, suffix_of

_START = 4096  # bytes that tell the kind of a file


@dataclass(frozen=True)
class Kind:
    """A kind of file that a command or a ``save`` writes.

    Attributes
    ----------
    name
        What it is, with its article, for messages.
    suffixes
        What its name may end in, the first the usual one. A name without a suffix will do.
    is_one
        Tells of an existing file whether it is of this kind; only called of a regular file with
        something in it. What it raises as ``OSError`` or ``ValueError`` stands for no. A URL comes
        as a path too, which the functions of :mod:`~meddel_fast.common.places` know.
    """

    name: str
    suffixes: tuple[str, ...]
    is_one: Callable[[Path], bool]


@dataclass(frozen=True)
class FolderKind:
    """A kind of folder that a command fills.

    Attributes
    ----------
    name
        What it is, with its article, for messages.
    is_one
        Tells of a folder with something in it whether that is of this kind. What it raises as
        ``OSError`` or ``ValueError`` stands for no.
    """

    name: str
    is_one: Callable[[Path], bool]


def table(name: str, *keys: bytes) -> Kind:
    """Return the kind of Parquet files whose metadata hold these keys."""

    def is_one(path: Path) -> bool:
        return set(keys) <= set(read_parquet_schema(path).metadata or {})

    return Kind(name, (".parquet",), is_one)


def json_object(name: str, *keys: str) -> Kind:
    """Return the kind of JSON files of an object with these keys."""

    def is_one(path: Path) -> bool:
        found = read_json(path)
        return isinstance(found, dict) and set(keys) <= found.keys()

    return Kind(name, (".json",), is_one)


def csv_table(name: str, *columns: str) -> Kind:
    """Return the kind of CSV files whose first line names these columns."""

    def is_one(path: Path) -> bool:
        first = _start(path).decode(errors="replace").partition("\n")[0].strip().split(",")
        return set(columns) <= set(first)

    return Kind(name, (".csv",), is_one)


def array_file(name: str, kinds: str, dimensions: int) -> Kind:
    """Return the kind of ``.npy`` files of that many dimensions, and of these kinds of elements."""

    def is_one(path: Path) -> bool:
        with open_reader(path) as file:
            shape, _, dtype = npy_header(path, file)
        return len(shape) == dimensions and dtype.kind in kinds

    return Kind(name, (".npy",), is_one)


def archive(name: str, *members: str) -> Kind:
    """Return the kind of ``.npz`` files with these members."""

    def is_one(path: Path) -> bool:
        try:
            with open_reader(path) as source, zipfile.ZipFile(source) as file:
                return {f"{member}.npy" for member in members} <= set(file.namelist())
        except zipfile.BadZipFile:
            return False

    return Kind(name, (".npz",), is_one)


def page(name: str) -> Kind:
    """Return the kind of the HTML pages of this package."""

    def is_one(path: Path) -> bool:
        start = _start(path)
        return start.startswith(b"<!doctype html>") and b"MedDEL" in start

    return Kind(name, (".html", ".htm"), is_one)


def picture(name: str, mark: str) -> Kind:
    """Return the kind of PNGs that begin with this mark in a text of theirs."""

    def is_one(path: Path) -> bool:
        start = _start(path)
        return start.startswith(b"\x89PNG") and mark.encode() in start

    return Kind(name, (".png",), is_one)


def _is_list(path: Path) -> bool:
    """Tell a list of names from other text: no name comes twice, and prose has blanks in it."""
    lines = read_bytes(path).decode().splitlines()
    return len(set(lines)) == len(lines) and all(map(_is_name, lines))


def _is_name(line: str) -> bool:
    if not line.isprintable() or line.startswith(("#", "{", "[", "<")):
        return False
    is_image = Path(line).suffix.lower() in IMAGES | DICOMS or re.search(r"::[0-9]{6,}$", line)
    return line.split() == [line] or (line == line.strip() and bool(is_image))


RESULT = json_object("a result of evaluate", "images", "seed", "settings")


def folder_with(name: str, *marks: str) -> FolderKind:
    """Return the kind of folders in which one of these is as soon as anything is."""
    return FolderKind(name, lambda path: any(exists(join(path, mark)) for mark in marks))


NEW_FOLDER = FolderKind("a new folder", lambda path: False)
NAMES = Kind("a list of names", (".txt", ".lst", ".list"), _is_list)
"""A text file with a name a line."""


def check_output(path: StrPath, kind: Kind, inputs: Iterable[StrPath | None] = ()) -> None:
    """Refuse a place that a result of this kind must not take. To be called before any work.

    Devices, pipes and sockets are written through, links followed (see
    :func:`meddel_fast.common.atomic.atomic_path`).

    Parameters
    ----------
    path
        Where the result is to go.
    kind
        What it is.
    inputs
        Files and folders that it is made of, and other results that are written with it, there or
        not; None does not count.

    Raises
    ------
    ValueError
        The suffix is another format's, or `path` is an input, or lies in a folder that is one.
    FileExistsError
        Something is there that is no earlier result of this kind.
    OSError
        Nothing can be written there.
    """
    if is_remote(path):
        _check_remote_output(as_place(path), kind, inputs)
        return
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"wanted a file to write, {path} is a directory")
    _check_suffix(path, kind)
    _check_inputs(path, inputs)
    _check_replaced(path, kind)
    _check_parent(path)


@contextlib.contextmanager
def output_path(path: StrPath, kind: Kind) -> Iterator[Path]:
    """Yield a path to write a result of this kind to, as ``atomic_path`` does, where it may go.

    Raises
    ------
    ValueError, FileExistsError
        As :func:`check_output`; before anything is written.
    OSError
        As :func:`meddel_fast.common.atomic.atomic_path`.
    """
    _check_suffix(path, kind)
    if is_remote(path):
        _check_remote_replaced(as_place(path), kind)
    else:
        _check_replaced(Path(path), kind)
    with atomic_path(path) as temporary:
        yield temporary


def _check_replaced(path: Path, kind: Kind) -> None:
    """Refuse a place where something else stands than an earlier result of this kind."""
    try:
        found = path.stat()
    except OSError:
        return
    if stat.S_ISBLK(found.st_mode):
        raise FileExistsError(f"{path} is a disk: a result would take the place of what is on it")
    if not stat.S_ISREG(found.st_mode) or found.st_size == 0 or is_stream(path):
        return
    if not _holds(path, kind):
        raise FileExistsError(
            f"{path} is there and is not {kind.name}: choose another name, or remove it"
        )


def _check_remote_output(place: str, kind: Kind, inputs: Iterable[StrPath | None]) -> None:
    _check_suffix(place, kind)
    _check_remote_inputs(place, inputs)
    objects.check_writable(place)
    if objects.is_folder(place):
        raise IsADirectoryError(f"wanted a file to write, {shown(place)} is a folder")
    _check_remote_replaced(place, kind)


def _check_remote_inputs(place: str, inputs: Iterable[StrPath | None]) -> None:
    for given in [as_place(p) for p in inputs if p is not None and is_remote(p)]:
        if place == given:
            raise ValueError(
                f"{shown(place)} is an input of this very result, or another: choose a new name"
            )
        if place.startswith(given.rstrip("/") + "/"):
            raise ValueError(
                f"{shown(place)} lies in {shown(given)}, which is an input: choose another place"
            )


def _check_remote_replaced(place: str, kind: Kind) -> None:
    try:
        there = size(place) > 0
    except FileNotFoundError:
        return
    if there and not _holds(Path(place), kind):
        raise FileExistsError(
            f"{shown(place)} is there and is not {kind.name}: choose another name, or remove it"
        )


def _holds(path: Path, kind: Kind | FolderKind) -> bool:
    try:
        return kind.is_one(path)
    except (OSError, ValueError):
        return False


def check_folder(
    path: StrPath,
    kind: FolderKind,
    inputs: Iterable[StrPath | None] = (),
    *,
    remote: bool = False,
) -> None:
    """Refuse a folder that a result of this kind must not be written into; before any work.

    Parameters
    ----------
    path
        The folder, which need not be there.
    kind
        What it is to hold.
    inputs
        Files and folders that the result is made of.
    remote
        Whether it may be a URL.

    Raises
    ------
    ValueError
        `path` is an input, lies in one, or holds one; it is a URL and may be none.
    FileExistsError
        It holds something, but nothing of this kind.
    NotADirectoryError
        It is something else than a folder.
    """
    if remote and is_remote(path):
        _check_remote_folder(as_place(path), kind, inputs)
        return
    path = local_path(path, f"the folder of {kind.name}")
    _check_inputs(path, inputs)
    real = Path(os.path.realpath(path))
    for given in _given(inputs):
        if real in given.parents:
            raise ValueError(f"{path} holds the input {given}: choose another folder")
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f"{path} is no folder{why_no_file(path)}")
    if path.is_dir():
        inside = sorted(p.name for p in path.iterdir() if not p.name.startswith("."))
        if inside and not _holds(path, kind):
            raise FileExistsError(
                f"{path} is not empty and is not {kind.name}, it holds {', '.join(inside[:3])}: "
                "choose another folder"
            )
    _check_parent(path)


def _check_remote_folder(place: str, kind: FolderKind, inputs: Iterable[StrPath | None]) -> None:
    remote = [as_place(path) for path in inputs if path is not None and is_remote(path)]
    _check_remote_inputs(place, remote)
    for given in remote:
        if given.startswith(place.rstrip("/") + "/"):
            raise ValueError(
                f"{shown(place)} holds the input {shown(given)}: choose another folder"
            )
    objects.check_writable(join(place, ".check"))
    inside = list_files(place)
    if inside and not _holds(Path(place), kind):
        raise FileExistsError(
            f"{shown(place)} is not empty and is not {kind.name}, it holds "
            f"{', '.join(inside[:3])}: choose another folder"
        )


def _check_suffix(path: StrPath, kind: Kind) -> None:
    """Refuse what reads like another format; ``.05`` of a budget does not."""
    suffix = suffix_of(path).lower()
    known = not re.fullmatch(r"\.[a-z][a-z0-9]*", suffix) or suffix in kind.suffixes
    if not known and not is_stream(path):
        raise ValueError(
            f"{shown(path)} would hold {kind.name}, whose name ends in {' or '.join(kind.suffixes)}"
        )


def _check_inputs(path: Path, inputs: Iterable[StrPath | None]) -> None:
    real = Path(os.path.realpath(path))
    for given in _given(inputs):
        if real == given or (path.exists() and given.exists() and path.samefile(given)):
            raise ValueError(
                f"{path} is an input of this very result, or another: choose a new name"
            )
        if given.is_dir() and given in real.parents:
            raise ValueError(f"{path} lies in {given}, which is an input: choose another place")


def _given(inputs: Iterable[StrPath | None]) -> Sequence[Path]:
    return [Path(os.path.realpath(p)) for p in inputs if p is not None and not is_remote(p)]


def _check_parent(path: Path) -> None:
    """Say now what would be said at the end: that nothing can be written there."""
    if is_stream(path):
        return
    path = followed(path)
    above = next(p for p in (path.parent, *path.parent.parents) if os.path.lexists(p))
    if not above.is_dir():
        raise NotADirectoryError(f"{path} cannot be written: {above} is no folder")
    if not os.access(above, os.W_OK | os.X_OK):
        raise PermissionError(f"{path} cannot be written: {above} may not be changed")


def _start(path: Path) -> bytes:
    return read_bytes(path, 0, _START)

"""Files that are either whole or absent, and the hashes that tell whether they changed.

Everything the package leaves on disk passes through here: it is written beside its place, flushed
to the disk and renamed, so that a killed run never leaves half a file under a real name. What a
kill does leave is a hidden ``.tmp-*`` folder, which :func:`remove_leftovers` sweeps away.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from meddel_fast.pool import Pool

Progress = Callable[[int, int], None]
"""A stage reports ``progress(done, total)``; ``None`` in its place means silence."""


StrPath = str | os.PathLike[str]

_TEMPORARY_PREFIX = ".tmp-"
_READ_BLOCK = 1 << 20


@contextlib.contextmanager
def atomic_path(path: StrPath) -> Iterator[Path]:
    """Yield a path to write to; it becomes `path` when the block ends without an exception.

    The yielded path has the name (and so the suffix) of `path`, in a hidden folder beside it, so
    that writers that look at the suffix work and ``glob("*.json")`` never meets half a file.
    Missing parents are made. On an exception, Ctrl-C included, nothing is left and an earlier file
    at `path` stays as it was. An ``OSError`` of the block that names no file gets the name `path`.

    A link stays a link, and what it leads to is replaced; a device, a pipe, or whatever
    ``/dev/stdout`` is, is written to when the block has ended; an earlier file's permissions stay.

    Raises
    ------
    IsADirectoryError, NotADirectoryError
        `path` is a directory, or a folder that it should be in is something else; raised before
        anything is written.
    FileNotFoundError
        The block wrote nothing at the yielded path.
    """
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
    """
    path = Path(path)
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
    """Write `data` to `path` atomically."""
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
    text = json.dumps(value, default=_plain, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def read_json(path: StrPath) -> Any:
    """Read a JSON file.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is not JSON; the message names the file and the place.
    """
    try:
        return json.loads(Path(path).read_bytes())
    except ValueError as error:  # JSONDecodeError, and UnicodeDecodeError of binary files
        raise ValueError(f"{path} is not a JSON file: {error}") from error


State = tuple[int, int, int, int]


def state(path: StrPath) -> State:
    """Return what tells a file from another one, or from itself once written to.

    Its device and number there, its size, and when its content changed last.
    """
    found = os.stat(path)  # noqa: PTH116 - asked for at every read
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def sha256_file(path: StrPath) -> str:
    """SHA-256 of a file's content, as 64 hex digits."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(_READ_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def sha256_json(value: Any) -> str:
    """SHA-256 of a value's canonical JSON (sorted keys, no spaces, UTF-8), as 64 hex digits.

    Equal settings have equal hashes whatever the order of their keys. Takes what
    :func:`write_json` takes and raises what it raises.
    """
    text = json.dumps(
        value,
        default=_plain,
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        allow_nan=False,
    )
    return hashlib.sha256(text.encode()).hexdigest()


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, unless it is there.

    Raises
    ------
    NotADirectoryError
        It, or one above it, is something else; the message names it.
    """
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


def remove_leftovers(folder: StrPath) -> int:
    """Delete what killed writers left in `folder` and below; return how many there were.

    Only for a folder that nobody else is writing to at this moment. A folder that is absent holds
    none.
    """
    leftovers = [path for path in Path(folder).rglob(f"{_TEMPORARY_PREFIX}*") if path.is_dir()]
    for path in leftovers:
        shutil.rmtree(path, ignore_errors=True)
    return len(leftovers)


@contextlib.contextmanager
def _temporary_folder(parent: Path | None) -> Iterator[Path]:
    """Make a hidden folder in `parent`, or among the system's own, gone at the end of the block."""
    if parent is not None:
        make_folder(parent)
    folder = Path(tempfile.mkdtemp(prefix=_TEMPORARY_PREFIX, dir=parent))
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


def _plain(value: Any) -> Any:
    """Give the JSON form of what ``json`` does not know."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):  # numpy scalars and arrays, without importing numpy
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form: {value!r}")

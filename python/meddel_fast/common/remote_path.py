"""Remote places that travel as ``Path``: :class:`RemotePath`, and one listing of what lies below.

What is written for folders on a disk works on ``s3://bucket/folder`` too where it takes its paths
from :func:`path_of`.
"""

from __future__ import annotations

import io
import os
import posixpath
import re
import stat
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path, PosixPath
from typing import Any, NoReturn, TypeVar, cast

from meddel_fast.common import files, places
from meddel_fast.common.files import StrPath
from meddel_fast.common.read_ahead import held_state, read_range
from meddel_fast.common.urls import SCHEMES

F = TypeVar("F", bound=Callable[..., Any])

_CUT = re.compile(rf"^({'|'.join(SCHEMES)}):/(?!/)")  # a URL as pathlib leaves it
_URL = re.compile(rf"({'|'.join(SCHEMES)})://[^/]")
_SECRET = re.compile(
    r"[?&;](x-(?:amz|goog)-[\w-]+|sig|signature|token|awsaccesskeyid)=", re.IGNORECASE
)
_FRESH = 10.0  # seconds for which the state of a remote file is believed
_STATES = 4096  # of which the state is kept


class RemotePath(PosixPath):
    """The path of a file or folder that is on no disk: ``str(path)`` is its URL.

    It is no ``os.PathLike``: what would take it for a path of this machine's raises TypeError.
    Nothing can be written through it.
    """

    __slots__ = ()

    def __str__(self) -> str:
        return _CUT.sub(r"\1://", super().__str__(), count=1)

    def __repr__(self) -> str:
        return f"RemotePath({str(self)!r})"

    def __fspath__(self) -> NoReturn:
        raise TypeError(f"{self} is on no disk, and only a path on a disk can be used here")

    def state(self) -> places.State:
        """Give what tells the file from what it was before, its size first.

        As it was when it was read ahead; else it is asked for, at most every ten seconds.

        Raises
        ------
        OSError
            There is no such file, or the store does not answer.
        """
        return held_state(str(self)) or _STATE_OF.get(str(self))

    def size(self) -> int:
        """Give the bytes of the file: as they were listed, where they were; errors as `state`."""
        place = str(self)
        listing = _listing_of(place)
        return int(self.state()[0]) if listing is None else listing.size(place)

    def listed_size(self) -> int:
        """Give the bytes of the file as they were listed; -1 where nothing was."""
        place = str(self)
        listing = _listing_of(place)
        return -1 if listing is None else listing.size(place)

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Give the size, all else being that of a plain file; errors as `state`."""
        return os.stat_result((stat.S_IFREG | 0o444, 0, 0, 1, 0, 0, self.size(), 0, 0, 0))

    def exists(self, *, follow_symlinks: bool = True) -> bool:
        """Tell whether anything is there."""
        return self.is_file() or self.is_dir()

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """Tell whether it is a file."""
        try:
            self.size()
        except (FileNotFoundError, IsADirectoryError):
            return False
        return True

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Tell whether a file lies below it."""
        listing = _listing_of(str(self))
        return places.is_folder(str(self)) if listing is None else listing.has(str(self))

    def is_symlink(self) -> bool:
        """Say no."""
        return False

    def iterdir(self) -> Generator[RemotePath, None, None]:
        """Give what is in the folder."""
        folders, names = _listed(self).inside(str(self))
        yield from (self / name for name in dict.fromkeys([*folders, *names]))

    def resolve(self, strict: bool = False) -> RemotePath:
        """Give the path itself, with ``..`` followed."""
        return RemotePath(normal(self))

    def absolute(self) -> RemotePath:
        """Give the path itself."""
        return self

    def rglob(self, pattern: str, **_: Any) -> Iterator[RemotePath]:  # type: ignore[override]
        """Give all folders and files below; of patterns only ``*`` is known."""
        if pattern != "*":
            raise ValueError(f"pattern: wanted '*', got {pattern!r}")
        for parent, folders, names in walk(self):
            yield from (RemotePath(parent) / name for name in [*folders, *names])

    def open(self, mode: str = "r", *_: Any, **options: Any) -> Any:
        """Open the file to read: its text, or with "rb" its bytes, which are then read at once."""
        if mode not in ("r", "rt", "rb"):
            raise ValueError(f"mode: wanted one to read, got {mode!r} for {self}")
        data = io.BytesIO(self.read_bytes())
        return data if mode == "rb" else io.TextIOWrapper(data, **options)

    def read_bytes(self) -> bytes:
        """Read the whole file."""
        return read_range(str(self))


def path_of(place: StrPath) -> Path:
    """Give a place as a path: a URL as :class:`RemotePath`.

    That is also what `pathlib` has made of one (``s3:/bucket``), unless it is there on the disk.

    Raises
    ------
    ValueError
        It is a URL with what must not be written down: a query, a signature, a password.
    """
    if isinstance(place, RemotePath):
        return place
    text = os.fspath(place)
    if ":/" not in text or not places.is_remote(text):
        return place if isinstance(place, Path) else Path(text)
    url = places.as_place(text)
    check_secrets(url)
    return RemotePath(url)


def check_secrets(url: str) -> None:
    """Refuse a URL with a query, signature or token: results would keep it. It is not shown.

    Raises
    ------
    ValueError
        It has one.
    """
    if _SECRET.search(url) or ("?" in url and url.startswith("http")):
        raise ValueError(
            f"{url.partition('?')[0]} was given with a query, such as signs it, and results would "
            "keep it: give the URL without, credentials are taken from the environment"
        )


def is_remote(address: str) -> bool:
    """Tell whether what stands in an address is on no disk; faster than `places.is_remote`."""
    return "://" in address and _URL.match(address) is not None


def text_of(path: StrPath) -> str:
    """Give a path as text, a remote one as its URL."""
    return str(path) if isinstance(path, RemotePath) else os.fspath(path)


def normal(path: StrPath) -> str:
    """Follow ``..`` and ``.`` in a path, on a disk or not, without looking."""
    text = text_of(path)
    if not isinstance(path, RemotePath) and not places.is_remote(text):
        return os.path.normpath(text)
    scheme, _, rest = places.as_place(text).partition("://")
    return f"{scheme}://{posixpath.normpath('/' + rest).lstrip('/')}"


def relative(path: StrPath, base: StrPath) -> str:
    """Give the way from a folder to a path, both on a disk or both remote."""
    if isinstance(path, RemotePath) or isinstance(base, RemotePath) or ":/" in text_of(path):
        return posixpath.relpath("/" + text_of(path), "/" + text_of(base))
    return os.path.relpath(path, base)


def common_folder(folders: Sequence[Path]) -> Path:
    """Give the deepest folder that holds all of these.

    Raises
    ------
    ValueError
        Some are on a disk and others are not, or in another bucket.
    """
    if not any(isinstance(folder, RemotePath) for folder in folders):
        return Path(os.path.commonpath(folders))
    above = [[folder, *folder.parents] for folder in folders]
    shared = (p for p in above[0] if all(p in others for others in above))
    found = next((p for p in shared if isinstance(p, RemotePath) and len(p.parts) > 1), None)
    if found is None:
        told = ", ".join(sorted(map(str, folders)))
        raise ValueError(f"root: wanted folders of one disk or one bucket, got {told}")
    return found


class _Listing:
    """All files below a remote folder, or a file, as the store listed them once."""

    def __init__(self, root: str) -> None:
        self.root = root
        found = places.listing(root) if not _is_file(root) else None
        self.odd = () if found is None else found.odd
        self._sizes = {"": places.size(root)} if found is None else found.sizes
        self._names = list(self._sizes)

    def size(self, place: str) -> int:
        """Give a file's size as it was listed."""
        found = self._sizes.get(place[len(self.root) + 1 :])
        if found is None:
            raise FileNotFoundError(f"no file {place}")
        return found

    def has(self, folder: str) -> bool:
        """Tell whether a file lies below a folder."""
        start = self._below(folder)
        at = bisect_left(self._names, start or " ")
        return at < len(self._names) and self._names[at].startswith(start)

    def inside(self, folder: str) -> tuple[list[str], list[str]]:
        """Give the names of the folders and of the files in a folder, sorted."""
        start = self._below(folder)
        folders: list[str] = []
        names: list[str] = []
        at = bisect_left(self._names, start or " ")
        while at < len(self._names) and self._names[at].startswith(start):
            name, below, _ = self._names[at][len(start) :].partition("/")
            if below:
                folders.append(name)
                at = bisect_left(self._names, f"{start}{name}0", at)  # "0" follows "/"
            else:
                names.append(name)
                at += 1
        return sorted(folders), names

    def _below(self, folder: str) -> str:
        name = folder[len(self.root) + 1 :]
        return f"{name}/" if name else ""


def _is_file(place: str) -> bool:
    try:
        places.size(place)
    except (FileNotFoundError, IsADirectoryError):
        return False
    return True


class _States:
    """The states asked for last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, places.State]] = {}

    def get(self, place: str) -> places.State:
        now = time.monotonic()
        with self._lock:
            asked, found = self._known.get(place, (0.0, ()))
        if found and now - asked < _FRESH:
            return found
        found = places.state(place)
        with self._lock:
            self._known.pop(place, None)
            self._known[place] = (now, found)
            while len(self._known) > _STATES:
                del self._known[next(iter(self._known))]
        return found


_STATE_OF = _States()
_listings: list[_Listing] = []


@contextmanager
def listed(*roots: StrPath) -> Iterator[None]:
    """List remote folders once: in this block their files are those of the listing.

    Folders on a disk, and such as are listed already, cost nothing.
    """
    added: list[_Listing] = []
    try:
        for root in roots:
            path = path_of(root)
            if isinstance(path, RemotePath) and _listing_of(normal(path)) is None:
                added.append(_Listing(normal(path)))
                _listings.append(added[-1])
        yield
    finally:
        for listing in added:
            _listings.remove(listing)


def listing_once(function: F) -> F:
    """Make a function whose first argument is a root list it once, where it is remote."""

    @wraps(function)
    def call(root: Any, *args: Any, **options: Any) -> Any:
        with listed(*([root] if isinstance(root, (str, Path)) else root)):
            return function(root, *args, **options)

    return cast(F, call)


def _listing_of(place: str) -> _Listing | None:
    """Find the listing that speaks of a place."""
    for listing in reversed(_listings):
        if place == listing.root or place.startswith(f"{listing.root}/"):
            return listing
    return None


def _listed(path: RemotePath) -> _Listing:
    return _listing_of(str(path)) or _Listing(str(path))


def odd_keys(root: StrPath) -> Sequence[str]:
    """Give the names below a remote folder that no path has; there are none on a disk."""
    listing = _listing_of(text_of(root))
    return () if listing is None else listing.odd


def walk(
    root: StrPath, *, follow_links: bool = False
) -> Iterator[tuple[str, list[str], list[str]]]:
    """Walk as `files.walk`, in folders on a disk or remote ones."""
    path = path_of(root)
    if not isinstance(path, RemotePath):
        yield from files.walk(root, follow_links=follow_links)
        return
    listing, above = _listed(path), [str(path)]
    while above:
        parent = above.pop()
        folders, names = listing.inside(parent)
        yield parent, folders, names
        above += [f"{parent}/{name}" for name in reversed(folders)]

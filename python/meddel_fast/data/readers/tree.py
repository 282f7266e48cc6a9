"""The files of a data set by their place, and the samples that a layout finds among them."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Protocol

from meddel_fast.data.address import SUFFIXES, VIDEOS, ImageError, place
from meddel_fast.data.readers.names import plain_folders
from meddel_fast.data.readers.unpacked import parted
from meddel_fast.data.reading import is_inside
from meddel_fast.data.sources import Sampling, files, open_file
from meddel_fast.files import walk

MAX_TABLE = 256 << 20
"""Larger tables (CSV, JSON, text) are not read."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Sample:
    """An image and what a release tells about it.

    ``boxes`` are ``(x0, y0, x1, y1)`` as shares of the image's sides, or, not `relative`, in
    pixels; ``None`` where the release tells none. ``reason`` says why it cannot be used.
    """

    image: Path
    mask: Path | None = None
    split: str = ""
    group: str = ""
    frame: int = -1
    label: str | None = None
    boxes: tuple[Box, ...] | None = None
    relative: bool = False
    reason: str = ""


@dataclass(frozen=True)
class Item:
    """A file: its address, and the parts of its place, the data set's own folder the first.

    The parts are in Unicode's composed form, since a Mac stores names in another than the rest.
    ``log`` gets the address when it is read as a table.
    """

    path: Path
    parts: tuple[str, ...]
    log: set[Path] = field(default_factory=set, compare=False, repr=False)

    @property
    def stem(self) -> str:
        """The name without suffix."""
        return PurePosixPath(self.parts[-1]).stem

    @cached_property
    def suffix(self) -> str:
        """The suffix in lower case."""
        return PurePosixPath(self.parts[-1]).suffix.lower()


class Layout(Protocol):
    """A way in which a release, or a part of one, lies on disk."""

    def find(self, tree: Tree) -> list[Sample]:
        """Find the samples; none where the tree has another layout."""


class Tree:
    """All files below some folders and in some archives, sorted by place.

    ``images`` and ``videos`` are those by their suffix, everything else is a table; ``tables_read``
    those of them that :func:`read_text` was asked for; ``copies`` are members of archives that lie
    unpacked beside them (`readers.unpacked`) and are in no other list. With `by_name`, videos stand
    for themselves and are not opened.
    """

    def __init__(
        self, roots: Sequence[Path], sampling: Sampling | None = None, by_name: bool = False
    ) -> None:
        self.sampling = sampling or Sampling()
        self.tables_read: set[Path] = set()
        self.by_name = by_name
        items = []
        for root in roots:
            limits = [root.resolve()]
            for path in _walk(root):
                if not is_inside(path, limits) and path.suffix.lower() not in SUFFIXES:
                    continue  # what leads out of the data set: images are reported, others unread
                for found in files(path):
                    below = composed(os.path.relpath(place(found), root.parent))
                    items.append(Item(found, PurePosixPath(below).parts, self.tables_read))
        self.items, self.copies = parted(sorted(items, key=lambda item: item.parts))
        self.images = [item for item in self.items if item.suffix in SUFFIXES]
        self.videos = [item for item in self.items if item.suffix in VIDEOS]
        pictures = SUFFIXES | VIDEOS
        self._tables = [item for item in self.items if item.suffix not in pictures]

    def named(self, pattern: str) -> list[Item]:
        """Give the tables whose whole name matches a regular expression, in any case."""
        return [i for i in self._tables if re.fullmatch(pattern, i.parts[-1], re.IGNORECASE)]


def _walk(root: Path) -> Iterator[Path]:
    if root.is_file():
        yield root
        return
    for parent, below, names in walk(root):
        below[:] = sorted(name for name in below if not name.startswith("."))
        yield from (Path(parent) / name for name in names if not name.startswith("."))


def stem_of(path: Path) -> str:
    """Give the name without suffix of what an address leads to, in Unicode's composed form."""
    return PurePosixPath(composed(place(path))).stem


def composed(text: str) -> str:
    """Put text in Unicode's composed form, in which equal names are equal."""
    return unicodedata.normalize("NFC", text)


def inside(item: Item, folder: str) -> tuple[str, ...] | None:
    """Give the parts below a folder whose plain name matches `folder`, or None outside of it."""
    for at, part in enumerate(plain_folders(item.parts[:-1])):
        if re.fullmatch(folder, part):
            return item.parts[at + 1 :]
    return None


def read_text(item: Item) -> str:
    """Read a table, as UTF-8, in Unicode's composed form.

    Raises
    ------
    ImageError
        It is too large, or no text.
    """
    item.log.add(item.path)
    with open_file(item.path) as file:
        data = file.read(MAX_TABLE + 1)
    if len(data) > MAX_TABLE:
        raise ImageError(item.path, f"too large for a table: more than {MAX_TABLE} bytes")
    try:
        return composed(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ImageError(item.path, f"not text in UTF-8: {error}") from None

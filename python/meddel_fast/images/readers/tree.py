"""The files of a data set by their place, and the samples that a layout finds among them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from meddel_fast.common.remote_path import path_of, relative, walk
from meddel_fast.common.suffixes import IMAGES, VIDEOS
from meddel_fast.images.address import place
from meddel_fast.images.image_check import is_inside
from meddel_fast.images.readers.item import Item, composed
from meddel_fast.images.readers.unpacked_copies import parted
from meddel_fast.images.sources import Sampling, files

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


class Layout(Protocol):
    """A way in which a release, or a part of one, lies on disk."""

    def find(self, tree: Tree) -> list[Sample]:
        """Find the samples; none where the tree has another layout."""


class Tree:
    """All files below some folders and in some archives, sorted by place.

    ``images`` and ``videos`` are those by their suffix, everything else is a table; ``tables_read``
    those of them that :func:`~meddel_fast.images.readers.item.read_text` was asked for; ``copies``
    are members of archives that lie unpacked beside them (`unpacked_copies`) and are in no other
    list. With `by_name`, videos stand for themselves and are not opened.
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
                if not is_inside(path, limits) and path.suffix.lower() not in IMAGES:
                    continue  # what leads out of the data set: images are reported, others unread
                for found in files(path):
                    below = composed(relative(place(found), root.parent))
                    items.append(Item(found, PurePosixPath(below).parts, self.tables_read))
        self.items, self.copies = parted(sorted(items, key=lambda item: item.parts))
        self.images = [item for item in self.items if item.suffix in IMAGES]
        self.videos = [item for item in self.items if item.suffix in VIDEOS]
        pictures = IMAGES | VIDEOS
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
        yield from (path_of(parent) / name for name in names if not name.startswith("."))

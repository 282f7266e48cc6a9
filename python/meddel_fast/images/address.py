"""Addresses: a file of its own, or a part of one, under one notation.

========================  =============================================================
``images/1.png``          a file
``set.zip::images/1.png`` a member of a zip or an uncompressed tar
``a.zip::b.zip::1.png``   a member of an archive in an archive; one level, no deeper
``clip.mp4::000123``      frame 123 of a video, as a full decode shows them, from 0
``scan.dcm::000004``      frame 4 of a DICOM file; ``stack.tif::000004`` a page of a TIFF
``a.png||b.png``          masks only: the union of masks that lie in one folder
========================  =============================================================

A last part of digits alone is an index; six or more are written, so that the names sort. Addresses
travel as ``Path`` where files do, below a URL as `common.remote_path.RemotePath`. Files whose own
names hold ``::`` or ``||`` are not read.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from meddel_fast.common.files import StrPath
from meddel_fast.common.remote_path import path_of, text_of

PART, UNION = "::", "||"


class ImageError(ValueError):
    """A file, or a part of one, that is no usable image.

    Attributes
    ----------
    path
        The file, or the address of the part.
    reason
        What is wrong with it, in a few words.
    """

    def __init__(self, path: StrPath, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path_of(path)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True)
class Address:
    """A parsed address: the file on disk, the members passed on the way, and the index."""

    file: Path
    members: tuple[str, ...] = ()
    index: int | None = None

    @property
    def container(self) -> Path:
        """The address without its index."""
        return path_of(PART.join([str(self.file), *self.members]))

    @property
    def suffix(self) -> str:
        """The suffix, in lower case, of what holds the pixels."""
        return Path(self.members[-1] if self.members else self.file).suffix.lower()


def parse(path: StrPath) -> Address:
    """Take an address apart.

    Raises
    ------
    ImageError
        It leads through more than one archive in an archive.
    """
    file, *parts = text_of(path).split(PART)
    index = int(parts.pop()) if parts and re.fullmatch(r"[0-9]+", parts[-1]) else None
    if len(parts) > 2:
        raise ImageError(path, "archives in an archive are read one level deep, no deeper")
    return Address(path_of(file), tuple(parts), index)


def member(path: StrPath, name: str) -> Path:
    """Address a member of the archive at `path`."""
    return path_of(f"{text_of(path)}{PART}{name}")


def indexed(path: StrPath, index: int) -> Path:
    """Address a frame or page of the file at `path`."""
    return path_of(f"{text_of(path)}{PART}{index:06d}")


def union(path: StrPath) -> list[Path]:
    """Give the parts of a mask's address: ``folder/a.png||b.png`` are two files of one folder."""
    first, *others = text_of(path).split(UNION)
    head = first[: max(first.rfind("/") + 1, first.rfind(PART) + len(PART) if PART in first else 0)]
    return [path_of(first), *(path_of(head + other) for other in others)]


def place(path: StrPath) -> str:
    """Give the path as it would be, were archives, videos and stacks folders of their stem.

    ``images.zip::a/1.png`` and ``images/a/1.png`` have one place, so masks in a folder can belong
    to images in an archive; ``clip.mp4::000123`` is at ``clip/000123``.
    """
    *containers, last = text_of(path).split(PART)
    return "/".join([*(_without_suffix(part) for part in containers), last])


def _without_suffix(part: str) -> str:
    """Cut the suffix off, but not a number: DICOM files are named ``1.2.840.4``."""
    root, suffix = os.path.splitext(part)  # noqa: PTH122
    return part if suffix[1:].isdigit() else root

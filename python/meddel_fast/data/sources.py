"""Any address becomes bytes or an image; any file becomes the addresses of the images in it.

Safe to call from any thread. What stands for an image's content in a manifest is the SHA-256 of the
file's or member's bytes (`content_hash`). For a frame or page, whose decoded pixels may differ by a
bit between decoders, it is that of ``<SHA-256 of the file that holds it>::<index>`` (`part_hash`).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from meddel_fast.data import dicom, video
from meddel_fast.data.address import (
    ARCHIVES,
    DICOMS,
    HOLDERS,
    PAGED,
    PART,
    SUFFIXES,
    VIDEOS,
    Address,
    ImageError,
    indexed,
    member,
    parse,
)
from meddel_fast.data.archive import Archive, open_archive, state
from meddel_fast.extras import needs
from meddel_fast.files import StrPath

with needs("benchmark"):
    from PIL import Image


@dataclass(frozen=True)
class Sampling:
    """Which frames of a video a scan takes: every `stride`-th, and of these only changed ones.

    `scene` is the least change from the frame taken last, 0 to 1; see
    :func:`meddel_fast.data.video.scenes`.
    """

    stride: int = video.STRIDE
    scene: float = 0.0

    def __post_init__(self) -> None:
        if self.stride < 1:
            raise ValueError(f"stride: wanted at least 1 frame, got {self.stride}")
        if not 0 <= self.scene < 1:
            raise ValueError(f"scene: wanted a change in [0, 1), got {self.scene}")


def open_file(path: StrPath) -> BinaryIO:
    """Open what an address without index leads to, as a seekable binary file.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ImageError
        A member is absent, refused or damaged; see :mod:`meddel_fast.data.archive`.
    """
    address = parse(path)
    if not address.members:
        return address.file.open("rb")
    inner = address.members[0] if len(address.members) == 2 else None
    return open_archive(address.file, inner).open(address.members[-1])


def read_bytes(path: StrPath) -> bytes:
    """Read what an address without index leads to; errors as for :func:`open_file`."""
    with open_file(path) as file:
        return file.read()


@contextlib.contextmanager
def open_image(path: StrPath) -> Iterator[Image.Image]:
    """Open the image at any address; of a container without index, its first frame or page.

    Raises
    ------
    ImageError, FileNotFoundError
        As for :func:`open_file`; also a frame or page that is not there.
    Exception
        What Pillow raises on a broken file.
    """
    address = parse(path)
    number = address.index or 0
    if address.suffix in VIDEOS:
        image = video.load(path, *_clip(address), number)
        image.format = "VIDEO"
        yield image
    elif address.suffix in DICOMS:
        with open_file(address.container) as file:
            image = dicom.load(file, path, number)
        yield image
    else:
        with open_file(address.container) as file, Image.open(file) as image:
            if number:
                _turn_to(image, number, path)
            yield image


def _turn_to(image: Image.Image, number: int, path: StrPath) -> None:
    pages = int(getattr(image, "n_frames", 1))
    if number >= pages:
        raise ImageError(path, f"no page {number}, the file has {pages}")
    image.seek(number)


def _clip(address: Address) -> tuple[tuple[object, ...], video.Opener]:
    """Give what :mod:`meddel_fast.data.video` needs to find or open a video."""
    key = (*state(address.file), *address.members)
    return key, lambda: open_file(address.container) if address.members else str(address.file)


def units(path: Path, sampling: Sampling, below: str = "") -> list[Path]:
    """List the images that a file holds, by address.

    An image is itself; an archive gives the units of its members (hidden ones passed over, refused
    ones included, so that they are reported); a video the frames of `sampling`; DICOM and TIFF
    files their frames or pages, a TIFF only when all have one size, since others hold thumbnails.
    A container that cannot be read is listed itself: what reads it then says why. Of an archive
    only the members below the folder `below` count.
    """
    try:
        address = parse(path)
        if address.suffix in ARCHIVES:
            return _members(path, address, sampling, below)
        if address.suffix in VIDEOS:
            chosen = video.scenes(path, *_clip(address), sampling.stride, sampling.scene)
            return [indexed(path, number) for number in chosen]
        if address.suffix in DICOMS or address.suffix in PAGED:
            count = frame_count(path)
            return [path] if count == 1 else [indexed(path, number) for number in range(count)]
    except (ImageError, OSError):
        pass
    return [path]


def _members(path: Path, address: Address, sampling: Sampling, below: str) -> list[Path]:
    """List the units of an archive's members."""
    if len(address.members) > 1:
        return [path]  # deeper than archives are read, which is said when it is opened
    archive = open_archive(address.file, *address.members)
    found: list[Path] = []
    for name in shown(archive):
        if is_known(name) and (not below or name.startswith(f"{below}/")):
            where = member(path, name)
            found += [where] if name in archive.refused else units(where, sampling)
    return found


def files(path: Path) -> list[Path]:
    """List what a file holds, by address: itself, or an archive's members, one level deep.

    Of any kind, hidden ones passed over. An archive that cannot be read is listed itself.
    """
    try:
        address = parse(path)
        if address.suffix not in ARCHIVES or len(address.members) > 1:
            return [path]
        archive = open_archive(address.file, *address.members)
    except (ImageError, OSError):
        return [path]
    found: list[Path] = []
    for name in shown(archive):
        where = member(path, name)
        found += [where] if name in archive.refused else files(where)
    return found


def shown(archive: Archive) -> list[str]:
    """Sort the names of an archive, without hidden files and what a Mac adds."""
    return sorted(
        name
        for name in [*archive.names, *archive.refused]
        if not name.startswith("__MACOSX/")
        and not any(part.startswith(".") and part != ".." for part in name.split("/"))
    )


def is_refused(path: Path) -> bool:
    """Tell whether an address leads to a member that its archive refuses to give."""
    try:
        address = parse(path)
        if not address.members:
            return False
        inner = address.members[0] if len(address.members) == 2 else None
        return address.members[-1] in open_archive(address.file, inner).refused
    except (ImageError, OSError):  # no member, but a file whose own name looks like one
        return False


def is_known(name: StrPath) -> bool:
    """Tell by the suffix whether a file is an image or holds images."""
    return os.path.splitext(name)[1].lower() in SUFFIXES | HOLDERS  # noqa: PTH122 - may be no path


def frame_count(path: StrPath) -> int:
    """Count the frames of a video or DICOM file, or the pages of a TIFF; 1 for any other file.

    A TIFF counts as 1 unless all pages have one size: others hold thumbnails, or scales.
    """
    address = parse(path)
    return _frame_count(address, *state(address.file))


@lru_cache(maxsize=1024)  # asked for by every page
def _frame_count(address: Address, *state: object) -> int:
    path = address.container
    if address.suffix in VIDEOS:
        return video.count(path, *_clip(address))
    with open_file(path) as file:
        return dicom.count(file, path) if address.suffix in DICOMS else _pages(file)


def _pages(file: BinaryIO) -> int:
    try:
        with Image.open(file) as image:
            pages, size = int(getattr(image, "n_frames", 1)), image.size
            for number in range(1, pages):
                image.seek(number)
                if image.size != size:
                    return 1
            return pages
    except Exception:  # broken in a way of Pillow's own: what decodes it will say so
        return 1


def content_hash(path: StrPath) -> tuple[str, int]:
    """Hash the content of an address without index: SHA-256 and size in bytes."""
    address = parse(path)
    return _content_hash(address, *state(address.file))


@lru_cache(maxsize=1024)  # every frame of a video asks for the same
def _content_hash(address: Address, *state: object) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with open_file(address.container) as file:
        while block := file.read(1 << 20):
            digest.update(block)
            size += len(block)
    return digest.hexdigest(), size


def part_hash(path: StrPath) -> tuple[str, int]:
    """Hash a frame or page: see the head of this file; its size is an even share of the file's."""
    address = parse(path)
    whole, size = content_hash(address.container)
    return hash_of_part(whole, address.index or 0), size // frame_count(path)


def hash_of_part(whole: str, index: int) -> str:
    """Hash a frame or page of a file whose hash is `whole`."""
    return hashlib.sha256(f"{whole}{PART}{index:06d}".encode()).hexdigest()

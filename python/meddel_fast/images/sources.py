"""Any address becomes bytes or an image; any file becomes the addresses of the images in it.

Safe to call from any thread. What stands for an image's content in a manifest is the SHA-256 of the
file's or member's bytes (`content_hash`). For a frame or page, whose decoded pixels may differ by a
bit between decoders, it is that of ``<SHA-256 of the file that holds it>::<index>`` (`part_hash`).
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from meddel_fast.common.extras import needs
from meddel_fast.common.files import StrPath
from meddel_fast.common.remote_path import RemotePath, path_of
from meddel_fast.common.suffixes import ARCHIVES, DICOMS, HOLDERS, IMAGES, PAGED, VIDEOS
from meddel_fast.images.address import PART, Address, ImageError, indexed, member, parse
from meddel_fast.images.archive import Archive, open_archive, state
from meddel_fast.images.formats import dicom_head, picture_files, tiff, video
from meddel_fast.images.formats.dicom import Scan
from meddel_fast.images.known_members import read_known
from meddel_fast.images.remote_files import open_remote, raise_outage

with needs("benchmark"):
    from PIL import Image


@dataclass(frozen=True)
class Sampling:
    """Which frames of a video a scan takes: every `stride`-th, and of these only changed ones.

    `scene` is the least change from the frame taken last, 0 to 1; see
    :func:`meddel_fast.images.formats.video.scenes`.
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
        A member is absent, refused or damaged; see :mod:`meddel_fast.images.archive`.
    """
    address = parse(path)
    remote = address.file if isinstance(address.file, RemotePath) else None
    if not address.members:
        return open_remote(remote) if remote else address.file.open("rb")
    if remote and (found := read_known(remote, address.members)) is not None:
        return found
    inner = address.members[0] if len(address.members) == 2 else None
    return open_archive(address.file, inner).open(address.members[-1])


def read_bytes(path: StrPath) -> bytes:
    """Read what an address without index leads to; errors as for :func:`open_file`."""
    with open_file(path) as file:
        return file.read()


@contextlib.contextmanager
def open_image(path: StrPath) -> Iterator[Image.Image]:
    """Open the image at any address; of a container without index, its first frame or page.

    Of 8 bits, or scaled to them where it is deep (:mod:`meddel_fast.images.formats.picture_files`).

    Raises
    ------
    ImageError, FileNotFoundError
        As for :func:`open_file`; also a frame or page that is not there, or a kind not read.
    Exception
        What Pillow, tifffile and imagecodecs raise on a broken file.
    """
    address = parse(path)
    number = address.index or 0
    kind = holder(address)
    if kind == "video":
        yield load_frame(path)
        return
    with open_file(address.container) as file:
        if kind == "dicom":
            yield Scan(file, path).picture(number)
        else:
            with picture_files.open_picture(file, path, number) as image:
                yield image


def load_frame(path: StrPath) -> Image.Image:
    """Decode the frame of a video, also of one inside DICOM; errors as for :func:`open_image`."""
    address = parse(path)
    with _told(address, path):
        image = video.load(path, *_clip(address), address.index or 0)
    image.format = "VIDEO"
    return image


@contextlib.contextmanager
def _told(address: Address, path: StrPath) -> Iterator[None]:
    """Make a missing PyAV a reason where a file of DICOM holds a video: the others need none."""
    try:
        yield
    except ModuleNotFoundError as error:
        if address.suffix in VIDEOS:
            raise
        raise ImageError(path, str(error).removeprefix("this ")) from None


def holder(address: Address) -> str:
    """Tell what holds the pixels: an "archive", a "video", "dicom", or "" for a plain image.

    By the suffix; where that is DICOM's or says nothing, by the first bytes. Videos inside DICOM
    are videos.
    """
    suffix = address.suffix
    if suffix in ARCHIVES:
        return "archive"
    if suffix in VIDEOS:
        return "video"
    if suffix in IMAGES or (suffix not in DICOMS and not _may_be_dicom(address)):
        return ""
    try:  # a pipe would be waited for
        head = _head(address, *state(address.file)) if address.file.is_file() else b""
    except (OSError, ImageError) as error:
        raise_outage(error)
        head = b""
    if dicom_head.is_video(head):
        return "video"
    return "dicom" if suffix in DICOMS or dicom_head.is_dicom(head) else ""


def _may_be_dicom(address: Address) -> bool:
    """Tell whether a name without a known suffix is worth a look into the file.

    On disk every one is. A member of an archive may have to be unpacked for it: only where its
    suffix is none or a number, as in ``IM000001`` and ``1.2.840.4``.
    """
    return not address.members or not re.search(r"[^.0-9]", address.suffix)


@lru_cache(maxsize=4096)
def _head(address: Address, *state: object) -> bytes:
    with open_file(address.container) as file:
        return file.read(dicom_head.HEAD)


def _clip(address: Address) -> tuple[tuple[object, ...], video.Opener]:
    """Give what :mod:`meddel_fast.images.formats.video` needs to find or open a video."""
    key = (*state(address.file), *address.members)
    if address.suffix in VIDEOS:
        on_disk = not address.members and not isinstance(address.file, RemotePath)
        return key, lambda: str(address.file) if on_disk else open_file(address.container)

    def from_dicom() -> BinaryIO:
        with open_file(address.container) as file:
            return Scan(file, address.container).video()

    return key, from_dicom


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
        kind = holder(address)
        if kind == "archive":
            return _members(path, address, sampling, below)
        if kind == "video":
            with _told(address, path):
                chosen = video.scenes(path, *_clip(address), sampling.stride, sampling.scene)
                return [indexed(path, number) for number in chosen]
        if kind == "dicom" or address.suffix in PAGED:
            count = frame_count(path)
            return [path] if count == 1 else [indexed(path, number) for number in range(count)]
    except (ImageError, OSError) as error:
        raise_outage(error)
    return [path]


def _members(path: Path, address: Address, sampling: Sampling, below: str) -> list[Path]:
    """List the units of an archive's members."""
    if len(address.members) > 1:
        return [path]  # deeper than archives are read, which is said when it is opened
    archive = open_archive(address.file, *address.members)
    found: list[Path] = []
    for name in shown(archive):
        where = member(path, name)
        if (not below or name.startswith(f"{below}/")) and is_known(where):
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
    except (ImageError, OSError) as error:
        raise_outage(error)
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
    except (ImageError, OSError) as error:  # no member, but a file whose name looks like one
        raise_outage(error)
        return False


def is_known(path: StrPath) -> bool:
    """Tell whether the file at an address is an image or holds images.

    By the suffix; where that says nothing, whether it begins as DICOM does.
    """
    try:
        address = parse(path)
    except ImageError:  # a file's own name that looks like an address: it is told when it is read
        return path_of(path).suffix.lower() in IMAGES | HOLDERS
    return address.suffix in IMAGES | HOLDERS or bool(holder(address))


def frame_count(path: StrPath) -> int:
    """Count the frames of a video or DICOM file, or the pages of a TIFF; 1 for any other file.

    A TIFF counts as 1 unless all pages have one size: others hold thumbnails, or scales.
    """
    address = parse(path)
    return _frame_count(address, *state(address.file))


@lru_cache(maxsize=1024)  # asked for by every page
def _frame_count(address: Address, *state: object) -> int:
    path, kind = address.container, holder(address)
    if kind == "video":
        with _told(address, path):
            return video.count(path, *_clip(address))
    with open_file(path) as file:
        return Scan(file, path).count() if kind == "dicom" else _pages(file)


def _pages(file: BinaryIO) -> int:
    try:
        tiff.check_pages(file, "")
        return tiff.count(file)
    except ImportError:
        raise
    except Exception as error:  # broken: what decodes it will say so
        raise_outage(error)
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

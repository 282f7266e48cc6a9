"""Image files are hashed and decoded in full, so that a broken one is known before a long run."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from meddel_fast.common.files import Progress
from meddel_fast.common.hashes import sha256_file
from meddel_fast.common.pool import call_all
from meddel_fast.common.remote_path import RemotePath
from meddel_fast.common.suffixes import ARCHIVES
from meddel_fast.images.address import PART, UNION, Address, parse, union
from meddel_fast.images.archive import open_archive, place_in_tar
from meddel_fast.images.load_images import ImageError, ImageInfo, examine, examine_part
from meddel_fast.images.load_masks import count
from meddel_fast.images.look_alikes import Look, look
from meddel_fast.images.masks.census import Census, MaskError
from meddel_fast.images.prefetch import reading
from meddel_fast.images.remote_files import raise_outage
from meddel_fast.images.sources import content_hash, hash_of_part, holder, part_hash, read_bytes

READ = "read"
"""Key of a row under which its files lie (image and mask): no column; `accounting` asks it."""
MAX_BYTES = 1 << 30
"""Larger files are not decoded."""

_UNKNOWN = ImageInfo(0, 0, "")


@dataclass(frozen=True)
class File:
    """An image or mask, and what we learned about it."""

    path: Path
    sha256: str = ""
    size: int = 0
    info: ImageInfo = _UNKNOWN
    reason: str = ""
    look: Look | None = field(default=None, compare=False)


def read_all(
    images: dict[str, Path],
    masks: dict[str, Path],
    limits: Sequence[Path],
    workers: int | None,
    progress: Progress | None,
    census: Census | None = None,
    looks: bool = False,
) -> dict[str, tuple[File, File | None]]:
    """Read and check all files with a pool of threads; Pillow decodes without the GIL.

    What sound masks hold is counted in `census`; with `looks`, what the sound images look like is
    kept too (`look_alikes`).
    """

    def read(number: int, stem: str) -> tuple[str, File, File | None]:
        with ahead.using(number):
            image, mask = read_one(images[stem], limits), masks.get(stem)
            if looks and not image.reason:
                image = replace(image, look=look(image.path))
            return stem, image, read_mask(mask, limits, census)

    files = [(path, masks.get(stem)) for stem, path in images.items()]
    with warnings.catch_warnings(), reading(files) as ahead:
        warnings.simplefilter("ignore")  # what Pillow warns of, the rows say
        found = call_all(read, list(enumerate(images)), workers, progress)
    return {stem: (image, mask) for stem, image, mask in found}


def read_mask(path: Path | None, limits: Sequence[Path], census: Census | None) -> File | None:
    """Read a mask as :func:`read_one` does, and count what it holds."""
    if path is None:
        return None
    found = read_one(path, limits)
    if census is not None and not found.reason:
        try:
            count(census, path)
        except ImageError as error:
            return replace(found, reason=error.reason)
    return found


def read_one(path: Path, limits: Sequence[Path] = ()) -> File:
    """Hash and decode one file, or part of one, or a union of masks.

    With `limits`, only what lies below one of them, links followed.
    """
    try:
        if UNION in path.name and not path.exists():
            return _joined(path, [read_one(part, limits) for part in union(path)])
        if (PART in str(path) or UNION in str(path)) and path.exists():
            return File(path, reason=f"name holds {PART} or {UNION}")
        address = parse(path)
        if limits and not is_inside(address.file, limits):
            return File(path, reason="link out of the data set")
        if not address.file.is_file():
            missing = "broken link" if address.file.is_symlink() else "not a file"
            return File(path, reason=missing)
        if holder(address) or address.index is not None:
            return _read_held(path, address)
        if not address.members and (size := path.stat().st_size) > MAX_BYTES:
            return File(path, sha256_file(path), size, reason=f"too large: {size} bytes")
        data = read_bytes(path)
    except ImageError as error:
        return File(path, reason=error.reason)
    except OSError as error:
        raise_outage(error)
        return File(path, reason=f"cannot be read: {error.strerror or error}")
    digest = hashlib.sha256(data).hexdigest()
    try:
        return File(path, digest, len(data), examine(data, path))
    except ImageError as error:
        return File(path, digest, len(data), reason=error.reason)


def _read_held(path: Path, address: Address) -> File:
    """Hash and decode a frame or page, or say why nothing could be listed from a container."""
    if address.suffix in ARCHIVES:
        if len(address.members) > 1:
            return File(path, reason="archives in an archive are read one level deep, no deeper")
        open_archive(address.file, *address.members)
        return File(path, reason="no image in the archive")
    digest, size = content_hash(path) if address.index is None else part_hash(path)
    return File(path, digest, size, examine_part(path))


def content(path: Path) -> str:
    """Hash what an address leads to now: what a manifest has of it, unless it has changed since.

    Raises
    ------
    FileNotFoundError, ImageError
        It is not there any more.
    """
    if UNION in path.name and not path.exists():
        return _joined_hash([content(part) for part in union(path)])
    whole, index = content_hash(path)[0], parse(path).index
    return whole if index is None else hash_of_part(whole, index)


def _joined_hash(hashes: Sequence[str]) -> str:
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


def _joined(path: Path, parts: Sequence[File]) -> File:
    """Make one file of the masks of a union: they must be sound and of one size."""
    digest = _joined_hash([part.sha256 for part in parts])
    size = sum(part.size for part in parts)
    bad = next((f"{part.path.name}: {part.reason}" for part in parts if part.reason), "")
    sides = {(part.info.width, part.info.height) for part in parts}
    if not bad and len(sides) > 1:
        bad = f"parts of different sizes: {sorted(sides)}"
    return File(path, digest, size, parts[0].info, bad)


def index_of(path: Path) -> int | None:
    """Give the index of a frame or page; None for whole files, those of a forbidden name too."""
    try:
        return parse(path).index
    except ImageError:
        return None


def is_inside(path: Path, limits: Sequence[Path]) -> bool:
    """Tell whether a path is no link, or one that stays below one of `limits`."""
    if not path.is_symlink():  # folders that are links were not walked into
        return True
    real = Path(os.path.realpath(path))  # unlike resolve, takes links that run in a circle
    return any(limit in real.parents for limit in limits)


def unfit(info: ImageInfo, mask: File | None, min_size: int, require_masks: bool) -> str:
    """Say why a sound image cannot be used, or nothing."""
    size = f"{info.width}x{info.height}"
    if min(info.width, info.height) < min_size:
        return f"tiny: {size}"
    if mask is None:
        return "no mask" if require_masks else ""
    if mask.reason:
        return f"mask: {mask.reason}"
    across = (mask.info.height, mask.info.width) == (info.width, info.height)
    if across and info.width != info.height:
        return f"mask: lies across the image, {mask.info.width}x{mask.info.height} on {size}"
    return ""


def settle_masks(
    rows: list[dict[str, Any]], census: Census, given: Mapping[str, Any] | None
) -> None:
    """Write into the rows with a mask what the masks of this data set mean.

    Raises
    ------
    MaskError
        They have no one meaning, and `given` says none.
    """
    masked = [row for row in rows if row["mask"] is not None and row["status"] == "ok"]
    if not masked:
        return
    try:
        meaning = census.settle(given).to_json()
    except MaskError as error:
        raise MaskError(f"masks: {error}") from None
    for row in masked:
        row["mask_meaning"] = meaning


def make_row(
    root: Path, image: File, mask: File | None, reason: str, told: Mapping[str, Any]
) -> dict[str, Any]:
    """Make the manifest's row of an image; `told` holds the columns that no file tells."""
    read = (image, mask)
    if not _is_utf8(image.path) or (mask and not _is_utf8(mask.path)):
        reason, mask = "name is not UTF-8", None
    relative = _escaped(image.path.relative_to(root).as_posix())
    return {
        "id": relative,
        "image": relative,
        "mask": mask and mask.path.relative_to(root).as_posix(),
        "sha256": image.sha256,
        "mask_sha256": mask and mask.sha256,
        "bytes": image.size,
        "width": image.info.width,
        "height": image.info.height,
        "mode": image.info.mode,
        "status": "skipped" if reason else "ok",
        "reason": reason,
        READ: read,
        **_in_tar(image, mask),
        **{name: _escaped(v) if isinstance(v, str) else v for name, v in told.items()},
    }


def _in_tar(image: File, mask: File | None) -> dict[str, Any]:
    """Tell where in a remote tar an image and its mask lie: columns `manifest.IN_TARS`."""
    if not isinstance(image.path, RemotePath) or image.reason:
        return {}
    state, start, _ = place_in_tar(image.path)
    told: dict[str, Any] = {"tar": state, "image_at": start}
    if mask is not None and not mask.reason:
        of, start, size = place_in_tar(mask.path)
        told |= {"mask_at": start, "mask_bytes": size} if of == state else {}
    return told if state else {}


def _escaped(name: str) -> str:
    """Write a name, or what was made of one, that is no UTF-8 with its bytes escaped."""
    return name.encode(errors="backslashreplace").decode()


def _is_utf8(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:  # bytes that are no UTF-8, smuggled through by the file system
        return False
    return True

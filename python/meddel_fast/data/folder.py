"""A folder of images, with masks or without, becomes a manifest."""

from __future__ import annotations

import hashlib
import os
import threading
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meddel_fast.data.images import SUFFIXES, ImageError, ImageInfo, examine
from meddel_fast.data.manifest import Manifest
from meddel_fast.data.splits import Splits, deal_splits, plain_stem
from meddel_fast.files import Progress, StrPath, sha256_file

MAX_BYTES = 1 << 30
"""Larger files are not decoded."""

_EXAMPLES = 3
_UNKNOWN = ImageInfo(0, 0, "")


@dataclass(frozen=True)
class _File:
    """A file below ``images/`` or ``masks/``, and what we learned about it."""

    path: Path
    sha256: str = ""
    size: int = 0
    info: ImageInfo = _UNKNOWN
    reason: str = ""


def scan_folder(
    root: StrPath,
    *,
    name: str | None = None,
    splits: StrPath | None = None,
    require_masks: bool = False,
    min_size: int = 16,
    follow_links: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """Read a data set from ``root/images`` and ``root/masks``.

    Every file is read once: hashed, and decoded in full, so that a broken one is known before a
    long run meets it. Images are found in sub-folders too; hidden files and files without an image
    suffix are passed over. A mask belongs to the image with the same path but for the suffix.

    An image that cannot be used stays in the manifest with status "skipped" and a reason: empty,
    truncated, broken, no image, tiny, too large, a link out of the data set, a name that is not
    UTF-8, a bad mask, a mask that lies across the image (sides swapped: one of the two was
    turned), no mask though `require_masks`, not listed in `splits`, or listed but absent.

    Parameters
    ----------
    root
        Folder that holds ``images`` and, unless the data set has none, ``masks``.
    name
        Name of the data set; the folder's name if not given.
    splits
        CSV file with the columns ``file`` and ``split`` (train, val, test) and optionally ``group``
        (or ``sequence``) and ``frame``. ``file`` is a bare name, matched by stem, or a path from
        the CSV's folder. ``root/splits.csv`` is used if none is given and it exists. Without
        either, 80/10/10 are dealt by a hash that keeps whole sub-folders, and copies of one file,
        in one split (:func:`meddel_fast.data.splits.deal_splits`); the sub-folder is the group.
    require_masks
        Skip images without a mask.
    min_size
        Skip images with a side below this many pixels.
    follow_links
        Read links that lead out of the data set. Off by default: a report shows images, and a
        foreign data set should not choose which of your files it shows.
    workers
        Threads; all cores if not given.
    progress
        Called as ``progress(done, total)`` after every image.

    Returns
    -------
    Manifest
        Rows sorted by id, which is the image's path from `root`.

    Raises
    ------
    FileNotFoundError
        `root`, its ``images`` (or ``masks``, though required), or the splits file is absent.
    ValueError
        No image is there or none can be used, two images (or masks) share a stem, no mask fits
        any image, no image is listed in the splits file, or an argument is out of range.
    """
    root = Path(root)
    _check(min_size, workers)
    images, masks = _pairs(root.resolve(), follow_links, require_masks)
    table = _splits_file(root.resolve(), splits)
    if table is not None and not any(table.find(path) for path in images.values()):
        raise ValueError(
            f"splits: no image of {root / 'images'} is listed in {table.path}; images here are "
            f"like {_some(path.name for path in images.values())}"
        )
    roots = [root.resolve(), *((root / part).resolve() for part in ("images", "masks"))]
    limits = [] if follow_links else roots
    scanned = _read_all(images, masks, limits, workers, progress)
    rows = [
        _row(root.resolve(), stem, image, mask, table, min_size, require_masks)
        for stem, (image, mask) in scanned.items()
    ]
    if table is None:
        _deal(rows)
    else:
        rows += [_missing_row(stem, table) for stem in table.missing(set(images))]
    if not any(row["status"] == "ok" for row in rows):
        reasons = Counter(row["reason"].split(":")[0] for row in rows).most_common(_EXAMPLES)
        told = ", ".join(f"{count} {reason}" for reason, count in reasons)
        raise ValueError(f"root: none of the {len(rows)} images of {root} can be used ({told})")
    return Manifest.from_rows(name or root.resolve().name, root, rows)


def _check(min_size: int, workers: int | None) -> None:
    if min_size < 1:
        raise ValueError(f"min_size: wanted at least 1 pixel, got {min_size}")
    if workers is not None and workers < 1:
        raise ValueError(f"workers: wanted at least 1 thread, got {workers}")


def _pairs(
    root: Path, follow_links: bool, require_masks: bool
) -> tuple[dict[str, Path], dict[str, Path]]:
    """Find images and masks by stem, and refuse a folder that cannot be meant."""
    if not root.is_dir():
        raise FileNotFoundError(f"root: no folder {root}")
    for part in ["images", "masks"] if require_masks else ["images"]:
        if not (root / part).is_dir():
            inside = _some(sorted(path.name for path in root.iterdir())) or "nothing"
            raise FileNotFoundError(f"root: wanted a folder {part} in {root}, it has {inside}")
    images = _by_stem(root / "images", follow_links)
    if not images:
        known = " ".join(sorted(SUFFIXES))
        raise ValueError(f"root: no image files in {root / 'images'} (known: {known})")
    if not (root / "masks").is_dir():
        return images, {}
    masks = _by_stem(root / "masks", follow_links)
    if not images.keys() & masks.keys():
        raise ValueError(
            f"root: no mask fits an image by its stem in {root}: images like {_some(images)}, "
            f"masks like {_some(masks) or 'none'}"
        )
    return images, masks


def _by_stem(folder: Path, follow_links: bool) -> dict[str, Path]:
    """Find image files by their path below `folder` without the suffix."""
    found: dict[str, Path] = {}
    for path in _walk(folder, follow_links):
        stem = plain_stem(path.relative_to(folder).as_posix())
        if stem in found:
            raise ValueError(
                f"root: wanted one image a stem in {folder}, got {found[stem].name} and {path.name}"
            )
        found[stem] = path
    return found


def _walk(folder: Path, follow_links: bool) -> Iterator[Path]:
    seen = set()
    for parent, below, names in os.walk(folder, followlinks=follow_links):
        real = os.path.realpath(parent)
        if real in seen:  # links may run in a circle
            below.clear()
            continue
        seen.add(real)
        below[:] = sorted(part for part in below if not part.startswith("."))
        for name in sorted(names):
            path = Path(parent) / name
            if not name.startswith(".") and path.suffix.lower() in SUFFIXES:
                yield path


def _some(names: Any) -> str:
    return ", ".join(sorted(str(name) for name in names)[:_EXAMPLES])


def _splits_file(root: Path, splits: StrPath | None) -> Splits | None:
    own = root / "splits.csv"
    if splits is None and not own.is_file():
        return None
    return Splits(own if splits is None else Path(splits), root, root / "images")


def _read_all(
    images: dict[str, Path],
    masks: dict[str, Path],
    limits: Sequence[Path],
    workers: int | None,
    progress: Progress | None,
) -> dict[str, tuple[_File, _File | None]]:
    """Read and check all files with a pool of threads; Pillow decodes without the GIL."""
    stop = threading.Event()

    def read(stem: str) -> tuple[str, _File, _File | None]:
        if stop.is_set():
            raise InterruptedError
        mask = masks.get(stem)
        return stem, _read(images[stem], limits), _read(mask, limits) if mask else None

    scanned: dict[str, tuple[_File, _File | None]] = {}
    pool = ThreadPoolExecutor(workers or os.cpu_count() or 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Pillow warns of, the rows say
            for future in as_completed([pool.submit(read, stem) for stem in images]):
                stem, image, mask = future.result()
                scanned[stem] = (image, mask)
                if progress:
                    progress(len(scanned), len(images))
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
    return scanned


def _read(path: Path, limits: Sequence[Path]) -> _File:
    """Hash and decode one file in one read."""
    try:
        if limits and not _is_inside(path, limits):
            return _File(path, reason="link out of the data set")
        if not path.is_file():
            return _File(path, reason="broken link" if path.is_symlink() else "not a file")
        size = path.stat().st_size
        if size > MAX_BYTES:
            return _File(path, sha256_file(path), size, reason=f"too large: {size} bytes")
        data = path.read_bytes()
    except OSError as error:
        return _File(path, reason=f"cannot be read: {error.strerror or error}")
    digest = hashlib.sha256(data).hexdigest()
    try:
        return _File(path, digest, len(data), examine(data, path))
    except ImageError as error:
        return _File(path, digest, len(data), reason=error.reason)


def _is_inside(path: Path, limits: Sequence[Path]) -> bool:
    if not path.is_symlink():  # folders that are links were not walked into
        return True
    real = path.resolve()
    return any(limit in real.parents for limit in limits)


def _row(
    root: Path,
    stem: str,
    image: _File,
    mask: _File | None,
    splits: Splits | None,
    min_size: int,
    require_masks: bool,
) -> dict[str, Any]:
    listing = splits.find(image.path) if splits else None
    reason = image.reason or _unfit(image.info, mask, min_size, require_masks)
    if splits is not None and listing is None:
        reason = reason or f"not listed in {splits.path.name}"
    if not _is_utf8(image.path) or (mask and not _is_utf8(mask.path)):
        reason, mask = "name is not UTF-8", None
    relative = _readable(image.path.relative_to(root))
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
        "split": listing.split if listing else "",
        "group": listing.group if listing else stem.rpartition("/")[0],
        "frame": listing.frame if listing else -1,
        "status": "skipped" if reason else "ok",
        "reason": reason,
    }


def _unfit(info: ImageInfo, mask: _File | None, min_size: int, require_masks: bool) -> str:
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


def _is_utf8(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:  # bytes that are no UTF-8, smuggled through by the file system
        return False
    return True


def _readable(path: Path) -> str:
    return path.as_posix().encode(errors="backslashreplace").decode()


def _missing_row(stem: str, splits: Splits) -> dict[str, Any]:
    place = f"images/{stem}"
    empty = {"sha256": "", "mode": "", "split": "", "group": "", "mask": None, "mask_sha256": None}
    numbers = {"bytes": 0, "width": 0, "height": 0, "frame": -1}
    reason = f"missing: listed in {splits.path.name}"
    return {"id": place, "image": place, "status": "skipped", "reason": reason, **empty, **numbers}


def _deal(rows: list[dict[str, Any]]) -> None:
    """Deal the usable rows into splits: whole groups, and copies of one file, together."""
    usable = [row for row in rows if row["status"] == "ok"]
    keys = [f"group {row['group']}" if row["group"] else row["sha256"] for row in usable]
    for row, split in zip(usable, deal_splits(keys), strict=True):
        row["split"] = split

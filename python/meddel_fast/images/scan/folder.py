"""A folder of images, with masks or without, becomes a manifest."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from meddel_fast.common.files import Progress, StrPath
from meddel_fast.common.remote_path import RemotePath, listing_once, path_of, relative, walk
from meddel_fast.common.suffixes import ARCHIVES, IMAGES
from meddel_fast.images.address import PART, ImageError, member, parse, place
from meddel_fast.images.archive import open_archive
from meddel_fast.images.image_check import (
    File,
    index_of,
    is_inside,
    make_row,
    read_all,
    settle_masks,
    unfit,
)
from meddel_fast.images.left_out import LeftOut, reason_kind
from meddel_fast.images.manifest import Manifest
from meddel_fast.images.masks.census import Census
from meddel_fast.images.scan.accounting import account, is_packed
from meddel_fast.images.scan.assign_splits import assign, needs_looks
from meddel_fast.images.sources import Sampling, is_known, is_refused, shown, units
from meddel_fast.images.splits import Dealing, Splits, plain_stem

_EXAMPLES = 3


@listing_once
def scan_folder(
    root: StrPath,
    *,
    name: str | None = None,
    splits: StrPath | None = None,
    require_masks: bool = False,
    min_size: int = 16,
    follow_links: bool = False,
    sampling: Sampling | None = None,
    mask: Mapping[str, Any] | None = None,
    dealing: Dealing | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """Read a data set from ``root/images`` and ``root/masks``.

    Every file is read once: hashed, and decoded in full, so that a broken one is known before a
    long run meets it. Images are found in sub-folders too; hidden files and files without an image
    suffix are passed over. A mask belongs to the image with the same path but for the suffix. What
    is in no row is counted, in the manifest's ``left_out``.

    Archives (zip, tar), videos, and TIFF and DICOM files of many frames are read in place, each as
    if it were a folder named by its stem (:mod:`meddel_fast.images.address`): `root` may be an
    archive, ``images.zip`` may stand for ``images``, and ``images/clip.mp4`` holds the images
    ``images/clip/000000`` and so on, which are one group.

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
        (or ``sequence``, ``patient``) and ``frame``. ``file`` is a bare name, matched by stem, or a
        path from the CSV's folder. ``root/splits.csv`` is used if none is given and it exists.
        Without either, and where the file gives groups alone, 80/10/10 are dealt by a hash
        (:func:`meddel_fast.images.splits.deal_splits`). Whole components stay in one split: of
        groups (the sub-folder, where nothing else tells), of equal files, and of images that look
        alike (:func:`meddel_fast.images.look_alikes.alike`) where no group is known.
    require_masks
        Skip images without a mask.
    min_size
        Skip images with a side below this many pixels.
    follow_links
        Read links that lead out of the data set. Off by default: a report shows images, and a
        foreign data set should not choose which of your files it shows.
    sampling
        Which frames of a video are taken; every 25th if not given.
    mask
        What the numbers in masks mean (:func:`meddel_fast.images.masks.rule.parse_mask`); told from
        all masks of the set if not given.
    dealing
        How images get a split that no list gives them.
    workers
        Threads; all cores if not given.
    progress
        Called as ``progress(done, total)`` after every image.

    Returns
    -------
    Manifest
        Rows sorted by id, which is the image's path from `root`; its notes say how the splits
        came about.

    Raises
    ------
    FileNotFoundError
        `root`, its ``images`` (or ``masks``, though required), or the splits file is absent.
    ValueError
        No image is there or none can be used, two images (or masks) share a stem, no mask fits
        any image, no image is listed in the splits file, the masks have no one meaning, or an
        argument is out of range.
    PermissionError
        A folder cannot be listed.
    """
    root = path_of(root)
    _check(min_size, workers)
    whole = root.resolve()
    found = _Found(whole, follow_links, sampling or Sampling())
    images, masks = _pairs(found, require_masks)
    base = whole.parent if whole.is_file() else whole
    table = _splits_file(whole, splits, found.folder)
    if table is not None and not any(table.find(path) for path in images.values()):
        raise ValueError(
            f"splits: no image of {root / 'images'} is listed in {table.path}; images here are "
            f"like {_some(path.name for path in images.values())}"
        )
    dealing = dealing or Dealing()
    listed = table.path.name if table is not None and table.gives_splits else ""
    if listed and dealing.is_whole:
        raise ValueError(f"split: wanted none, {table.path} gives splits")  # type: ignore[union-attr]
    groups = {
        stem: dealing.group_of(relative(path, base))
        or (table is not None and table.group_of(path))
        or stem.rpartition("/")[0]
        for stem, path in images.items()
    }
    looks = needs_looks(dealing, [*groups.values()], listed)
    census = Census()
    scanned = read_all(images, masks, found.limits, workers, progress, census, looks)
    rows = [
        _row(base, groups[stem], image, truth, table, min_size, require_masks)
        for stem, (image, truth) in scanned.items()
    ]
    settle_masks(rows, census, mask)
    notes = assign(
        rows,
        [image.look for image, _ in scanned.values()],
        dealing,
        listed=listed,
        more=[] if table is None else table.columns([images[stem] for stem in scanned]),
        threads=workers,
    )
    if table is not None:
        rows += [_missing_row(stem, table) for stem in table.missing(set(images))]
    left_out = account(base, rows, [whole], splits=table, follow_links=follow_links)
    return finished(name or whole.name, base, rows, left_out, notes)


def _check(min_size: int, workers: int | None) -> None:
    if min_size < 1:
        raise ValueError(f"min_size: wanted at least 1 pixel, got {min_size}")
    if workers is not None and workers < 1:
        raise ValueError(f"workers: wanted at least 1 thread, got {workers}")


@listing_once
def has_images(root: Path) -> bool:
    """Tell whether a folder or archive has the part ``images``."""
    if not root.exists() or (root.is_file() and root.suffix.lower() not in ARCHIVES):
        return False
    return _Found(root.resolve(), False, Sampling()).part("images") is not None


class _Found:
    """The images and the masks of a data set: folders, archives, or folders in an archive."""

    def __init__(self, root: Path, follow_links: bool, sampling: Sampling) -> None:
        if not root.is_dir() and not (root.is_file() and root.suffix.lower() in ARCHIVES):
            raise FileNotFoundError(f"root: no folder {root}")
        self.root, self.follow_links, self.sampling = root, follow_links, sampling
        roots = [root, *((root / part).resolve() for part in ("images", "masks"))]
        self.limits = [] if follow_links else roots if root.is_dir() else [root.parent]

    @property
    def folder(self) -> Path:
        """Where the images are, or would be were archives folders."""
        return path_of(self.base(self.part("images") or self.root / "images"))

    def base(self, folder: Path) -> str:
        """Give the place below which a part's images lie.

        That of ``masks.zip`` is ``masks``, or ``masks/masks`` where the folder itself was packed.
        """
        if PART in str(folder):
            return place(folder)
        if not folder.is_file():
            return str(folder)
        try:
            names = [name for name in shown(open_archive(folder)) if is_known(name)]
        except ImageError:  # broken: a row will say so
            names = []
        packed = names and all(name.startswith(f"{folder.stem}/") for name in names)
        return str(folder.with_suffix("") / (folder.stem if packed else ""))

    def part(self, name: str) -> Path | None:
        """Find the folder `name`, or the archive in its stead."""
        if self.root.is_file():
            folders = {
                parent
                for name_inside in open_archive(self.root).names
                for parent in PurePosixPath(name_inside).parents
                if parent.name == name
            }
            nearest = min(folders, key=lambda folder: (len(folder.parts), folder), default=None)
            return None if nearest is None else member(self.root, nearest.as_posix())
        choices = [self.root / name, *(self.root / f"{name}{end}" for end in sorted(ARCHIVES))]
        return next((path for path in choices if path.is_dir() or path.is_file()), None)

    def inside(self) -> list[str]:
        """Name what the root holds."""
        if self.root.is_file():
            return open_archive(self.root).names
        return [path.name for path in self.root.iterdir()]

    def by_stem(self, folder: Path) -> dict[str, Path]:
        """Find images by their path below `folder` without the suffix."""
        found: dict[str, Path] = {}
        base = self.base(folder)
        for path in self._all(folder):
            stem = plain_stem(relative(place(path), base))
            if is_refused(path):
                stem = str(path)  # a row of its own, wherever its name would lead
            if stem in found:
                raise ValueError(
                    f"root: wanted one image a stem in {folder}, got {found[stem].name} and "
                    f"{path.name}"
                )
            found[stem] = path
        return found

    def _all(self, folder: Path) -> Iterator[Path]:
        if PART in str(folder):
            yield from units(self.root, self.sampling, parse(folder).members[0])
            return
        for path in [folder] if folder.is_file() else _walk(folder, self.follow_links):
            held = not self.limits or is_inside(path, self.limits)
            yield from units(path, self.sampling) if held and path.is_file() else [path]


def _pairs(found: _Found, require_masks: bool) -> tuple[dict[str, Path], dict[str, Path]]:
    """Find images and masks by stem, and refuse a folder that cannot be meant."""
    root = found.root
    where = {part: found.part(part) for part in ("images", "masks")}
    for part in ["images", "masks"] if require_masks else ["images"]:
        if where[part] is None:
            raise FileNotFoundError(
                f"root: wanted a folder {part} in {root}, it has {inside(found.inside())}"
            )
    images = found.by_stem(where["images"] or root)
    if not images:
        known = " ".join(sorted(IMAGES))
        raise ValueError(f"root: no image files in {where['images']} (known: {known})")
    if where["masks"] is None:
        return images, {}
    masks = found.by_stem(where["masks"])
    if not images.keys() & masks.keys():
        raise ValueError(
            f"root: no mask fits an image by its stem in {root}: images like {_some(images)}, "
            f"masks like {_some(masks) or 'none'}"
        )
    return images, masks


def _walk(folder: Path, follow_links: bool) -> Iterator[Path]:
    seen = set()
    for parent, below, names in walk(folder, follow_links=follow_links):
        here = path_of(parent)
        real = parent if isinstance(here, RemotePath) else os.path.realpath(parent)
        if real in seen:  # links may run in a circle
            below.clear()
            continue
        seen.add(real)
        below[:] = sorted(part for part in below if not part.startswith("."))
        for name in sorted(names):
            path = here / name
            if not name.startswith(".") and is_known(path):
                yield path


def _some(names: Any) -> str:
    return ", ".join(sorted(str(name) for name in names)[:_EXAMPLES])


def inside(names: Sequence[str]) -> str:
    """Name the first of what a folder holds, and what in it has to be unpacked first."""
    packed = _some(name for name in names if is_packed(name))
    return (_some(names) or "nothing") + (f" ({packed}: unpack first)" if packed else "")


def _splits_file(root: Path, splits: StrPath | None, images: Path) -> Splits | None:
    own = root / "splits.csv"
    if splits is None and not own.is_file():
        return None
    base = root if root.is_dir() else root.parent
    return Splits(own if splits is None else path_of(splits), base, images)


def _row(
    root: Path,
    group: str,
    image: File,
    mask: File | None,
    splits: Splits | None,
    min_size: int,
    require_masks: bool,
) -> dict[str, Any]:
    listing = splits.find(image.path) if splits else None
    index = index_of(image.path)
    frame = listing.frame if listing else -1
    reason = image.reason or unfit(image.info, mask, min_size, require_masks)
    if splits is not None and splits.gives_splits and listing is None:
        reason = reason or f"not listed in {splits.path.name}"
    told = {
        "split": listing.split if listing else "",
        "group": group,
        "frame": frame if frame >= 0 or index is None else index,
    }
    return make_row(root, image, mask, reason, told)


def _missing_row(stem: str, splits: Splits) -> dict[str, Any]:
    place = f"images/{stem}"
    empty = {"sha256": "", "mode": "", "split": "", "group": "", "mask": None, "mask_sha256": None}
    numbers = {"bytes": 0, "width": 0, "height": 0, "frame": -1}
    reason = f"missing: listed in {splits.path.name}"
    return {"id": place, "image": place, "status": "skipped", "reason": reason, **empty, **numbers}


def finished(
    name: str,
    root: Path,
    rows: Sequence[Mapping[str, Any]],
    left_out: LeftOut,
    notes: Sequence[str] = (),
) -> Manifest:
    """Make the manifest of a scan, unless none of its images can be used."""
    if not any(row["status"] == "ok" for row in rows):
        reasons = Counter(reason_kind(row["reason"]) for row in rows).most_common(_EXAMPLES)
        told = ", ".join(f"{count} {reason}" for reason, count in reasons)
        raise ValueError(f"root: none of the {len(rows)} images of {root} can be used ({told})")
    return replace(Manifest.from_rows(name, root, rows), left_out=left_out, notes=tuple(notes))

"""A data set of the registry becomes a manifest."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from meddel_fast.common.files import Progress, StrPath
from meddel_fast.common.remote_path import common_folder, listed, path_of, relative
from meddel_fast.images.address import place
from meddel_fast.images.datadel.data_set import DataSet, Part
from meddel_fast.images.datadel.registry import known_set
from meddel_fast.images.image_check import File, index_of, make_row, read_all, settle_masks, unfit
from meddel_fast.images.manifest import Manifest
from meddel_fast.images.masks.census import Census
from meddel_fast.images.readers.tree import Sample, Tree
from meddel_fast.images.scan.accounting import account
from meddel_fast.images.scan.assign_splits import assign, needs_looks
from meddel_fast.images.scan.folder import finished
from meddel_fast.images.sources import Sampling
from meddel_fast.images.splits import Dealing, Splits


@dataclass(frozen=True)
class FoundPart:
    """The samples of one part of a data set; none where it is not there."""

    part: Part
    samples: list[Sample]


def find_parts(data: DataSet, tree: Tree) -> list[FoundPart]:
    """Find the samples of each part, by the first of its layouts that fits.

    Where no part is found, the parts of copies that are sorted in another way are looked for.

    Parameters
    ----------
    data
        What to look for.
    tree
        The files of the folders or archives that hold it.

    Raises
    ------
    ImageError
        A table (CSV, JSON, text) of the release is broken.
    """
    found: list[FoundPart] = []
    for parts in (data.parts, *data.copies):
        found = [FoundPart(part, part.find(tree)) for part in parts]
        if any(each.samples for each in found):
            return found
    return [FoundPart(part, []) for part in data.parts]


def scan_set(
    root: StrPath | Sequence[Path],
    key: str,
    *,
    name: str | None = None,
    splits: StrPath | None = None,
    require_masks: bool = False,
    sampling: Sampling | None = None,
    min_size: int = 16,
    mask: Mapping[str, Any] | None = None,
    dealing: Dealing | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """Read a data set of the registry from the folder or archive of its release.

    Splits are those of `splits`, else the release's own. Without either, a set that the registry
    knows as a test set is all for testing, and the others are dealt as by
    :func:`meddel_fast.images.scan.folder.scan_folder`.

    Parameters
    ----------
    root
        Folder or archive of the data set, or several in one folder. Where there is nothing at a
        path, what has a name of the set beside it is read.
    key
        Its key in the registry.
    name
        Name of the manifest; the key if not given.
    splits
        CSV file as for ``scan_folder``.
    require_masks
        Skip images without a mask.
    sampling
        Which frames of videos are taken.
    min_size
        Skip images with a side below this many pixels.
    mask
        What the numbers in masks mean (:func:`meddel_fast.images.masks.rule.parse_mask`); what the
        registry says if not given, else told from all masks of the set.
    dealing
        How images get a split that no list gives them.
    workers
        Threads; all cores if not given.
    progress
        Called as ``progress(done, total)`` after every image.

    Returns
    -------
    Manifest
        With labels, boxes and groups as far as the release tells them.

    Raises
    ------
    FileNotFoundError
        There is nothing at `root`.
    ValueError
        The key is unknown, no layout of the set fits what is there, a table of the release is
        broken, the masks have no one meaning, or no image can be used.
    """
    data = known_set(key)
    roots = data.places(root) if isinstance(root, (str, os.PathLike)) else list(root)
    roots = [path.resolve() for path in roots]
    with listed(*roots):
        for path in roots:
            if not path.exists():
                raise FileNotFoundError(f"root: no folder or archive {path}")
        tree = Tree(roots, sampling)
        found = find_parts(data, tree)
        samples = [sample for each in found for sample in each.samples]
        if not samples:
            named = ", ".join(map(str, roots))
            raise ValueError(f"root: {named} has no layout of {data.key} ({data.layout})")
        single = len(roots) == 1 and roots[0].is_dir()
        base = roots[0] if single else common_folder([path.parent for path in roots])
        dealing = dealing or Dealing()
        table = listed_splits(splits, base, samples, dealing, data.key)
        notes: list[str] = []
        census = Census()
        rows = rows_of(
            samples,
            base,
            table=table,
            require_masks=require_masks,
            min_size=min_size,
            dealing=dealing if dealing.split else replace(dealing, split=data.split),
            notes=notes,
            census=census,
            workers=workers,
            progress=progress,
        )
        settle_masks(rows, census, data.mask if mask is None else mask)
        copies = {str(item.path) for item in tree.copies}
        left_out = account(
            base, rows, roots, tables=tree.tables_read, splits=table, unpacked=copies
        )
        return finished(name or data.key, base, rows, left_out, notes)


def listed_splits(
    splits: StrPath | None, base: Path, samples: Sequence[Sample], dealing: Dealing, named: str
) -> Splits | None:
    """Open a list of splits, if there is one; `named` is what else may give samples splits.

    Raises
    ------
    ValueError
        All samples are to get one split, and the list or the samples tell theirs.
    """
    table = None
    if splits is not None:
        table = Splits(path_of(splits), base, path_of(place(samples[0].image)).parent)
    told = any(sample.split for sample in samples) or (table is not None and table.gives_splits)
    if dealing.is_whole and told:
        raise ValueError(f"split: wanted none, {table.path if table else named} gives splits")
    return table


def rows_of(
    samples: Sequence[Sample],
    root: Path,
    *,
    table: Splits | None = None,
    require_masks: bool = False,
    min_size: int = 16,
    census: Census | None = None,
    dealing: Dealing | None = None,
    notes: list[str] | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Read the images and masks of samples, and make a manifest's rows of them.

    What masks hold is counted in `census`; what it comes to is not in the rows yet.
    How the splits came about is added to `notes`.
    """
    by_id = {str(sample.image): sample for sample in samples}
    there = {key: sample for key, sample in by_id.items() if not sample.reason}
    images = {key: sample.image for key, sample in there.items()}
    masks = {key: sample.mask for key, sample in there.items() if sample.mask is not None}
    dealing = dealing or Dealing()
    listed = "the release" if any(sample.split for sample in samples) else ""
    if table is not None and table.gives_splits:
        listed = table.path.name
    groups = {
        key: dealing.group_of(relative(sample.image, root))
        or (table is not None and table.group_of(sample.image))
        or sample.group
        for key, sample in by_id.items()
    }
    looks = needs_looks(dealing, [*groups.values()], listed)
    read = read_all(images, masks, [root], workers, progress, census, looks)
    rows, seen = [], []
    for key, sample in by_id.items():
        image, truth = read.get(key, (File(sample.image, reason=sample.reason), None))
        reason = image.reason or unfit(image.info, truth, min_size, require_masks)
        told = _told(sample, image, table, groups[key])
        if listed and not told["split"]:
            reason = reason or f"not listed in {table.path.name if table else 'a split'}"
        rows.append(make_row(root, image, truth, reason, told))
        seen.append(image.look)
    columns = [] if table is None else table.columns([s.image for s in by_id.values()])
    said = assign(rows, seen, dealing, listed=listed, more=columns, threads=workers)
    if notes is not None:
        notes += said
    return rows


def _told(sample: Sample, image: File, table: Splits | None, group: str) -> dict[str, Any]:
    index = index_of(sample.image)
    told: dict[str, Any] = {
        "split": sample.split,
        "group": group,
        "frame": sample.frame if sample.frame >= 0 or index is None else index,
        "label": sample.label,
        "boxes": None,
    }
    if sample.boxes is not None and image.info.width:
        sides = (image.info.width, image.info.height) * 2 if sample.relative else (1.0,) * 4
        scaled = [[v * s for v, s in zip(box, sides, strict=True)] for box in sample.boxes]
        told["boxes"] = json.dumps([[_short(v) for v in box] for box in scaled])
    if table is not None:
        listing = table.find(sample.image)
        if table.gives_splits:
            told["split"] = listing.split if listing else ""
        if listing and listing.group and (listing.frame >= 0 or index is None):
            told["frame"] = listing.frame
    return told


def _short(value: float) -> int | float:
    """Write whole pixels as such: shares of a side come back with rounding errors."""
    near = round(value, 3)
    return int(near) if near == int(near) else near

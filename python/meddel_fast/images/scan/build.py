"""One manifest of what is there: a folder of images, a data set of the registry, or many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from meddel_fast.common.files import Progress, StrPath
from meddel_fast.common.remote_path import listing_once, path_of
from meddel_fast.images.datadel.registry import collections, data_sets, located
from meddel_fast.images.left_out import LeftOut
from meddel_fast.images.manifest import Manifest
from meddel_fast.images.scan.accounting import account
from meddel_fast.images.scan.datadel_set import scan_set
from meddel_fast.images.scan.folder import has_images, inside, scan_folder
from meddel_fast.images.scan.webdataset import are_shards, scan_shards
from meddel_fast.images.shared_images import equal_files
from meddel_fast.images.sources import Sampling
from meddel_fast.images.splits import Dealing


@listing_once
def scan(root: StrPath, key: str = "", **options: Any) -> Manifest:
    """Read one data set: by the registry's reader for `key`, else by what `root` looks like.

    Parameters
    ----------
    root
        A folder or archive with ``images`` (:func:`~meddel_fast.images.scan.folder.scan_folder`),
        or WebDataset tars (:func:`~meddel_fast.images.scan.webdataset.scan_shards`).
    key
        Data set of the registry (:func:`~meddel_fast.images.scan.datadel_set.scan_set`).
    **options
        Those of the reader that it comes to.

    Raises
    ------
    FileNotFoundError, ValueError
        As the reader.
    TypeError
        The reader has no such option.
    """
    if key:
        return scan_set(root, key, **options)
    path = path_of(root)
    if path.exists() and not has_images(path) and are_shards(path):
        options.pop("sampling", None)  # there are no videos in shards
        if options.pop("splits", None) is not None:
            raise ValueError("splits: WebDataset tars are dealt into splits, no file is read")
        return scan_shards(root, **options)
    return scan_folder(root, **options)


@listing_once
def looks_plain(root: Path) -> bool:
    """Tell whether `root` is one data set by itself, not a folder of data sets of the registry."""
    if not root.is_dir():
        return True
    if any(data.find(root).where == (root.resolve(),) for data in collections().values()):
        return False  # part of one, which knows what it is for
    if has_images(root):
        return True
    return are_shards(root) and not any(data.locate(root) for data in data_sets().values())


@listing_once
def build(
    root: StrPath,
    keys: Sequence[str] | None = None,
    *,
    name: str = "datadel",
    sampling: Sampling | None = None,
    dealing: Dealing | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """Make one manifest of the registry's data sets that lie below `root`.

    Ids are ``<key>/<path>``. A set that is there but in no layout of its own stops the work. What
    lies beside the sets, or in them and in no row, is counted in the manifest's ``left_out``.

    Parameters
    ----------
    root
        Folder that holds the data sets, each a folder or archive named like it.
    keys
        Data sets to read; those that are there if not given, and collections of them, each image
        once (:func:`meddel_fast.images.datadel.registry.located`).
    name
        Name of the manifest.
    sampling
        Which frames of videos are taken.
    dealing
        How images get a split that no list gives them.
    workers
        Threads; all cores if not given.
    progress
        Called as ``progress(done, total)`` after every image, anew for each set.

    Raises
    ------
    FileNotFoundError
        A set that was asked for is not there, or none is.
    ValueError
        As for :func:`~meddel_fast.images.scan.datadel_set.scan_set`.
    """
    root = path_of(root).resolve()
    if not root.is_dir():
        raise FileNotFoundError(f"root: no folder {root}")
    places = {key: list(place.where) for key, place in located(root, keys).items()}
    absent = [key for key, where in places.items() if not where]
    if keys is not None and absent:
        raise FileNotFoundError(f"root: no folder or archive of {', '.join(absent)} in {root}")
    if len(absent) == len(places):
        raise FileNotFoundError(
            f"root: wanted a folder images, WebDataset tars, or data sets of the registry by name "
            f"in {root}; it has {inside([path.name for path in root.iterdir()])}"
        )
    parts = [
        scan_set(where, key, sampling=sampling, dealing=dealing, workers=workers, progress=progress)
        for key, where in places.items()
        if where
    ]
    joint = Manifest.concat(parts, name)
    without = {place for where in places.values() for place in where}
    beside = account(root, [], [root], without=without)
    told = [part for part in (joint.left_out, beside) if part is not None]
    notes = joint.notes
    across = [len({split for _, split in images}) > 1 for images in equal_files(joint)]
    if len(parts) > 1 and any(across):
        notes += (f"{sum(across)} files lie in more than one split of the sets together",)
    return replace(joint, left_out=LeftOut.joined(told), notes=notes)

"""Which file of a folder is the prediction of which image of a manifest.

A file is an image's by its path below the folder, or else by its name alone. Suffixes do not count,
nor do the folders that only tell images and masks apart: ``Kvasir/1.npy`` is the prediction of
``Kvasir/images/1.jpg``, and so is ``1.png`` where no other image is called ``1``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from meddel_fast.common.files import walk
from meddel_fast.common.suffixes import IMAGES

if TYPE_CHECKING:
    from meddel_fast.images.manifest import Manifest

SUFFIXES = IMAGES | {".npy"}
_SHOWN = 5  # names in a message
_TELL_APART = ("image", "images", "mask", "masks", "imgs", "gt")


@dataclass(frozen=True)
class Matches:
    """The predictions found, and what is wrong with them.

    Attributes
    ----------
    files
        The file of each image, in the order of the manifest's rows; None where there is none.
    elsewhere
        Files that belong to images of other splits: nothing is wrong with them.
    extra
        Files that belong to no image.
    ambiguous
        What could belong to several: a line each.
    """

    files: list[Path | None]
    elsewhere: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    ambiguous: list[str] = field(default_factory=list)


def find(folder: Path) -> list[Path]:
    """List the files below a folder that may be predictions, by their suffixes.

    Raises
    ------
    FileNotFoundError
        There is no such folder, or no such file in it.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"predictions must be a folder, there is none at {folder}")
    found = [
        Path(where, name)
        for where, _, names in walk(folder, follow_links=True)
        for name in names
        if Path(name).suffix.lower() in SUFFIXES and not name.startswith(".")
    ]
    if not found:
        raise FileNotFoundError(f"predictions must be images or .npy files, {folder} has none")
    return sorted(found)


def match(folder: Path, files: Iterable[Path], rows: Manifest, others: Manifest) -> Matches:
    """Give each image its prediction.

    Parameters
    ----------
    folder
        What paths of predictions are relative to.
    files
        The predictions.
    rows
        The images that are tested on.
    others
        The rest of the data set: what is predicted of it is left aside.
    """
    listed = {path.relative_to(folder).as_posix(): path for path in files}
    taken = _by_name(listed, rows)
    beside = _by_name([name for name in listed if not taken.by_file[name]], others)
    found: list[Path | None] = []
    ambiguous = []
    for row, names in zip(rows.ids, taken.by_row, strict=True):
        if len(names) > 1:
            ambiguous.append(f"{row} could be {listing(names)}")
        found.append(listed[names[0]] if len(names) == 1 else None)
    for name, places in taken.by_file.items():
        if len(places) > 1:
            ambiguous.append(f"{name} could be of {listing([rows.ids[i] for i in places])}")
    free = [name for name in listed if not taken.by_file[name]]
    return Matches(
        found,
        [name for name in free if beside.by_file[name]],
        [name for name in free if not beside.by_file[name]],
        ambiguous,
    )


def listing(names: Sequence[str]) -> str:
    """Write some names, and how many more there are."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


@dataclass(frozen=True)
class _Pairs:
    """Files of each row, and rows of each file."""

    by_row: list[list[str]]
    by_file: Mapping[str, list[int]]


def _by_name(files: Iterable[str], rows: Manifest) -> _Pairs:
    """Pair by whole paths first, then what is left on both sides by names alone."""
    files = list(files)
    by_file: dict[str, list[int]] = {name: [] for name in files}
    names = [
        {str(n) for n in each if n is not None}
        for each in zip(rows.ids, rows.column("image"), rows.column("mask"), strict=True)
    ]
    free = set(range(len(names)))
    for key in (_place, _stem):
        places: defaultdict[str, list[int]] = defaultdict(list)
        for row in sorted(free):
            for one in {key(name) for name in names[row]}:
                places[one].append(row)
        for name in files:
            if not by_file[name]:
                by_file[name] = list(places.get(key(name), ()))
        free -= {row for found in by_file.values() for row in found}
    by_row: list[list[str]] = [[] for _ in names]
    for name, found in by_file.items():
        for row in found:
            by_row[row].append(name)
    return _Pairs(by_row, by_file)


def _place(name: str) -> str:
    """Give a path without its suffix, and without the folders that tell images from masks."""
    path = PurePosixPath(name.replace("::", "/"))
    folders = [part for part in path.parts[:-1] if part.lower() not in _TELL_APART]
    return "/".join([*folders, path.stem])


def _stem(name: str) -> str:
    return PurePosixPath(name.replace("::", "/")).stem

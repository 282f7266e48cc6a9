"""Which image is for training, validation or test: read from a CSV file, or dealt by hash."""

from __future__ import annotations

import csv
import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from meddel_fast.data.address import DICOMS, SUFFIXES

SHARES = (("test", 0.1), ("val", 0.1), ("train", 1.0))
"""What :func:`deal_splits` fills, in this order; training takes the rest."""

_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True)
class Listing:
    """One line of a splits file; ``frame`` is -1 and ``group`` empty where it names none."""

    file: str
    split: str
    group: str
    frame: int
    line: int


def split_named(name: str) -> str:
    """Give the split that a word stands for (train, training, val, dev ...), empty for none."""
    return _NAMES.get(name.lower(), "")


def plain_stem(name: str) -> str:
    """Cut an image suffix off a posix path and put the rest in Unicode's composed form.

    Archives made on a Mac hold decomposed names: the same name to a reader, another to a computer.
    Only a known suffix is cut, since "frame.0001" and DICOM's "1.2.840.1" have none.
    """
    path = PurePosixPath(name)
    known = path.suffix.lower() in SUFFIXES | DICOMS
    stem = path.with_suffix("") if known else path
    return unicodedata.normalize("NFC", stem.as_posix())


def read_splits(path: Path) -> list[Listing]:
    """Read a splits file: CSV with the columns file, split and, if known, group and frame.

    ``sequence`` stands for ``group`` where that column is absent; other columns are ignored.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        A column is absent, a split or a frame is not understood; the message names the line.
    """
    if not path.is_file():
        raise FileNotFoundError(f"splits: no file {path}")
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            rows = list(csv.reader(file))
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"splits: {path} is not a CSV file in UTF-8: {error}") from error
    header = [name.strip().lower() for name in rows[0]] if rows else []
    absent = [name for name in ("file", "split") if name not in header]
    if absent:
        raise ValueError(f"splits: wanted columns file and split in {path}, got {header}")
    group = "group" if "group" in header else "sequence"
    listings = []
    for line, values in enumerate(rows[1:], start=2):
        row = dict(zip(header, (value.strip() for value in values), strict=False))
        if not row.get("file"):
            continue
        split = _NAMES.get(row.get("split", "").lower())
        if split is None:
            raise ValueError(
                f"splits: wanted train, val or test in line {line} of {path}, "
                f"got {row.get('split', '')!r}"
            )
        name = row["file"].replace("\\", "/")
        frame = _frame(row.get("frame", ""), line, path)
        listings.append(Listing(name, split, row.get(group, ""), frame, line))
    return listings


def _frame(text: str, line: int, path: Path) -> int:
    if not text:
        return -1
    try:
        return int(text)
    except ValueError:
        raise ValueError(
            f"splits: wanted a whole number as frame in line {line} of {path}, got {text!r}"
        ) from None


class Splits:
    """The lines of a splits file, found by image.

    A name without a folder means the image of that stem in `images`; one with a folder means the
    path from the CSV's own folder, from `root` or from `images`.

    Raises
    ------
    ValueError
        Two lines give one image different splits, groups or frames.
    """

    def __init__(self, path: Path, root: Path, images: Path) -> None:
        self.path = path
        self._found: dict[str, Listing] = {}
        self._expected: set[str] = set()
        self._asked: set[str] = set()
        self._lines: list[tuple[Listing, list[str]]] = []
        folder = path.resolve().parent
        for listing in read_splits(path):
            bare = "/" not in listing.file
            bases = [images] if bare else [folder, root, images]
            keys = [plain_stem(os.path.normpath(base / listing.file)) for base in bases]
            self._lines.append((listing, keys))
            for key in keys:
                self._add(key, listing)
            whole = plain_stem(os.path.normpath((images if bare else folder) / listing.file))
            ours = plain_stem(images.as_posix()) + "/"
            if whole.startswith(ours) and (not bare or folder == root):
                self._expected.add(whole[len(ours) :])

    def _add(self, key: str, listing: Listing) -> None:
        other = self._found.setdefault(key, listing)
        told = (other.split, other.group, other.frame)
        if told != (listing.split, listing.group, listing.frame):
            raise ValueError(
                f"splits: lines {other.line} and {listing.line} of {self.path} "
                f"differ about {listing.file}"
            )

    def find(self, image: Path) -> Listing | None:
        """Give the line about an image (absolute path), if there is one."""
        key = plain_stem(image.as_posix())
        self._asked.add(key)
        return self._found.get(key)

    def unused(self) -> list[str]:
        """Give the files of the lines that no :meth:`find` was after.

        Without those that are there, seen from the CSV's folder: of another set, that is, in a file
        for several.
        """
        folder = self.path.resolve().parent
        absent = [listing.file for listing, keys in self._lines if not self._asked & set(keys)]
        return [name for name in absent if not (folder / name).is_file()]

    def missing(self, stems: set[str]) -> list[str]:
        """Give the stems that the file lists for our folder and that are not among `stems`."""
        return sorted(self._expected - stems)


def deal_splits(keys: Sequence[str]) -> list[str]:
    """Deal images into 10 % test, 10 % validation and 80 % training, by a hash of their keys.

    Images with one key (a video's, or copies of one file) stay together. The keys are put in the
    order of the SHA-256 of ``meddel-fast:<key>``; test takes keys until it holds 10 % of the
    images, then validation does, training takes the rest. With three keys or more, each split gets
    at least one; the outcome depends on nothing but the keys.

    Parameters
    ----------
    keys
        One key an image.

    Returns
    -------
    list
        "train", "val" or "test" for each image.
    """
    counts = Counter(keys)
    order = sorted(
        counts, key=lambda key: (hashlib.sha256(f"meddel-fast:{key}".encode()).digest(), key)
    )
    if len(order) < 3:
        return ["train"] * len(keys)
    dealt: dict[str, str] = {}
    for name, share in SHARES:
        wanted, taken = share * len(keys), 0
        keep = {"test": 2, "val": 1, "train": 0}[name]  # leave a key for each split to come
        while len(order) > keep and taken < wanted:
            key = order.pop(0)
            dealt[key] = name
            taken += counts[key]
    return [dealt[key] for key in keys]

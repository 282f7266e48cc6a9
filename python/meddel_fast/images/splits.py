"""Which image is for training, validation or test: read from a CSV file, or dealt by hash.

What is dealt are components. Images of one group (folder, sequence, patient), equal files and,
where no group is known, images that look alike (`look_alikes`) are joined, through any chain of
these; each component goes whole into one split.
"""

from __future__ import annotations

import csv
import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from meddel_fast.common.remote_path import normal
from meddel_fast.common.suffixes import ARCHIVES, DICOMS, IMAGES, VIDEOS
from meddel_fast.images.address import PART, place

SHARES = (("test", 0.1), ("val", 0.1), ("train", 1.0))
"""What :func:`deal_splits` fills, in this order; training takes the rest."""

LARGE = 0.25
"""A component with a larger share of the images is for training, as far as there are others."""

DEAL = "deal"
GROUPS = ("group", "sequence", "patient")
"""Columns of a splits file by which images are joined; the first that a line fills is its group."""

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
_SPLITS = tuple(dict.fromkeys(_NAMES.values()))


@dataclass(frozen=True)
class Dealing:
    """How images get a split that no list gives them.

    Attributes
    ----------
    split
        "train", "val" or "test" for all images, so that nothing is dealt; "deal" to deal even a
        data set that the registry knows as a test set; "" as the data set has it.
    near_duplicates
        Whether images that no group is known of are joined by their looks.
    group_by
        A regular expression that is searched for in the ids: what it captures (all of the match
        where it captures nothing) is an image's group. One without a match keeps its own.
    """

    split: str = ""
    near_duplicates: bool = True
    group_by: str = ""

    def __post_init__(self) -> None:
        if self.split not in ("", DEAL, *_SPLITS):
            raise ValueError(f"split must be train, val, test or {DEAL}, got {self.split!r}")
        try:
            re.compile(self.group_by)
        except re.error as error:
            raise ValueError(
                f"group_by must be a regular expression, got {self.group_by!r}: {error}"
            ) from None

    @property
    def is_whole(self) -> bool:
        """Whether all images get one split."""
        return self.split in _SPLITS

    def group_of(self, name: str) -> str:
        """Give the group that `group_by` finds in an id; "" where it finds none."""
        found = re.search(self.group_by, name) if self.group_by else None
        if found is None:
            return ""
        return "/".join(filter(None, found.groups())) or found.group()


@dataclass(frozen=True)
class Listing:
    """One line of a splits file; ``frame`` is -1, other fields empty, where it names none.

    ``groups`` holds what the line says in each column of :data:`GROUPS` that the file has.
    """

    file: str
    split: str
    group: str
    frame: int
    line: int
    groups: tuple[str, ...] = ()


def split_named(name: str) -> str:
    """Give the split that a word stands for (train, training, val, dev ...), empty for none."""
    return _NAMES.get(name.lower(), "")


def plain_stem(name: str) -> str:
    """Cut an image suffix off a posix path and put the rest in Unicode's composed form.

    Archives made on a Mac hold decomposed names: the same name to a reader, another to a computer.
    Only a known suffix is cut, since "frame.0001" and DICOM's "1.2.840.1" have none.
    """
    path = PurePosixPath(name)
    known = path.suffix.lower() in IMAGES | DICOMS
    stem = path.with_suffix("") if known else path
    return unicodedata.normalize("NFC", stem.as_posix())


def read_splits(path: Path) -> list[Listing]:
    """Read a splits file: CSV with the columns file and split and, if known, group and frame.

    ``sequence`` or ``patient`` stand for ``group``; with several of them, images that agree in any
    are joined. Where no line fills ``split``, the file gives groups alone. Other columns are
    ignored.

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
    told = [
        (line, dict(zip(header, (value.strip() for value in values), strict=False)))
        for line, values in enumerate(rows[1:], start=2)
    ]
    told = [(line, row) for line, row in told if row.get("file")]
    columns = [name for name in GROUPS if name in header]
    cut = any(len(row) < len(header) for _, row in told)  # not a column that is left empty
    split = not columns or any(row.get("split") for _, row in told) or ("split" in header and cut)
    if "file" not in header or not (columns or "split" in header):
        raise ValueError(
            f"splits: wanted columns file and split, or file and one of {', '.join(GROUPS)}, in "
            f"{path}, got {header}"
        )
    return [_listing(row, columns, line, path, split) for line, row in told]


def _listing(
    row: dict[str, str], columns: list[str], line: int, path: Path, has_split: bool
) -> Listing:
    split = _NAMES.get(row.get("split", "").lower(), "")
    if has_split and not split:
        raise ValueError(
            f"splits: wanted train, val or test in line {line} of {path}, "
            f"got {row.get('split', '')!r}"
        )
    groups = tuple(row.get(name, "") for name in columns)
    frame = _frame(row.get("frame", ""), line, path)
    first = next(filter(None, groups), "")
    return Listing(row["file"].replace("\\", "/"), split, first, frame, line, groups)


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
    path from the CSV's own folder, from `root` or from `images`. A line about a video, a stack or
    an archive is about all in it that have no line of their own.

    Raises
    ------
    ValueError
        Two lines give one image different splits, groups or frames.
    """

    def __init__(self, path: Path, root: Path, images: Path) -> None:
        self.path = path
        self._found: dict[str, Listing] = {}
        self._expected: dict[str, str] = {}  # by path in `images`
        self._asked: set[str] = set()
        self._lines: list[tuple[Listing, list[str]]] = []
        folder = path.resolve().parent
        listings = read_splits(path)
        self.gives_splits = any(listing.split for listing in listings)
        for listing in listings:
            bare = "/" not in listing.file
            bases = [images] if bare else [folder, root, images]
            keys = [_key(normal(base / listing.file)) for base in bases]
            self._lines.append((listing, keys))
            for key in keys:
                self._add(key, listing)
            whole = _key(normal((images if bare else folder) / listing.file))
            ours = plain_stem(images.as_posix()) + "/"
            if whole.startswith(ours) and (not bare or folder == root):
                self._expected[whole[len(ours) :]] = whole

    def _add(self, key: str, listing: Listing) -> None:
        other = self._found.setdefault(key, listing)
        told = (other.split, other.groups, other.frame)
        if told != (listing.split, listing.groups, listing.frame):
            raise ValueError(
                f"splits: lines {other.line} and {listing.line} of {self.path} "
                f"differ about {listing.file}"
            )

    def find(self, image: Path) -> Listing | None:
        """Give the line about an image (absolute path or address), if there is one."""
        address = str(image)
        key = plain_stem(place(image))
        while key not in self._found and PART in address:
            address = address.rpartition(PART)[0]
            key = _key(address)
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

    def group_of(self, image: Path) -> str:
        """Give the group that the file names for an image (any address); "" where it has none."""
        listing = self.find(image)
        return listing.group if listing else ""

    def columns(self, images: Sequence[Path]) -> list[list[str]]:
        """Give what the file says of images (any addresses) in each of its columns of groups."""
        listings = [self.find(image) for image in images]
        width = max((len(listing.groups) for listing in listings if listing), default=0)
        return [[one.groups[at] if one else "" for one in listings] for at in range(width)]

    def missing(self, stems: set[str]) -> list[str]:
        """Give the stems that the file lists for our folder and that are not among `stems`."""
        there = stems | {stem for stem, key in self._expected.items() if key in self._asked}
        return sorted(self._expected.keys() - there)


def _key(name: str) -> str:
    """Give the place of what a line names: an image, or a file that holds images."""
    found = plain_stem(place(name))
    holder = PurePosixPath(found).suffix.lower() in VIDEOS | ARCHIVES
    return found.rpartition(".")[0] if holder else found


def join(
    n: int, relations: Iterable[Sequence[Hashable]] = (), pairs: Iterable[tuple[int, int]] = ()
) -> list[int]:
    """Join those of n images that share a value in any relation, and number the components.

    Parameters
    ----------
    n
        How many images there are.
    relations
        Each with one value an image; an empty value (``""`` or None) joins nothing.
    pairs
        Numbers of images that are joined besides.

    Returns
    -------
    list of int
        For each image the lowest number of an image in its component.
    """
    parent = list(range(n))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    def unite(i: int, j: int) -> None:
        a, b = root(i), root(j)
        parent[max(a, b)] = min(a, b)

    for relation in relations:
        first: dict[Hashable, int] = {}
        for i, value in enumerate(relation):
            if value not in ("", None):
                unite(first.setdefault(value, i), i)
    for i, j in pairs:
        unite(i, j)
    return [root(i) for i in range(n)]


def deal_splits(keys: Sequence[str]) -> list[str]:
    """Deal images into 10 % test, 10 % validation and 80 % training, by a hash of their keys.

    Images with one key (a component's) stay together. The keys are put in the order of the SHA-256
    of ``meddel-fast:<key>``; test takes keys until it holds 10 % of the images, then validation
    does, training takes the rest. A key with more than a quarter of the images comes last, and the
    others are then at most halved between test and validation. With three keys or more, each split
    gets at least one, with fewer all is for training; the outcome depends on nothing but the keys.

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
    large = {key: n for key, n in counts.items() if n > LARGE * len(keys)}
    order.sort(key=lambda key: large.get(key, 0))  # stable
    small = len(keys) - sum(large.values())
    dealt: dict[str, str] = {}
    for name, share in SHARES:
        wanted, taken = share * len(keys), 0
        if large and name != "train":
            wanted = min(wanted, small / (2 if name == "test" else 1))
        keep = {"test": 2, "val": 1, "train": 0}[name]  # leave a key for each split to come
        while len(order) > keep and (taken == 0 or taken < wanted):
            key = order.pop(0)
            dealt[key] = name
            taken += counts[key]
        small -= taken
    return [dealt[key] for key in keys]

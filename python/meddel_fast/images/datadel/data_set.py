"""What the registry says of a data set, and how it is found among folders and archives."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from meddel_fast.common.files import StrPath
from meddel_fast.common.remote_path import RemotePath, listed, path_of, walk
from meddel_fast.common.suffixes import ARCHIVES
from meddel_fast.images.address import PART, ImageError, member
from meddel_fast.images.archive import open_archive
from meddel_fast.images.readers.plain_names import plain, release_name
from meddel_fast.images.readers.tree import Layout, Sample, Tree
from meddel_fast.images.remote_files import raise_outage

PACKED = (".rar", ".7z", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
"""Ends of packed files that have to be unpacked before they are read."""

_ANY = r"(osfstorage)?archive"  # what Kaggle and OSF call every download
_DEPTH = 3  # folders down to which names are looked for that tell what an `archive` is


@dataclass(frozen=True)
class Citation:
    """Who to cite; ``doi`` is empty where we do not know one."""

    authors: str
    title: str
    venue: str
    doi: str = ""


@dataclass(frozen=True)
class Part:
    """One part of a data set, and the layouts that its releases are known to have.

    Attributes
    ----------
    name
        What the part is.
    layouts
        Tried in order: the first that finds anything is taken.
    images
        How many images the release has; ``None`` where we do not know.
    also
        Other counts under which the part goes around, each a sound copy.
    videos
        How many videos, for a part of videos.
    optional
        Nothing is wrong with a copy that lacks the part.
    download
        Which of several downloads it comes in: nothing is wrong with a copy that lacks one of them.
    """

    name: str
    layouts: tuple[Layout, ...]
    images: int | None = None
    also: tuple[int, ...] = ()
    videos: int | None = None
    optional: bool = False
    download: str = ""

    def find(self, tree: Tree) -> list[Sample]:
        """Find its samples, by the first layout that fits."""
        tries = (layout.find(tree) for layout in self.layouts)
        return next((samples for samples in tries if samples), [])


@dataclass(frozen=True)
class Located:
    """Where a data set is.

    ``where`` are its folders and archives, ``unpacked`` archives that are not read, since all that
    they hold lies unpacked beside them.
    """

    where: tuple[Path, ...] = ()
    unpacked: tuple[Path, ...] = ()


@dataclass(frozen=True)
class DataSet:
    """One data set of DataDEL.

    Attributes
    ----------
    key, name, year
        How it is called here and by its authors, and the year in the paper's table.
    division, tasks
        "pre-training" or "downstream", and the tasks, as in the paper's table.
    centres, paper_videos, paper_frames
        Counts in the paper's table; ``None`` where it says nothing.
    citation, terms, home, download
        Who to cite, under which terms, and where to read on and to get it.
    splits
        What the release says about training and test.
    layout
        The layouts in a few words.
    folders
        Names of folders and archives that it comes in; case, spaces, ``-`` and ``_`` do not count,
        nor does an edition (``_v2``, ``(1)``).
    signs
        Names that say little, as regular expressions for their plain form, each with names, in
        plain form, that must be found below a folder or in an archive so called. ``archive``, as
        Kaggle's downloads are called, and ``osfstorage-archive`` are this set where a folder in
        them has a name of this set.
    parts
        What it consists of.
    copies
        The parts of copies that are sorted in another way, looked for where no part is found.
    note
        What else one should know.
    mask
        What the numbers in its masks mean (:func:`meddel_fast.images.masks.rule.parse_mask`), where
        the release says so; else it is told from the masks.
    split
        "test" for what is used whole as a test set, so that it is not dealt; else empty.
    """

    key: str
    name: str
    year: int
    division: str
    tasks: tuple[str, ...]
    centres: int | None
    paper_videos: int | None
    paper_frames: int | None
    citation: Citation
    terms: str
    home: str
    download: str
    splits: str
    layout: str
    folders: tuple[str, ...]
    parts: tuple[Part, ...]
    signs: tuple[tuple[str, tuple[str, ...]], ...] = ()
    copies: tuple[tuple[Part, ...], ...] = ()
    note: str = ""
    mask: dict[str, tuple[int | str, ...]] | None = None
    split: str = ""

    @property
    def images(self) -> int | None:
        """Images of the release without optional parts and videos; ``None`` where unknown."""
        whole = [part for part in self.parts if part.videos is None and not part.optional]
        counts = [part.images for part in whole]
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None

    @property
    def names(self) -> frozenset[str]:
        """Names of its folders and archives, in plain form and without editions."""
        return frozenset(release_name(name) for name in (self.key, self.name, *self.folders))

    def locate(self, root: StrPath) -> list[Path]:
        """Find the folders and archives that are named like this data set: below `root`, or it.

        An archive whose images and videos all lie unpacked in another of them is left out.
        """
        return list(self.find(root).where)

    def places(self, path: StrPath) -> list[Path]:
        """Give a path, or, where nothing is there, what has a name of this set beside it.

        ``kvasir-seg`` may lie there as ``Kvasir-SEG/`` or ``kvasir-seg.zip``.
        """
        path = path_of(path).resolve()
        beside = not path.exists() and path.parent.is_dir()
        with listed(path.parent if beside else path):
            return (self.locate(path.parent) if beside else []) or [path]

    def find(self, root: StrPath) -> Located:
        """Find its folders and archives as :meth:`locate`, and those archives that are left out."""
        root = path_of(root).resolve()
        if release_name(root.name) in self.names:
            return Located((root,))
        if told := self._told(root):
            return Located(tuple(told))
        inside = [path for path in sorted(root.iterdir()) if path.is_dir() or _is_archive(path)]
        found = self._named(inside)
        # names that say little are asked where no better one is found
        return _standing(found or [each for path in inside for each in self._told(path)])

    def packed(self, root: StrPath, where: Iterable[Path] = ()) -> list[Path]:
        """Find files of this data set that are packed in a way that cannot be read in place.

        They lie in `root`, under a name of the set, or anywhere in the places `where`.
        """
        near = [p for p in sorted(path_of(root).iterdir()) if release_name(_stem(p)) in self.names]
        inside = (p for place in where for p in _below(place))
        return sorted({p for p in [*near, *inside] if p.name.lower().endswith(PACKED)})

    def _named(self, paths: Sequence[Path]) -> list[Path]:
        """Choose what has a name of this set, with an edition only where none is without."""
        names = {path: plain(_stem(path)) for path in paths}
        return [
            path
            for path, name in names.items()
            if (known := release_name(_stem(path))) in self.names
            and (name == known or known not in names.values())
        ]

    def _told(self, path: Path) -> list[Path]:
        """Give a folder or archive that is this set by what it holds, or where in it the set is."""
        name = release_name(_stem(path))
        signs = [wanted for pattern, wanted in self.signs if re.fullmatch(pattern, name)]
        unnamed = re.fullmatch(_ANY, name) is not None
        if not signs and not unnamed:
            return []
        inside = {plain(each) for each in _names(path)}
        if any(inside.issuperset(wanted) for wanted in signs):
            return [path]
        if not unnamed or not any(release_name(each) in self.names for each in inside):
            return []
        folders = (
            [each for each in sorted(path.iterdir()) if each.is_dir()] if path.is_dir() else []
        )
        own = [each for each in folders if release_name(each.name) in self.names]
        return own if own and len(folders) > 1 else [path]  # tables may lie beside a single folder


def _is_archive(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in ARCHIVES


def _stem(path: Path) -> str:
    """Give a folder's name, or that of a file without the suffixes of archives."""
    ends = (*ARCHIVES, *PACKED)
    end = next((e for e in ends if path.name.lower().endswith(e) and not path.is_dir()), "")
    return path.name[: len(path.name) - len(end)]


def _standing(found: Sequence[Path]) -> Located:
    """Leave out the archives of which every image and video lies unpacked in another place."""
    if len(found) < 2 or not any(map(_is_archive, found)):
        return Located(tuple(found))
    tree = Tree(found)
    kept, copied = (
        {str(item.path).partition(PART)[0] for item in items}
        for items in (tree.images + tree.videos, tree.copies)
    )
    unpacked = tuple(path for path in found if str(path) in copied - kept)
    return Located(tuple(path for path in found if path not in unpacked), unpacked)


def _below(where: Path) -> Iterator[Path]:
    """List what a folder or archive holds."""
    if where.is_dir():
        for path in where.rglob("*"):
            yield path
            if _is_archive(path):
                yield from _below(path)
        return
    try:
        archive = open_archive(where)
    except (ImageError, OSError) as error:
        raise_outage(error)
        return
    yield from (member(where, name) for name in archive.names)


def _names(where: Path) -> Iterator[str]:
    """Give the names of files and folders, a few folders down; without ends of archives."""
    if where.is_dir():
        for parent, folders, files in (walk if isinstance(where, RemotePath) else os.walk)(where):
            here = path_of(parent)
            depth = len(here.relative_to(where).parts)
            yield from (*folders, *(_stem(here / name) for name in files))
            if depth + 1 >= _DEPTH:
                folders.clear()
        return
    try:
        archive = open_archive(where)
    except (ImageError, OSError) as error:
        raise_outage(error)
        return
    for name in archive.names:
        *folders, last = PurePosixPath(name).parts
        yield from folders[:_DEPTH]
        if len(folders) < _DEPTH:
            yield _stem(Path(last))

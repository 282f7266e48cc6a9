"""DataDEL: the 14 data sets of the benchmark (arXiv 2401.17542, table 1), and where they are.

The package holds no data and fetches none: an entry says what a data set is, under which terms it
comes, from where, how its release lies on disk and how many images it should have, so that
``meddel-fast data check`` can say what is there. The entries are in `entries`.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from meddel_fast.data.address import ARCHIVES
from meddel_fast.data.readers.tree import Layout, plain
from meddel_fast.files import StrPath

PACKED = (".rar", ".7z", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
"""Ends of packed files that have to be unpacked before they are read."""


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
    """

    name: str
    layouts: tuple[Layout, ...]
    images: int | None = None
    also: tuple[int, ...] = ()
    videos: int | None = None
    optional: bool = False


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
        Names of folders and archives that it comes in; case, spaces, ``-`` and ``_`` do not count.
    parts
        What it consists of.
    note
        What else one should know.
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
    paper_frames: int
    citation: Citation
    terms: str
    home: str
    download: str
    splits: str
    layout: str
    folders: tuple[str, ...]
    parts: tuple[Part, ...]
    note: str = ""
    split: str = ""

    @property
    def images(self) -> int | None:
        """Images of the release without optional parts and videos; ``None`` where unknown."""
        whole = [part for part in self.parts if part.videos is None and not part.optional]
        counts = [part.images for part in whole]
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None

    def locate(self, root: StrPath) -> list[Path]:
        """Find the folders and archives that are named like this data set: below `root`, or it."""
        names = {plain(name) for name in (self.key, self.name, *self.folders)}
        if plain(Path(root).resolve().name) in names:
            return [Path(root).resolve()]
        found = []
        for path in sorted(Path(root).resolve().iterdir()):
            archive = path.is_file() and path.suffix.lower() in ARCHIVES
            if plain(path.stem if archive else path.name) in names and (archive or path.is_dir()):
                found.append(path)
        folders = {path.name for path in found if path.is_dir()}
        # an archive beside the folder that it was unpacked to is not read a second time
        return [path for path in found if path.is_dir() or path.stem not in folders]

    def packed(self, root: StrPath) -> list[Path]:
        """Find files of this data set that are packed in a way that cannot be read in place."""
        names = {plain(name) for name in (self.key, self.name, *self.folders)}
        near = [p for p in sorted(Path(root).iterdir()) if plain(p.name.split(".")[0]) in names]
        inside = (p for where in self.locate(root) if where.is_dir() for p in where.rglob("*"))
        return sorted({p for p in [*near, *inside] if p.name.lower().endswith(PACKED)})


@lru_cache(maxsize=1)
def data_sets() -> dict[str, DataSet]:
    """Give the registry: the data sets by key, in the order of the paper's table."""
    from meddel_fast.data.entries import ENTRIES

    return {entry.key: entry for entry in ENTRIES}


def known_set(key: str) -> DataSet:
    """Give the entry of a key.

    Raises
    ------
    ValueError
        There is none; the message names the nearest, or all.
    """
    known = data_sets()
    if key in known:
        return known[key]
    near = difflib.get_close_matches(key.lower(), known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ValueError(f"no data set {key!r} in the registry; {hint}known: {', '.join(known)}")

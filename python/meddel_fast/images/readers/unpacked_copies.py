"""Archives that are left beside what was unpacked from them: such a member counts once.

A member of an archive is a copy when a file has its place, its size and its content. Places are
compared in plain form and from their ends, since the top folders differ: ``kvasir-seg.zip`` holds
``Kvasir-SEG/images/1.jpg``, which may lie in ``Kvasir-SEG/images/`` beside it, or with the archive
itself below ``Kvasir-SEG/``. Sizes are compared for all members, contents for a few of an archive.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path

from meddel_fast.images.address import PART, ImageError, parse
from meddel_fast.images.archive import open_archive
from meddel_fast.images.readers.item import Item
from meddel_fast.images.readers.plain_names import plain, plain_folders
from meddel_fast.images.remote_files import raise_outage
from meddel_fast.images.sources import open_file

_COMPARED = 8  # members of an archive whose content is compared
_FIRST = 1 << 20  # bytes of each

_Place = tuple[str, ...]
_Pair = tuple[Item, Item]  # member, file


def parted(items: Sequence[Item]) -> tuple[list[Item], list[Item]]:
    """Tell what is to be read from the members of archives that lie unpacked beside them.

    Of two archives with the same content, the one that comes first is read.
    """
    held: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        held[str(item.path).rpartition(PART)[0]].append(item)
    files = _Files(held.pop("", []))
    copies: set[int] = set()
    for archive in sorted(held, key=lambda name: (name.count(PART), name)):
        members = held[archive]
        found = files.copies(members, _place(members[0], archive))
        copies |= found
        files.add([item for item in members if id(item) not in found])
    return (
        [item for item in items if id(item) not in copies],
        [item for item in items if id(item) in copies],
    )


class _Files:
    """What is read, by name."""

    def __init__(self, items: Sequence[Item]) -> None:
        self._by_name: dict[str, list[tuple[_Place, Item]]] = defaultdict(list)
        self.add(items)

    def add(self, items: Sequence[Item]) -> None:
        for item in items:
            place = (plain_folders(item.parts[:-1]), item)
            self._by_name[plain(item.parts[-1])].append(place)

    def copies(self, members: Sequence[Item], archive: _Place) -> set[int]:
        """Find the members of an archive, in the folder `archive`, of which there is a copy."""
        pairs: dict[tuple[_Place, _Place], list[_Pair]] = defaultdict(list)
        for item in members:
            for tops, other in self._nearest(item, archive):
                pairs[tops].append((item, other))
        found: set[int] = set()
        for each in sorted(pairs.values(), key=len, reverse=True):
            same = [(m, f) for m, f in each if id(m) not in found and 0 <= _size(m) == _size(f)]
            if same and all(_content(m) == _content(f) for m, f in _some(same)):
                found |= {id(m) for m, _ in same}
        return found

    def _nearest(self, item: Item, archive: _Place) -> Iterator[tuple[tuple[_Place, _Place], Item]]:
        """Give the files with most folders in common, and what stands above these on both sides."""
        mine = plain_folders(item.parts[:-1])
        ways = []
        for folders, other in self._by_name.get(plain(item.parts[-1]), ()):
            same = len(list(takewhile(lambda p: p[0] == p[1], _pairwise(mine, folders))))
            # a folder in common; else where the archive lies, or straight in the set's own folder
            if same or folders == archive or len(folders) == 1:
                ways.append((same, folders, other))
        most = max((same for same, _, _ in ways), default=0)
        for same, folders, other in ways:
            if same == most:
                yield (mine[: len(mine) - most], folders[: len(folders) - most]), other


def _pairwise(one: Sequence[str], other: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Pair the folders of two places, from the deepest."""
    return zip(reversed(one), reversed(other), strict=False)


def _place(member: Item, archive: str) -> _Place:
    """Give the folder in which a member's archive lies, in plain form."""
    inside = str(member.path)[len(archive) + len(PART) :].count("/") + 1
    return tuple(map(plain, member.parts[: -inside - 1]))


def _some(pairs: list[_Pair]) -> list[_Pair]:
    step = -(-len(pairs) // _COMPARED)
    return pairs[::step]


def _size(item: Item) -> int:
    """Give the size of a file or member in bytes; -1 where it cannot be read."""
    try:
        if PART not in str(item.path):
            return item.path.stat().st_size
        address = parse(item.path)
        inner = address.members[0] if len(address.members) == 2 else None
        return open_archive(address.file, inner).size(address.members[-1])
    except (ImageError, OSError) as error:
        raise_outage(error)
        return -1


def _content(item: Item) -> bytes | Path:
    """Give the first bytes, or, of what cannot be read, what equals nothing else."""
    try:
        with open_file(item.path) as file:
            return file.read(_FIRST)
    except (ImageError, OSError) as error:
        raise_outage(error)
        return item.path

"""Images of remote places, fetched several at a time before they are decoded."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from meddel_fast.common.read_ahead import Ahead, Span, reading_ahead
from meddel_fast.common.remote_path import RemotePath
from meddel_fast.common.suffixes import ARCHIVES, IMAGES, PAGED, VIDEOS
from meddel_fast.images.address import UNION, Address, ImageError, parse, union
from meddel_fast.images.archive import open_archive
from meddel_fast.images.known_members import known_extent
from meddel_fast.images.remote_files import WHOLE, raise_outage


@contextlib.contextmanager
def reading(items: Sequence[Sequence[Path | None]]) -> Iterator[Ahead]:
    """Read ahead for a list of items, each of several files; those on a disk cost nothing.

    All lie on a disk, or none. Use it as ``with reading(items) as ahead``, and put
    ``with ahead.using(number)`` around all that is done with the files of an item.
    """
    first = next((path for item in items for path in item if path is not None), None)
    count = len(items) if isinstance(first, RemotePath) else 0

    def needed(number: int) -> list[Span]:
        return [span for path in items[number] for span in spans(path)]

    with reading_ahead(needed, count) as ahead:
        yield ahead


def spans(path: Path | None) -> list[Span]:
    """Give the ranges that are read of a remote image: the file, or where its archive has it.

    None of files on a disk, of frames of videos, and of what is too large to be read at once.
    """
    if not isinstance(path, RemotePath):
        return []
    parts = union(path) if UNION in path.name else [path]
    found: list[Span] = []
    with contextlib.suppress(ImageError, FileNotFoundError):  # told when it is read
        for part in parts:
            span = _span(parse(part))
            found += [] if span is None else [span]
    return found


def _span(address: Address) -> Span | None:
    file = address.file
    if not isinstance(file, RemotePath) or address.suffix in VIDEOS | ARCHIVES:
        return None
    if not address.members:
        if address.suffix in IMAGES - PAGED:
            return Span(str(file), size=file.listed_size())
        return Span(str(file), size=size) if (size := file.size()) <= WHOLE else None
    extent = known_extent(file, address.members)
    if extent is None:
        inner = address.members[0] if len(address.members) == 2 else None
        try:
            extent = open_archive(file, inner).extent(address.members[-1])
        except OSError as error:
            raise_outage(error)
            return None
    if extent is None or extent[1] - extent[0] > WHOLE:
        return None
    return Span(str(file), *extent, extent[1] - extent[0])

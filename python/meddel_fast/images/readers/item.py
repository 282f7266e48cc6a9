"""A file of a data set by its place, and what is read of it."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from meddel_fast.images.address import ImageError, place
from meddel_fast.images.readers.plain_names import plain_folders
from meddel_fast.images.sources import open_file

MAX_TABLE = 256 << 20
"""Larger tables (CSV, JSON, text) are not read."""


@dataclass(frozen=True)
class Item:
    """A file: its address, and the parts of its place, the data set's own folder the first.

    The parts are in Unicode's composed form, since a Mac stores names in another than the rest.
    ``log`` gets the address when it is read as a table.
    """

    path: Path
    parts: tuple[str, ...]
    log: set[Path] = field(default_factory=set, compare=False, repr=False)

    @property
    def stem(self) -> str:
        """The name without suffix."""
        return PurePosixPath(self.parts[-1]).stem

    @cached_property
    def suffix(self) -> str:
        """The suffix in lower case."""
        return PurePosixPath(self.parts[-1]).suffix.lower()


def stem_of(path: Path) -> str:
    """Give the name without suffix of what an address leads to, in Unicode's composed form."""
    return PurePosixPath(composed(place(path))).stem


def composed(text: str) -> str:
    """Put text in Unicode's composed form, in which equal names are equal."""
    return unicodedata.normalize("NFC", text)


def inside(item: Item, folder: str) -> tuple[str, ...] | None:
    """Give the parts below a folder whose plain name matches `folder`, or None outside of it."""
    for at, part in enumerate(plain_folders(item.parts[:-1])):
        if re.fullmatch(folder, part):
            return item.parts[at + 1 :]
    return None


def read_text(item: Item) -> str:
    """Read a table, as UTF-8, in Unicode's composed form.

    Raises
    ------
    ImageError
        It is too large, or no text.
    """
    item.log.add(item.path)
    with open_file(item.path) as file:
        data = file.read(MAX_TABLE + 1)
    if len(data) > MAX_TABLE:
        raise ImageError(item.path, f"too large for a table: more than {MAX_TABLE} bytes")
    try:
        return composed(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ImageError(item.path, f"not text in UTF-8: {error}") from None

"""What a scan left out of its manifest, and what it noticed: counted, with the first names.

Every file below a data set's root is an image or a mask of a row, a table that was read, or counted
here: ``files == images + masks + tables + sum(t.count for t in left)``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

FIRST = 5
"""Names that a :class:`Tally` gives."""


@dataclass(frozen=True)
class Tally:
    """How many there are of something, the names of the first, and whether there are more."""

    what: str
    count: int
    first: tuple[str, ...] = ()
    more: bool = False

    @classmethod
    def of(cls, what: str, names: Iterable[str]) -> Tally:
        """Count `names`; the first in their order are kept."""
        every = list(names)
        return cls(what, len(every), tuple(every[:FIRST]), len(every) > FIRST)

    def __str__(self) -> str:
        names = ", ".join([*self.first, *["..."] * self.more])
        return f"{self.what}: {self.count:,}" + (f" ({names})" if names else "")


@dataclass(frozen=True)
class LeftOut:
    """The account of a scan.

    Attributes
    ----------
    files
        Files below the root. Of an archive that could be listed, its members count, not itself.
    images
        Those that are, or hold, an image of a row, skipped rows included.
    masks, tables
        Those that are a row's mask; that labels, splits, boxes and the like were read from.
    left
        The others, by why they are in no row.
    noticed
        What is in rows and may be wrong: images without a mask, equal files and the like.
    """

    files: int = 0
    images: int = 0
    masks: int = 0
    tables: int = 0
    left: tuple[Tally, ...] = ()
    noticed: tuple[Tally, ...] = ()

    @classmethod
    def parse(cls, text: str) -> LeftOut:
        """Read what :meth:`as_json` gave.

        Raises
        ------
        ValueError
            It is something else.
        """
        try:
            told = json.loads(text)
            files, images, masks, tables = (
                _count(told[part]) for part in ("files", "images", "masks", "tables")
            )
            left, noticed = (
                tuple(_tally(each) for each in told[part]) for part in ("left", "noticed")
            )
            return cls(files, images, masks, tables, left, noticed)
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"what was left out is not understood: {error!r}") from error

    def as_json(self) -> str:
        """Write it as a JSON object."""
        return json.dumps(asdict(self), ensure_ascii=False)

    def under(self, folder: str) -> LeftOut:
        """Put `folder` before every name."""

        def moved(tallies: Sequence[Tally]) -> tuple[Tally, ...]:
            return tuple(
                replace(t, first=tuple(f"{folder}{name}" for name in t.first)) for t in tallies
            )

        counts = (self.files, self.images, self.masks, self.tables)
        return LeftOut(*counts, moved(self.left), moved(self.noticed))

    @classmethod
    def joined(cls, parts: Sequence[LeftOut]) -> LeftOut:
        """Add up the accounts of several sets."""
        return cls(
            sum(part.files for part in parts),
            sum(part.images for part in parts),
            sum(part.masks for part in parts),
            sum(part.tables for part in parts),
            _added([tally for part in parts for tally in part.left]),
            _added([tally for part in parts for tally in part.noticed]),
        )

    def lines(self) -> list[str]:
        """Tell it in words, a line a kind; the first line has the sums."""
        used = self.images + self.masks + self.tables
        counts = f"images {self.images:,}, masks {self.masks:,}, tables {self.tables:,}"
        text = [f"files: {self.files:,} ({counts}, left out {self.files - used:,})"]
        text += [f"  left out: {tally}" for tally in self.left]
        return text + [f"  to look at: {tally}" for tally in self.noticed]


def reason_kind(reason: str) -> str:
    """Give the kind of a skipped row's reason: what stands before the details."""
    head, _, rest = reason.partition(": ")
    return f"{head}: {rest.partition(':')[0].partition(',')[0]}" if head == "mask" else head


def skipped_tallies(rows: Iterable[tuple[str, str]]) -> list[Tally]:
    """Count skipped rows, each an id and its reason, by the kind of the reason; most first."""
    names: dict[str, list[str]] = {}
    for name, reason in rows:
        names.setdefault(reason_kind(reason), []).append(name)
    tallies = [Tally.of(kind, found) for kind, found in names.items()]
    return sorted(tallies, key=lambda tally: -tally.count)


def _added(tallies: Sequence[Tally]) -> tuple[Tally, ...]:
    found: dict[str, Tally] = {}
    for tally in tallies:
        held = found.get(tally.what, Tally(tally.what, 0))
        first = held.first + tally.first
        more = held.more or tally.more or len(first) > FIRST
        found[tally.what] = Tally(tally.what, held.count + tally.count, first[:FIRST], more)
    return tuple(found.values())


def _tally(told: Any) -> Tally:
    what, first, more = told["what"], told["first"], told["more"]
    if not all(isinstance(name, str) for name in (what, *first)) or not isinstance(more, bool):
        raise ValueError(f"wanted names, got {told!r:.80}")
    return Tally(what, _count(told["count"]), tuple(first), more)


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"wanted a count, got {value!r:.80}")
    return value

"""Counts of the numbers in the masks of one depth, and whether they look like regions or noise."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from meddel_fast.images.masks.rule import Number


@dataclass
class Tally:
    """What the files of one depth hold.

    Attributes
    ----------
    lossy, indexed
        What the numbers are: blurred; indices of palettes, all of them.
    coarse
        There were too many numbers to hold: colours count by their brightness.
    turned
        In some of the files 0 is white.
    pixels, flat
        Pixels by number, and those of them whose four neighbours are equal.
    beside, alone
        Files in which the highest number stands beside small ones, and in which it does not.
    noisy, faint, clean
        Files with small numbers: that look like noise, that may be noise, that look like regions.
    dim
        Files that hold regions of one small number, and nothing else.
    first
        The first file, by name.
    """

    lossy: bool = False
    indexed: bool = False
    coarse: bool = False
    turned: bool = False
    pixels: Counter[Number] = field(default_factory=Counter)
    flat: Counter[Number] = field(default_factory=Counter)
    files: int = 0
    beside: int = 0
    alone: int = 0
    noisy: int = 0
    faint: int = 0
    clean: int = 0
    dim: int = 0
    valueless: int = 0
    first: str = ""

    def __add__(self, other: Tally) -> Tally:
        """Join two tallies of one depth."""
        counts = ("files", "beside", "alone", "noisy", "faint", "clean", "dim", "valueless")
        both = {name: getattr(self, name) + getattr(other, name) for name in counts}
        return Tally(
            self.lossy or other.lossy,
            self.indexed and other.indexed,
            self.coarse or other.coarse,
            self.turned or other.turned,
            self.pixels + other.pixels,
            self.flat + other.flat,
            first=min(filter(None, (self.first, other.first)), default=""),
            **both,
        )

    def without(self, numbers: tuple[Number, ...]) -> Tally:
        """Leave numbers out."""
        pixels, flat = (
            Counter({v: n for v, n in counts.items() if v not in numbers})
            for counts in (self.pixels, self.flat)
        )
        return replace(self, pixels=pixels, flat=flat)

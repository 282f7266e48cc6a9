"""What the numbers in file names tell, where a release numbers its frames."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Numbered:
    """Numbered frames, of which stretches of numbers are sequences or splits.

    Attributes
    ----------
    last, first
        The highest number and the lowest.
    whole
        Only where each of the numbers is there: a part that was counted anew would pass for ours.
    starts
        The first number of each sequence but the first; a sequence's name is its place from 1.
    splits
        For each split, stretches of numbers, both ends included.
    prefix
        What stands before a sequence's name.
    """

    last: int
    starts: tuple[int, ...] = ()
    first: int = 1
    whole: bool = False
    splits: tuple[tuple[str, tuple[tuple[int, int], ...]], ...] = ()
    prefix: str = ""

    def fits(self, stems: Iterable[str]) -> bool:
        """Tell whether the numbers among `stems` are ours; frames counted from 0 are not."""
        numbers = {int(stem) for stem in stems if _is_number(stem)}
        if not numbers or min(numbers) < self.first or max(numbers) > self.last:
            return False
        return not self.whole or len(numbers) == self.last - self.first + 1

    def sequence(self, stem: str) -> str:
        """Give the sequence of a frame, or nothing."""
        if not self.starts or not _is_number(stem):
            return ""
        return f"{self.prefix}{1 + sum(start <= int(stem) for start in self.starts)}"

    def split(self, stem: str) -> str:
        """Give the split of a frame, or nothing."""
        if not _is_number(stem):
            return ""
        inside = (
            split
            for split, stretches in self.splits
            if any(first <= int(stem) <= last for first, last in stretches)
        )
        return next(inside, "")


def _is_number(stem: str) -> bool:
    return stem.isascii() and stem.isdigit()

"""What the numbers in file names tell, where a release numbers its frames."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Numbered:
    """Frames numbered from 1: their sequences, and their splits, are stretches of numbers.

    Attributes
    ----------
    last
        The highest number.
    starts
        The first number of each sequence but the first, which starts at 1; a sequence's name is its
        place from 1.
    splits
        For each split, stretches of numbers, both ends included.
    prefix
        What stands before a sequence's name.
    """

    last: int
    starts: tuple[int, ...] = ()
    splits: tuple[tuple[str, tuple[tuple[int, int], ...]], ...] = ()
    prefix: str = ""

    def fits(self, stems: Iterable[str]) -> bool:
        """Tell whether the numbers among `stems` are ours; frames counted from 0 are not."""
        numbers = [int(stem) for stem in stems if _is_number(stem)]
        return bool(numbers) and all(1 <= number <= self.last for number in numbers)

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

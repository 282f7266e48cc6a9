"""Tables of plain text: cells padded so that columns stand below each other."""

from __future__ import annotations

from collections.abc import Sequence


def aligned(lines: Sequence[Sequence[str]], left: int) -> list[str]:
    """Pad the cells of lines that have the same number of them.

    Parameters
    ----------
    lines
        The cells.
    left
        How many columns, of the first, are words, which stand to the left; numbers stand to the
        right.
    """
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]

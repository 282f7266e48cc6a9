"""What an audit looked for and found, in words: the same on the terminal and on the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meddel_fast.benchmark.leakage import Leakage


def looked_for(leaks: Leakage) -> str:
    """Say what counts as a pair."""
    if leaks.threshold is None:
        return (
            "the same file, byte for byte; what is alike without being equal was not looked for "
            "(an encoder would)"
        )
    kind = "centred embeddings" if leaks.centred else "embeddings as they are"
    files = ", or the same file" if any(leaks.files.values()) else ""
    return f"cosine of {leaks.threshold:g} or more ({kind}){files}"


def found(leaks: Leakage, row: Mapping[str, Any], where: str) -> str:
    """Say what was found of one test set.

    Parameters
    ----------
    leaks
        The audit.
    row
        One of its :meth:`Leakage.summary`.
    where
        What the set was compared with: "in the pool".
    """
    same = row["same_bytes"]
    if same is None:
        files = "whether files are equal is not known"
    else:
        files = f"{same:,} equal file{'s' * (same != 1)}"
    if leaks.threshold is None:
        told = f"{files} of {row['compared']:,} pairs compared"
    else:
        near = f"{row['near']:,} pair{'s' * (row['near'] != 1)}"
        told = f"{near} at or above {leaks.threshold:g} of {row['compared']:,} compared; {files}"
    counts = (
        f"{row['touched']:,} of {row['images']:,} test images ({100 * row['share']:.1f} %) and "
        f"{row['pool_touched']:,} of {leaks.pool:,} {where}"
    )
    return f"{row['dataset']}: {told}" + (f": {counts}" if row["touched"] else f" ({where})")

"""The rows of a scan get their splits: from a list, all one, or dealt. Notes say which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from meddel_fast.images.look_alikes import alike
from meddel_fast.images.splits import LARGE, Dealing, deal_splits, join

Rows = list[dict[str, Any]]


def is_dealt(dealing: Dealing, listed: str) -> bool:
    """Tell whether splits are dealt, given the name of the list that has them, or none."""
    return not listed and not dealing.is_whole


def needs_looks(dealing: Dealing, groups: Sequence[str], listed: str) -> bool:
    """Tell whether the looks of images with these groups are needed to deal them."""
    return is_dealt(dealing, listed) and dealing.near_duplicates and not all(groups)


def assign(
    rows: Rows,
    looks: Sequence[Any],
    dealing: Dealing,
    *,
    listed: str = "",
    more: Sequence[Sequence[str]] = (),
    threads: int | None = None,
) -> list[str]:
    """Give the usable rows their splits, unless a list has, and say how.

    Parameters
    ----------
    rows
        Of a manifest; their ``split`` is changed.
    looks
        What `look_alikes.look` gave for each row; None where it was not asked.
    dealing
        How rows get their splits without a list.
    listed
        Name of the list that gave them; empty without one.
    more
        Other columns by which rows are joined, each with a value for each row.
    threads
        Number of threads; None for all cores.

    Returns
    -------
    list of str
        Lines for people: how the splits came about, and what lies on both sides.
    """
    usable = [i for i, row in enumerate(rows) if row["status"] == "ok"]
    chosen = [rows[i] for i in usable]
    if not is_dealt(dealing, listed):
        if not listed:
            for row in chosen:
                row["split"] = dealing.split
            return [f"all {len(chosen)} images are for {dealing.split}, nothing was dealt"]
        return [f"splits are those of {listed}", *_crossing(chosen)]
    groups = [row["group"] for row in chosen]
    hashes = [row["sha256"] for row in chosen]
    seen = [looks[i] for i in usable]
    similar: Sequence[int] = range(len(chosen))
    if any(one is not None for one in seen):
        similar = alike([row["id"] for row in chosen], seen, [bool(g) for g in groups], threads)
    relations = [groups, hashes, similar, *([column[i] for i in usable] for column in more)]
    component = join(len(chosen), relations)
    # A component has the name of a group, if there is one in it, else the first of its hashes: so
    # what is joined by nothing but its group, or by nothing, is dealt whatever else there is.
    keys: dict[int, tuple[bool, str]] = {}
    for number, group, digest in zip(component, groups, hashes, strict=True):
        key = (False, f"group {group}") if group else (True, digest)
        keys[number] = min(keys.get(number, key), key)
    dealt = deal_splits([keys[number][1] for number in component])
    for row, split in zip(chosen, dealt, strict=True):
        row["split"] = split
    return _told(component, {"group": groups, "equal file": hashes, "looks": similar}, dealt)


def _told(
    component: Sequence[int], relations: Mapping[str, Sequence[Any]], dealt: Sequence[str]
) -> list[str]:
    sizes = Counter(component)
    joined = {name: _shared(values) for name, values in relations.items()}
    by = ", ".join(f"{count} by {name}" for name, count in joined.items() if count)
    lines = [
        f"{len(component)} images were dealt into splits as {len(sizes)} units"
        + (f"; joined to others: {by}" if by else "")
    ]
    largest = max(sizes.values(), default=0)
    way_out = "a list of splits or groups, or group_by, would part it"
    if len(sizes) < 3 and component:
        lines.append(f"with fewer than 3 units all images are for training: {way_out}")
    elif largest > LARGE * len(component):
        split = dealt[component.index(max(sizes, key=lambda number: sizes[number]))]
        lines.append(
            f"the largest unit holds {largest} of the {len(component)} images, all for {split}: "
            f"{way_out}"
        )
    return lines


def _shared(values: Sequence[Any]) -> int:
    """Count the images that share their value with another."""
    counts = Counter(value for value in values if value not in ("", None))
    return sum(count for count in counts.values() if count > 1)


def _crossing(rows: Rows) -> list[str]:
    """Count what a list puts into more than one split: it is told, and left as it is."""
    lines = []
    for column, what in (("sha256", "file"), ("group", "group")):
        splits: dict[str, set[str]] = {}
        for row in rows:
            if row[column]:
                splits.setdefault(row[column], set()).add(row["split"])
        across = sum(len(found) > 1 for found in splits.values())
        if across:
            lie = f"{what} lies" if across == 1 else f"{what}s lie"
            lines.append(f"{across} {lie} in more than one split")
    return lines

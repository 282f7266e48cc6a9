"""Kvasir-Capsule: folders of findings, and a table with video, frame and box of each image."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from meddel_fast.data.address import ImageError
from meddel_fast.data.readers.classes import Classes
from meddel_fast.data.readers.tree import Box, Item, Sample, Tree, read_text, stem_of


@dataclass(frozen=True)
class Capsule:
    """Class folders below `within`; ``metadata.csv`` (``;``) or ``metadata.json`` in the set.

    Its columns: ``filename``, ``video_id``, ``frame_number``, ``finding_class``, and ``x1`` ...
    ``y4``, the corners of a rectangle, empty where an image shows no finding.
    """

    within: str = "labelledimages"

    def find(self, tree: Tree) -> list[Sample]:
        """Find the labelled images."""
        samples = Classes(self.within).find(tree)
        told: dict[str, dict[str, Any]] = {}
        for item in tree.named(r"metadata\.(csv|json)"):
            for row in _rows(item):
                if "filename" not in row:
                    raise ImageError(item.path, f"wanted a column filename, got {[*row]}")
                told[PurePosixPath(str(row["filename"])).stem] = row | {"table": item}
        found = [_told(sample, told.get(stem_of(sample.image))) for sample in samples]
        if not samples:
            return []
        present = {stem_of(sample.image) for sample in samples}
        folder = samples[0].image.parent
        return found + [
            Sample(folder / stem, reason=f"missing: listed in {told[stem]['table'].parts[-1]}")
            for stem in sorted(set(told) - present)
        ]


def _rows(item: Item) -> list[dict[str, Any]]:
    text = read_text(item)
    if item.suffix == ".csv":
        return list(csv.DictReader(text.splitlines(), delimiter=";"))
    try:
        rows = json.loads(text)
    except ValueError as error:
        raise ImageError(item.path, f"not JSON: {error}") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ImageError(item.path, "wanted a list of objects")
    return rows


def _told(sample: Sample, row: dict[str, Any] | None) -> Sample:
    if row is None:
        return sample
    try:
        frame = int(row["frame_number"])
        boxes = _rectangle(row)
    except (KeyError, TypeError, ValueError) as error:
        table = row["table"].path
        raise ImageError(table, f"row of {row['filename']!r} not understood: {error!r}") from error
    label = str(row.get("finding_class") or sample.label)
    group = str(row.get("video_id") or "")
    return replace(sample, label=label, group=group, frame=frame, boxes=boxes)


def _rectangle(row: dict[str, Any]) -> tuple[Box, ...]:
    if row["x1"] in ("", None):
        return ()
    x, y = ([float(row[f"{axis}{n}"]) for n in range(1, 5)] for axis in "xy")
    return ((min(x), min(y), max(x), max(y)),)

"""Kvasir-Capsule: folders of findings, and a table with video, frame and box of each image."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from meddel_fast.images.address import ImageError
from meddel_fast.images.readers.classes import Classes
from meddel_fast.images.readers.item import Item, read_text, stem_of
from meddel_fast.images.readers.plain_names import plain
from meddel_fast.images.readers.tree import Box, Sample, Tree

_CORNERS = [f"{axis}{number}" for number in range(1, 5) for axis in "xy"]

_Row = dict[str, Any]


@dataclass(frozen=True)
class Capsule:
    """Class folders below `within`; ``metadata.csv`` (``;``), else ``metadata.json`` in the set.

    The table's columns: ``filename``, ``video_id``, ``frame_number``, ``finding_class``, and ``x1``
    ... ``y4``, the corners of a rectangle, empty where an image shows no finding. An image has a
    row for each finding. Its label is its folder's class, if a row has that, and a copy of it in
    the folder of another class takes the rows of its own.

    The release's JSON is what its CSV was made of: findings with their frames by video, so it is
    read where there is no CSV, and names the images with a finding alone. Video and frame are then
    those in the images' names, ``<video>_<frame>``.
    """

    within: str = "labelledimages"

    def find(self, tree: Tree) -> list[Sample]:
        """Find the labelled images."""
        samples = Classes(self.within).find(tree)
        if not samples:
            return []
        tables = tree.named(r"metadata\.csv") or tree.named(r"metadata\.json")
        told: dict[str, list[_Row]] = defaultdict(list)
        for item in tables:
            for row in _rows(item):
                if "filename" not in row:
                    raise ImageError(item.path, f"wanted a column filename, got {[*row]}")
                told[PurePosixPath(str(row["filename"])).stem].append(row | {"table": item})
        folders: dict[str, set[str]] = defaultdict(set)
        for sample in samples:
            folders[stem_of(sample.image)].add(plain(sample.label or ""))
        folder = samples[0].image.parent
        return [_told(sample, told, folders) for sample in samples] + [
            Sample(folder / stem, reason=f"missing: listed in {rows[0]['table'].parts[-1]}")
            for stem, rows in sorted(told.items())
            if stem not in folders and not rows[0].get("by_name")
        ]


def _rows(item: Item) -> list[_Row]:
    text = read_text(item)
    if item.suffix == ".csv":
        return list(csv.DictReader(text.splitlines(), delimiter=";"))
    try:
        rows = json.loads(text)
    except ValueError as error:
        raise ImageError(item.path, f"not JSON: {error}") from error
    videos = rows.values() if isinstance(rows, dict) else ()
    if videos and all(isinstance(each, dict) and "findings" in each for each in videos):
        try:
            return list(_findings(rows))
        except (AttributeError, KeyError, TypeError) as error:
            raise ImageError(item.path, f"findings not understood: {error!r}") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ImageError(item.path, "wanted a list of objects, or findings by video")
    return rows


def _findings(videos: dict[str, Any]) -> Iterator[_Row]:
    """Give a row for each frame of each finding."""
    for video, content in videos.items():
        for finding in content["findings"].values():
            for frame, where in finding["frames"].items():
                corners = [
                    value for corner in where["shape"] for value in (corner["x"], corner["y"])
                ]
                yield {
                    "filename": f"{video}_{frame}",
                    "video_id": video,
                    "frame_number": frame,
                    "finding_class": finding["metadata"]["pillcam_subtype"],
                    "by_name": True,
                    **dict(zip(_CORNERS, corners, strict=False)),
                }


def _told(sample: Sample, told: dict[str, list[_Row]], folders: dict[str, set[str]]) -> Sample:
    """Add what the rows of an image tell, but for those of another folder that it lies in."""
    if sample.reason:
        return sample
    stem = stem_of(sample.image)
    mine = plain(sample.label or "")
    others = folders[stem] - {mine}
    rows = [row for row in told.get(stem, ()) if plain(_class(row)) not in others]
    if not rows:
        video, _, number = stem.rpartition("_")
        is_frame = bool(video) and number.isascii() and number.isdigit()
        known = any(row.get("by_name") for each in told.values() for row in each[:1])
        return replace(
            sample,
            group=video if is_frame else "",
            frame=int(number) if is_frame else -1,
            boxes=() if known else None,
        )
    try:
        frame = int(rows[0]["frame_number"])
        boxes = tuple(box for row in rows for box in _rectangle(row))
    except (KeyError, TypeError, ValueError) as error:
        row = rows[0]
        table = row["table"].path
        raise ImageError(table, f"row of {row['filename']!r} not understood: {error!r}") from error
    classes = {_class(row) for row in rows} - {""}
    own = {name for name in classes if plain(name) == mine}
    label = "+".join(sorted(own or classes)) or sample.label
    group = str(rows[0].get("video_id") or "")
    return replace(sample, label=label, group=group, frame=frame, boxes=boxes)


def _class(row: _Row) -> str:
    name = str(row.get("finding_class") or "")
    return "" if name == "None" else name  # a finding that nobody has named


def _rectangle(row: _Row) -> tuple[Box, ...]:
    if row["x1"] in ("", None):
        return ()
    x, y = ([float(row[f"{axis}{n}"]) for n in range(1, 5)] for axis in "xy")
    return ((min(x), min(y), max(x), max(y)),)

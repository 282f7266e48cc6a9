"""Boxes as the releases tell them: JSON by image, or a text file an image."""

from __future__ import annotations

import json
import re
from typing import Any

from meddel_fast.images.address import ImageError
from meddel_fast.images.readers.item import Item, read_text
from meddel_fast.images.readers.tree import Box, Tree

_SIDES = ("xmin", "ymin", "xmax", "ymax")
_NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?"


def from_json(tree: Tree, folder: tuple[str, ...]) -> dict[str, tuple[Box, ...]]:
    """Read the JSON files in `folder` that tell boxes by image: shares of the sides, by stem.

    Their form: ``{stem: {"width": w, "height": h, "bbox": [{"xmin": ..., "ymin": ..., "xmax": ...,
    "ymax": ...}]}}``. Other JSON files are passed over.

    Raises
    ------
    ImageError
        A file is no JSON, or has that form but for an entry.
    """
    found: dict[str, tuple[Box, ...]] = {}
    for item in tree.named(r".*\.json"):
        if item.parts[:-1] != folder:
            continue
        try:
            table = json.loads(read_text(item))
        except ValueError as error:
            raise ImageError(item.path, f"not JSON: {error}") from error
        entries = table.items() if isinstance(table, dict) else ()
        if any(isinstance(entry, dict) and "bbox" in entry for _, entry in entries):
            found |= {stem: _shares(entry, stem, item) for stem, entry in entries}
    return found


def _shares(entry: Any, stem: str, item: Item) -> tuple[Box, ...]:
    try:
        width, height = float(entry["width"]), float(entry["height"])
        corners = [[float(box[side]) for side in _SIDES] for box in entry["bbox"]]
        return tuple((a / width, b / height, c / width, d / height) for a, b, c, d in corners)
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ImageError(item.path, f"boxes of {stem!r} not understood: {error!r}") from error


def from_text(item: Item) -> tuple[tuple[Box, ...], bool, tuple[str, ...]]:
    """Read a text file with a box a line: the boxes, whether they are shares, and the classes.

    Five numbers are a class and, as shares of the sides, the box's centre, width and height. Four
    and a word, in either order, are the corners in pixels and the class.

    Raises
    ------
    ImageError
        A line is neither.
    """
    boxes: list[Box] = []
    classes = []
    relative = False
    for number, line in enumerate(read_text(item).splitlines(), start=1):
        fields = re.split(r"[\s,;]+", line.strip())
        if fields == [""]:
            continue
        values = [float(f) for f in fields if re.fullmatch(_NUMBER, f)]
        words = [f for f in fields if not re.fullmatch(_NUMBER, f)]
        if len(fields) != 5 or len(words) > 1:
            wanted = "class, centre and size, or corners and class"
            raise ImageError(item.path, f"line {number} is no box ({wanted}): {line!r}")
        if words:
            boxes.append((values[0], values[1], values[2], values[3]))
        else:
            relative = True
            x, y, width, height = values[1:]
            boxes.append((x - width / 2, y - height / 2, x + width / 2, y + height / 2))
        classes.append(words[0] if words else fields[0])
    return tuple(boxes), relative, tuple(classes)

"""What made releases are built of: images with numbers, their masks, and the usual folders."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from containers import encoded, frame
from PIL import Image

WIDTH, HEIGHT = 32, 24
_KINDS = {"jpg": "JPEG", "png": "PNG", "tif": "TIFF", "tiff": "TIFF", "bmp": "BMP"}


@dataclass
class Release:
    """Files by path, and what a reader should find: by image, and how many in each part.

    ``left`` are images that are no samples, with the reason.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    parts: dict[str, int] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)

    def image(self, path: str, part: str = "images", mask: str = "", **told: Any) -> int:
        """Add an image (and its mask, of n + 1 rows, for number n), and what is told about it."""
        number = len(self.facts)
        self.files[path] = encoded(Image.fromarray(frame(number, WIDTH, HEIGHT)), _kind(path))
        if mask:
            self.files[mask] = mask_file(mask, range(number + 1))
        self.facts[path] = {"number": number, "part": part, "masked": bool(mask)} | told
        self.parts[part] = self.parts.get(part, 0) + 1
        return number

    def other(self, path: str, reason: str = "") -> None:
        """Add an image that is of another set, or, for `reason`, no sample."""
        self.files[path] = encoded(Image.fromarray(frame(len(self.files) + 900)), _kind(path))
        if reason:
            self.left[path] = reason

    def moved(self, top: str) -> Release:
        """Give the same release below another top folder, "" for none."""
        new = {
            p: f"{top}/{p.partition('/')[2]}" if top else p.partition("/")[2] for p in self.files
        }
        return Release(
            {new[path]: data for path, data in self.files.items()},
            {new[path]: told for path, told in self.facts.items()},
            dict(self.parts),
            {new[path]: reason for path, reason in self.left.items()},
        )

    def write(self, root: Path) -> None:
        for name, data in self.files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(data)


def _kind(path: str) -> str:
    return _KINDS[path.rpartition(".")[2]]


def mask_file(path: str, rows: range) -> bytes:
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
    pixels[rows.start : rows.stop] = 255
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, _kind(path))
    return buffer.getvalue()


def pages_file(rows: range, pages: int = 5) -> bytes:
    """A mask of several pages, of which each has some of the rows."""
    made = []
    for page in range(pages):
        pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
        pixels[[row for row in rows if row % pages == page]] = 255
        made.append(Image.fromarray(pixels))
    buffer = io.BytesIO()
    made[0].save(buffer, "TIFF", save_all=True, append_images=made[1:])
    return buffer.getvalue()


def pairs(top: str, images: str = "png", masks: str = "png", count: int = 4) -> Release:
    made = Release()
    for n in range(count):
        made.image(f"{top}/images/{n}.{images}", mask=f"{top}/masks/{n}.{masks}")
    return made


def named(
    top: str, stems: dict[Any, dict[str, Any]], images: str = "images", masks: str = "masks",
    kind: str = "png",
) -> Release:  # fmt: skip
    """Images and masks of these names, with what should be found out about each."""
    made = Release()
    for stem, told in stems.items():
        made.image(f"{top}/{images}/{stem}.{kind}", mask=f"{top}/{masks}/{stem}.{kind}", **told)
    return made


def with_boxes(made: Release, path: str) -> Release:
    """Add boxes in JSON, told for images twice as large as those on disk."""
    table = {}
    for image, facts in made.facts.items():
        n = facts["number"]
        corners = {"label": "polyp", "xmin": 2 * n, "ymin": 4, "xmax": 2 * n + 20, "ymax": 30}
        sides = {"width": 2 * WIDTH, "height": 2 * HEIGHT}
        table[Path(image).stem] = sides | {"bbox": [corners]}
        facts["boxes"] = [[n, 2, n + 10, 15]]
    made.files[path] = json.dumps(table).encode()
    return made


def folders(top: str, images: str, masks: str, kind: str, prefix: str = "") -> Release:
    made = Release()
    for n in range(1, 5):
        made.image(f"{top}/{images}{n}.{kind}", mask=f"{top}/{masks}{prefix}{n}.{kind}")
    return made

"""Small pictures for the report: each image decoded and embedded once, within a size limit."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meddel_fast.common.extras import needs
from meddel_fast.common.pool import Pool

SIDE = 112
TILE, SMALL_TILE = 36, 32
_MANY = 2_500  # images from which on tiles are small
# Bytes of JPEG in all galleries, and in the sheet of tiles; base64 adds a third.
_LIMIT = 2_200_000
_SHEET_LIMIT = 2_000_000
_QUALITY = 80
_SHEET_QUALITIES = (80, 65, 50, 35)
_DECODERS = 4


class Picture(NamedTuple):
    """A row's thumbnail and its description, or None and why there is none."""

    row: int | None
    text: str


class Frame(NamedTuple):
    """A picture with a badge, its name below, and its full name at the pointer."""

    picture: Picture
    badge: str
    name: str
    title: str
    kind: str = ""  # more classes


class Figure(NamedTuple):
    """One frame, or two side by side, and below them words, each with its number or without."""

    frames: Sequence[Frame]
    told: Sequence[tuple[str, str]] | None


class Gallery(NamedTuple):
    """Figures under a title."""

    title: str
    figures: Sequence[Figure]


class Thumbnails:
    """Thumbnails by row of the pool: asked for one by one, written to the page once each.

    Images that are not in the pool get rows beyond it by :meth:`add`.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = list(paths)
        self._jpegs: dict[int, bytes | None] = {}
        self._bytes = 0

    def add(self, path: Path) -> int:
        """Take in one more image; return the row that it goes by."""
        self._paths.append(path)
        return len(self._paths) - 1

    def prepare(self, rows: Sequence[int]) -> None:
        """Decode the images of some rows side by side, as far as the size limit allows."""
        new = [row for row in dict.fromkeys(rows) if row not in self._jpegs]
        with Pool(_DECODERS) as pool:
            for row, jpeg in zip(new, pool.map(self._encode, new), strict=True):
                size = len(jpeg or b"")
                if self._bytes + size > _LIMIT:
                    return
                self._bytes += size
                self._jpegs[row] = jpeg

    def picture(self, row: int, text: str) -> Picture:
        """Refer to the thumbnail of a row, described by `text`."""
        if row not in self._jpegs:
            return Picture(None, "left out to keep the file small")
        if self._jpegs[row] is None:
            return Picture(None, "image not found or not readable")
        return Picture(row, text)

    def stored(self) -> list[tuple[int, str]]:
        """List the rows that :meth:`picture` refers to, with their images as data URIs."""
        return [
            (row, f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}")
            for row, jpeg in self._jpegs.items()
            if jpeg is not None
        ]

    def _encode(self, row: int) -> bytes | None:
        pixels = load_thumbnail(self._paths[row], SIDE)
        return None if pixels is None else _jpeg(pixels)


def atlas(paths: Sequence[Path]) -> tuple[str, int, int, int]:
    """Put many tiny images on one sheet of at most `_SHEET_LIMIT` bytes.

    Returns
    -------
    str
        The sheet as a data URI, row by row of tiles; grey where an image could not be read.
    int
        Tiles a row.
    int
        Side of a tile: smaller where there are many.
    int
        Number of tiles, of the first images: fewer than there are images only where they would not
        fit at the lowest quality.
    """
    across = max(1, int(np.ceil(np.sqrt(len(paths)))))
    side = TILE if len(paths) <= _MANY else SMALL_TILE
    sheet = np.full((-(-len(paths) // across) * side, across * side, 3), 128, dtype=np.uint8)
    with Pool(_DECODERS) as pool:
        for i, pixels in enumerate(pool.map(lambda path: load_thumbnail(path, side), paths)):
            if pixels is not None:
                y, x = divmod(i, across)
                sheet[y * side : (y + 1) * side, x * side : (x + 1) * side] = pixels
    for quality in _SHEET_QUALITIES:
        jpeg = _jpeg(sheet, quality)
        if len(jpeg) <= _SHEET_LIMIT:
            break
    while len(jpeg) > _SHEET_LIMIT and len(sheet) > side:
        sheet = sheet[: len(sheet) // side // 2 * side]
        jpeg = _jpeg(sheet, quality)
    tiles = min(len(paths), len(sheet) // side * across)
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode(), across, side, tiles


def load_thumbnail(path: Path, side: int) -> NDArray[np.uint8] | None:
    """Load an image as the encoder sees it, squeezed to a square; None when that fails."""
    from meddel_fast.images.load_images import ImageError, load_image

    try:
        return load_image(path, side)
    except (ImageError, OSError):
        return None


def _jpeg(pixels: NDArray[np.uint8], quality: int = _QUALITY) -> bytes:
    with needs("benchmark"):
        from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()

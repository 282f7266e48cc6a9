"""Small pictures for the report: each image decoded and embedded once, within a size limit."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meddel_fast.report.text import escape

SIDE = 112
TILE = 36
_LIMIT = 3_600_000  # bytes of JPEG in all galleries; base64 adds a third
_QUALITY = 80
_DECODERS = 4


class Thumbnails:
    """Thumbnails by row of the pool: asked for one by one, written to the page once each."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._jpegs: dict[int, bytes | None] = {}
        self._bytes = 0

    def prepare(self, rows: Sequence[int]) -> None:
        """Decode the images of some rows side by side, as far as the size limit allows."""
        new = [row for row in dict.fromkeys(rows) if row not in self._jpegs]
        with ThreadPoolExecutor(_DECODERS) as pool:
            for row, jpeg in zip(new, pool.map(self._encode, new), strict=True):
                size = len(jpeg or b"")
                if self._bytes + size > _LIMIT:
                    return
                self._bytes += size
                self._jpegs[row] = jpeg

    def tag(self, row: int, text: str) -> str:
        """Refer to the thumbnail of a row, described by `text`."""
        if row not in self._jpegs:
            return f'<span class="thumb none">{escape("left out to keep the file small")}</span>'
        if self._jpegs[row] is None:
            return f'<span class="thumb none">{escape("image not found or not readable")}</span>'
        return (
            f'<svg class="thumb" viewBox="0 0 {SIDE} {SIDE}" role="img" '
            f'aria-label="{escape(text)}"><use href="#t{row}"/></svg>'
        )

    def definitions(self) -> str:
        """Write the pictures that :meth:`tag` refers to."""
        images = "".join(
            f'<image id="t{row}" width="{SIDE}" height="{SIDE}" '
            f'href="data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"/>'
            for row, jpeg in self._jpegs.items()
            if jpeg is not None
        )
        return (
            '<svg class="store" width="0" height="0" aria-hidden="true">'
            f"<defs>{images}</defs></svg>"
        )

    def _encode(self, row: int) -> bytes | None:
        pixels = _load(self._paths[row], SIDE)
        return None if pixels is None else _jpeg(pixels)


def atlas(paths: Sequence[Path]) -> tuple[str, int]:
    """Put many tiny images on one sheet.

    Returns
    -------
    str
        The sheet as a data URI, row by row of tiles of side :data:`TILE`; grey where an image
        could not be read.
    int
        Tiles a row.
    """
    columns = max(1, int(np.ceil(np.sqrt(len(paths)))))
    rows = -(-len(paths) // columns)
    sheet = np.full((rows * TILE, columns * TILE, 3), 128, dtype=np.uint8)
    with ThreadPoolExecutor(_DECODERS) as pool:
        for i, pixels in enumerate(pool.map(lambda path: _load(path, TILE), paths)):
            if pixels is not None:
                y, x = divmod(i, columns)
                sheet[y * TILE : (y + 1) * TILE, x * TILE : (x + 1) * TILE] = pixels
    return "data:image/jpeg;base64," + base64.b64encode(_jpeg(sheet)).decode(), columns


def _load(path: Path, side: int) -> NDArray[np.uint8] | None:
    """Load an image as the encoder sees it, squeezed to a square; None when that fails."""
    from meddel_fast.data.images import ImageError, load_image

    try:
        return load_image(path, side)
    except (ImageError, OSError):
        return None


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return buffer.getvalue()

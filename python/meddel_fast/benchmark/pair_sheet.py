"""A contact sheet of pairs on both sides of a threshold: an HTML page, or a PNG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.arrays import SimilarPairsResult
from meddel_fast.benchmark.report.markup import fill
from meddel_fast.benchmark.report.text import number, visible
from meddel_fast.benchmark.report.thumbnails import (
    SIDE,
    Figure,
    Frame,
    Gallery,
    Thumbnails,
    load_thumbnail,
)
from meddel_fast.common.extras import needs
from meddel_fast.common.files import StrPath
from meddel_fast.common.outputs import Kind, output_path, page, picture
from meddel_fast.common.pool import Pool
from meddel_fast.images.manifest import Manifest

SHEETS: dict[str, Kind] = {
    ".html": page("a contact sheet"),
    ".png": picture("a contact sheet", "MedDEL pairs"),
}
"""What :func:`write_pair_sheet` writes, by suffix."""

_ACROSS = 4  # pairs a row of the PNG
_GAP, _LINE = 12, 16  # pixels
_DECODERS = 4


@dataclass(frozen=True)
class PairSheet:
    """The pairs nearest to a threshold, and the images that they are of.

    Attributes
    ----------
    pairs
        Of rows of the manifest.
    threshold
        The cosine from which on two samples count as near duplicates.
    manifest
        The images; its usable rows are those that the pairs name.
    about
        A line below the title.
    """

    pairs: SimilarPairsResult
    threshold: float
    manifest: Manifest
    about: str

    def sides(self) -> list[tuple[str, list[tuple[int, int, float]]]]:
        """Return the pairs at or above the threshold, the least similar first, and those below."""
        rows = list(zip(*(field.tolist() for field in self.pairs), strict=True))
        above = [row for row in rows if row[2] >= self.threshold]
        below = [row for row in rows if row[2] < self.threshold]
        at = f"{self.threshold:g}"
        return [
            (f"At or above {at}: near duplicates, the least similar first", above[::-1]),
            (f"Below {at}: no near duplicates, the most similar first", below),
        ]

    def told(self, i: int, j: int) -> str:
        """Say whether both are of one group, where the manifest knows groups."""
        groups = self._groups
        if not groups[i] or not groups[j]:
            return ""
        return "one group" if groups[i] == groups[j] else "two groups"

    @cached_property
    def _groups(self) -> list[str]:
        return self.manifest.column("group")


def write_pair_sheet(sheet: PairSheet, path: StrPath) -> None:
    """Write a contact sheet, atomically: a page that loads nothing, or a picture, by the suffix.

    Images that cannot be read are shown as such.

    Raises
    ------
    ValueError, FileExistsError
        Another suffix, or something else is there.
    """
    suffix = Path(path).suffix
    if suffix not in SHEETS:
        raise ValueError(f"path must end in .html or .png, got {path}")
    with output_path(path, SHEETS[suffix]) as temporary:
        if suffix == ".html":
            temporary.write_text(_html(sheet), encoding="utf-8", newline="")
        else:
            _png(sheet, temporary)


def _html(sheet: PairSheet) -> str:
    names, thumbnails = sheet.manifest.ids, Thumbnails(sheet.manifest.image_paths())
    galleries = []
    for title, rows in sheet.sides():
        thumbnails.prepare([row for i, j, _ in rows for row in (i, j)])
        figures = []
        for i, j, similarity in rows:
            told = [("cosine", f"{similarity:.4f}")]
            told += [(word, "") for word in (sheet.told(i, j),) if word]
            figures.append(Figure([_frame(thumbnails, names, row) for row in (j, i)], told))
        galleries.append(Gallery(title, figures))
    return fill(
        "pairs",
        threshold=f"{sheet.threshold:g}",
        about=sheet.about,
        galleries=galleries,
        thumbnails=thumbnails.stored(),
    )


def _frame(thumbnails: Thumbnails, names: Sequence[str], row: int) -> Frame:
    name = names[row]
    return Frame(thumbnails.picture(row, name), number(row), name.rpartition("/")[2], name)


def _png(sheet: PairSheet, path: Path) -> None:
    with needs("benchmark"):
        from PIL import Image, ImageDraw, ImageFont
        from PIL.PngImagePlugin import PngInfo

    names, pixels = sheet.manifest.ids, _pixels(sheet)
    cell = (2 * SIDE + _GAP, SIDE + 3 * _LINE + _GAP)
    width = _GAP + _ACROSS * (cell[0] + _GAP)
    sides = sheet.sides()
    heights = [2 * _LINE + max(1, -(-len(rows) // _ACROSS)) * cell[1] for _, rows in sides]
    canvas = Image.new("RGB", (width, 4 * _LINE + sum(heights)), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(12)

    def write(x: int, y: int, text: str) -> None:
        draw.text((x, y), _drawable(text), fill="black", font=font)

    write(_GAP, _LINE, f"Pairs nearest to {sheet.threshold:g}. {sheet.about}")
    top = 3 * _LINE
    for (title, rows), height in zip(sides, heights, strict=True):
        write(_GAP, top, title if rows else f"{title}: none")
        for place, (i, j, similarity) in enumerate(rows):
            down, across = divmod(place, _ACROSS)
            x, y = _GAP + across * (cell[0] + _GAP), top + 2 * _LINE + down * cell[1]
            for left, row in enumerate((j, i)):
                at = (x + left * (SIDE + 2), y)
                if (one := pixels[row]) is None:
                    draw.rectangle([at, (at[0] + SIDE - 1, at[1] + SIDE - 1)], outline="grey")
                    write(at[0] + 4, at[1] + 4, "not readable")
                else:
                    canvas.paste(Image.fromarray(one), at)
                name = _drawable(names[row])
                while font.getlength(name) > cell[0]:  # its end tells it from others
                    name = name[1:]
                write(x, y + SIDE + (1 + left) * _LINE, name)
            write(x, y + SIDE, " ".join([f"{similarity:.4f}", sheet.told(i, j)]))
        top += height
    about = PngInfo()
    about.add_text("Title", SHEETS[".png"].name + ": MedDEL pairs")
    canvas.save(path, "PNG", pnginfo=about)


def _pixels(sheet: PairSheet) -> dict[int, NDArray[np.uint8] | None]:
    """Decode the images of all pairs, each once; None where that fails."""
    paths = sheet.manifest.image_paths()
    rows = list(dict.fromkeys([*sheet.pairs.i.tolist(), *sheet.pairs.j.tolist()]))
    with Pool(_DECODERS) as pool:
        found = pool.map(lambda row: load_thumbnail(paths[row], SIDE), rows)
        return dict(zip(rows, found, strict=True))


def _drawable(text: Any) -> str:
    """Return what every version of Pillow's own font can draw."""
    return visible(text).encode("ascii", "replace").decode()

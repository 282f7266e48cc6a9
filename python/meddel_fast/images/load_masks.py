"""Masks: files become squares of 0, 1 and 255, by what their numbers mean in the whole data set.

What a number means is settled once a data set, over all its masks (`masks.census`) or by its owner,
and stands in the manifest; here it is applied. No mask is stretched or judged by itself.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.common.files import StrPath
from meddel_fast.common.suffixes import PAGED
from meddel_fast.images.address import ImageError, indexed, parse, union
from meddel_fast.images.masks.census import Census, MaskError
from meddel_fast.images.masks.numbers import ONE_BIT, depth_of, numbers_of
from meddel_fast.images.masks.rule import IGNORED, Meaning
from meddel_fast.images.pixels import read_pixels
from meddel_fast.images.sources import frame_count

if TYPE_CHECKING:
    from pathlib import Path

    from meddel_fast.images.manifest import Manifest


def load_mask(path: StrPath, size: int | None, meaning: Meaning | None = None) -> NDArray[np.uint8]:
    """Decode a mask to a square of 0 and 1, and 255 where a pixel does not count.

    Turned upright and squeezed as :func:`~meddel_fast.images.load_images.load_image` does, taking
    the nearest pixel. Of several files, or pages of a TIFF, a pixel is lesion where it is in any,
    and else ignored where it is in any.

    Parameters
    ----------
    path
        The file, any address, or several joined to a union.
    size
        Side of the square in pixels, at least 1; ``None`` leaves the mask its own height and width.
    meaning
        What the masks of the data set mean. Without it the file is taken for a data set of one.

    Returns
    -------
    numpy.ndarray
        uint8 (size, size), or of the mask's own height and width, of 0, 1 and 255.

    Raises
    ------
    ImageError
        As for ``load_image``; also a file of a depth that the data set did not have, or, without
        `meaning`, numbers that could mean several things; or parts of several sizes, of which none
        is asked for.
    FileNotFoundError, ValueError
        As for ``load_image``.
    """
    if size is not None and size < 1:
        raise ValueError(f"size: wanted at least 1 pixel, got {size}")
    if meaning is None:
        census = Census()
        count(census, path)
        try:
            meaning = census.settle()
        except MaskError as error:
            raise ImageError(path, f"mask: {error}") from None
    found = [_squeezed(part, size, meaning) for part in _parts(path)]
    if len({part.shape for part in found}) > 1:
        raise ImageError(path, f"mask: parts of {len({p.shape for p in found})} different sizes")
    lesion = np.logical_or.reduce([part == 1 for part in found])
    ignored = np.logical_or.reduce([part == IGNORED for part in found])
    return np.where(lesion, np.uint8(1), np.where(ignored, np.uint8(IGNORED), np.uint8(0)))


def count(census: Census, path: StrPath) -> None:
    """Add a mask to the census of its data set.

    Raises
    ------
    ImageError, FileNotFoundError
        It cannot be read.
    """
    for part in _parts(path):
        pixels = read_pixels(part)
        try:
            census.add(str(part), pixels)
        except ValueError as error:
            raise ImageError(part, f"no mask: {error}") from None


def _parts(path: StrPath) -> list[Path]:
    """List the files and pages that a mask is the union of."""
    parts = []
    for part in union(path):
        address = parse(part)
        paged = address.index is None and address.suffix in PAGED
        pages = frame_count(part) if paged and address.file.is_file() else 1
        parts += [part] if pages == 1 else [indexed(part, number) for number in range(pages)]
    return parts


def _squeezed(path: Path, size: int | None, meaning: Meaning) -> NDArray[np.uint8]:
    pixels = read_pixels(path)
    depth = depth_of(pixels)
    rule = meaning.rule(depth)
    if rule is None:
        known = ", ".join(depth for depth, _ in meaning.rules) or "none"
        raise ImageError(
            path, f"a mask of {depth}; those that the manifest was built from had: {known}"
        )
    height, width = pixels.values.shape[:2]
    tall, wide = (height, width) if size is None else (size, size)
    rows = ((np.arange(tall) + 0.5) * (height / tall)).astype(np.int64)[:, None]
    columns = ((np.arange(wide) + 0.5) * (width / wide)).astype(np.int64)[None, :]

    def sampled(values: NDArray[Any] | None) -> NDArray[Any] | None:
        return None if values is None else values[rows, columns]

    values, alpha = pixels.values[rows, columns], sampled(pixels.alpha)
    small = replace(pixels, values=values, alpha=alpha)
    try:
        numbers, inverted = numbers_of(small, meaning.by_index)
    except ValueError as error:
        raise ImageError(path, f"no mask: {error}") from None
    if depth == ONE_BIT and rule.white != 255:
        numbers = np.where(numbers == 255, rule.white, numbers)
    return rule.apply(numbers, inverted=inverted, lossy=pixels.lossy)


def meanings(manifest: Manifest) -> list[Meaning | None]:
    """Say what the mask of each usable row means, ``None`` where there is no mask.

    Rows that do not tell (manifests of formats 1 and 2, and such as were made by hand) are taken
    for one data set: it is settled over their masks, now.

    Raises
    ------
    ValueError
        A meaning in the table that is none, or masks without one meaning.
    ImageError, FileNotFoundError
        A mask cannot be read.
    """
    texts, paths = manifest.column("mask_meaning"), manifest.mask_paths()
    known = {text: Meaning.from_json(text) for text in set(texts) - {None}}
    untold = [
        path for text, path in zip(texts, paths, strict=True) if text is None and path is not None
    ]
    settled = None
    if untold:
        census = Census()
        for path in untold:
            count(census, path)
        try:
            settled = census.settle()
        except MaskError as error:
            raise MaskError(f"{manifest.name}: {error}") from None
    return [
        None if path is None else settled if text is None else known[text]
        for text, path in zip(texts, paths, strict=True)
    ]


def told(manifest: Manifest) -> list[str]:
    """Say in words what the masks of a manifest's usable rows mean, a line each meaning."""
    columns = (manifest.column(name) for name in ("mask_meaning", "mask", "id"))
    found: dict[str | None, list[str]] = defaultdict(list)
    for text, mask, name in zip(*columns, strict=True):
        if mask is not None:
            found[text].append(name)
    lines = []
    for text, names in found.items():
        where = f" (first {names[0]})" if len(found) > 1 else ""
        words = "not told" if text is None else Meaning.from_json(text).words()
        lines.append(f"{len(names)} masks{where}: {words}")
    return lines

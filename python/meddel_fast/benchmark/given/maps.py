"""A file of a prediction as a map of probabilities, and the size of the truth.

Floats are probabilities. Whole numbers are a share of white, and white is told by all files of the
folder together: 1 where none has more than that (masks of 0 and 1), else 255, else 65535.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.common.extras import needs
from meddel_fast.common.npy import load_npy
from meddel_fast.images.address import ImageError
from meddel_fast.images.masks.numbers import numbers_of
from meddel_fast.images.masks.rule import is_colour
from meddel_fast.images.pixels import read_pixels
from meddel_fast.images.sources import frame_count

with needs("benchmark"):
    from PIL import Image

WHITES = (1, 255, 65535)
_PAGED = (".tif", ".tiff")

Map = NDArray[np.float64]


def read_map(path: Path) -> NDArray[Any]:
    """Read what a file stores, (h, w): bools, whole numbers, or floats of 0 to 1.

    Raises
    ------
    ImageError, FileNotFoundError
        It cannot be read, or holds no map; the message says why.
    """
    try:
        values = _of_array(load_npy(path)) if path.suffix.lower() == ".npy" else _of_image(path)
    except ImageError:
        raise
    except ValueError as error:
        raise ImageError(path, str(error)) from None
    if values.size == 0:
        raise ImageError(path, "no pixels")
    if values.dtype.kind == "f":
        low, high = float(values.min()), float(values.max())
        if np.isnan(low):
            raise ImageError(path, "floats must be probabilities, 0 to 1, got nan")
        if not (low >= 0 and high <= 1):
            raise ImageError(
                path,
                f"floats must be probabilities, 0 to 1, got {low:g} to {high:g}: scale them, or "
                "put logits through a sigmoid",
            )
    elif values.dtype.kind == "i" and values.min() < 0:
        raise ImageError(path, f"a map must not be below 0, got {int(values.min())}")
    return values


def _of_array(array: NDArray[Any]) -> NDArray[Any]:
    plain = array[0] if array.ndim == 3 and array.shape[0] == 1 else array
    plain = plain[..., 0] if plain.ndim == 3 and plain.shape[-1] == 1 else plain
    if plain.ndim != 2 or plain.dtype.kind not in "buif":
        raise ValueError(
            f"a map must be numbers (h, w), got {array.dtype} of shape {array.shape}: of several "
            "classes, give the lesion's"
        )
    return plain


def _of_image(path: Path) -> NDArray[Any]:
    pages = frame_count(path) if path.suffix.lower() in _PAGED else 1
    if pages > 1:
        raise ValueError(f"a map must be one page, got {pages}")
    pixels = read_pixels(path)
    values, inverted = numbers_of(pixels, by_index=False)
    if values.dtype.kind != "f" and is_colour(int(values.max())):
        raise ValueError("a map must be grey, got colours")
    if inverted:
        top = 1 if values.dtype.kind == "f" else np.iinfo(values.dtype).max
        values = top - values
    return values


def white_of(tops: Iterable[int]) -> int:
    """Tell what stands for certainty in whole numbers, of the highest one of each map of a folder.

    Raises
    ------
    ValueError
        A number is above all whites.
    """
    top = max(tops, default=0)
    white = next((w for w in WHITES if top <= w), None)
    if white is None:
        raise ValueError(f"maps must be of 0 to {WHITES[-1]}, got {top}")
    return white


def probabilities(path: Path, white: int) -> Map:
    """Read a map, and divide whole numbers by white."""
    values = read_map(path)
    return values.astype(np.float64) / (1 if values.dtype.kind == "f" else white)


def resized(values: Map, shape: tuple[int, int]) -> Map:
    """Bring a map to a height and width, bilinearly (over the area of a pixel when it shrinks)."""
    if values.shape == shape:
        return values
    height, width = shape
    image = Image.fromarray(values.astype(np.float32))
    small = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), np.float64)
    return np.clip(small, 0, 1)

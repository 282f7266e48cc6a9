"""Pixels as a file stores them, at full depth, and how they become 8 bits to look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from meddel_fast.common.files import StrPath
from meddel_fast.images.address import ImageError

MAX_PIXELS = 89_478_485
"""Images with more are refused as decompression bombs; Pillow's own first limit."""

LEVELS = (255.0, 4095.0, 65535.0)
"""White of a file that does not tell it: the smallest of these that holds all values."""

_HALF_STEP = 0.5 / 255  # floats so little below black or above white are rounded to them anyway
_BAND = 1 << 20  # pixels that are scaled at a time, so that no whole image is held as float64


@dataclass(frozen=True)
class Pixels:
    """What a file stores, upright, at full depth: nothing is scaled, cut or turned over.

    Attributes
    ----------
    values
        (height, width) for grey, palette indices and one bit, (height, width, 3) for colour: bool,
        uint8, uint16, uint32, int16, int32, float16, float32 or float64. CMYK and YCbCr are
        converted to RGB in their own depth.
    alpha
        (height, width) in the file's own depth, where the file has transparency.
    kind
        "grey", "palette" (the values are indices) or "colour".
    bits
        Meaningful bits of a channel: PNG's sBIT, TIFF's BitsPerSample, DICOM's BitsStored.
    lossy
        Whether the file says that its pixels went through a lossy coder. AVIF, HEIC and video do
        not tell, and count as lossy.
    inverted
        Whether 0 is white: TIFF's WhiteIsZero, DICOM's MONOCHROME1.
    palette
        (n, 3) uint8 or uint16 colours where `kind` is "palette".
    white
        The value of white, where the file tells; else it is guessed from the values.
    premultiplied
        Whether colours are stored times alpha (TIFF's associated alpha).
    """

    values: npt.NDArray[Any]
    alpha: npt.NDArray[Any] | None
    kind: str
    bits: int
    lossy: bool
    inverted: bool
    palette: npt.NDArray[Any] | None
    white: float | None = None
    premultiplied: bool = False


def check_size(width: int, height: int, path: StrPath) -> None:
    """Refuse what would be too large once it is decoded.

    Raises
    ------
    ImageError
        It has more than `MAX_PIXELS`, or none.
    """
    if width * height > MAX_PIXELS:
        raise ImageError(path, f"too large: {width}x{height} pixels")
    if width < 1 or height < 1:
        raise ImageError(path, f"broken: {width}x{height} pixels")


def to_rgb(pixels: Pixels) -> npt.NDArray[np.uint8]:
    """Scale to 8 bits, as :func:`meddel_fast.images.load_images.load_image` says.

    Returns
    -------
    numpy.ndarray
        uint8 (height, width, 3).
    """
    if pixels.kind == "palette":
        assert pixels.palette is not None
        colours = _palette_8_bit(pixels.palette)
        missing = int(pixels.values.max()) + 1 - len(colours)
        colours = np.pad(colours, ((0, max(missing, 0)), (0, 0)))  # black, as Pillow has it
        return _flattened(colours[pixels.values.astype(np.intp)], pixels.alpha)
    low, high = _range(pixels)
    alpha_white = 1.0
    if pixels.alpha is not None:
        # opaque is no less than white: colours of 12 bits may lie beside an alpha of 12 or 16
        top = float(pixels.alpha.max())
        least = high if pixels.alpha.dtype.kind != "f" else 1.0
        alpha_white = pixels.white or next((v for v in (least, *LEVELS) if v >= top >= 0), top)
    height, width = pixels.values.shape[:2]
    out = np.empty((height, width, 3), np.uint8)
    rows = max(1, _BAND // width)
    for start in range(0, height, rows):
        band = slice(start, start + rows)
        part = (_finite(pixels.values[band]) - low) / (high - low)
        part = np.clip(part, 0, 1)
        if pixels.inverted:
            part = 1 - part
        if part.ndim == 2:
            part = part[..., None]
        if pixels.alpha is not None and not pixels.premultiplied:
            part = part * np.clip(_finite(pixels.alpha[band]) / alpha_white, 0, 1)[..., None]
        out[band] = (part * 255 + 0.5).astype(np.uint8)
    return out


def _range(pixels: Pixels) -> tuple[float, float]:
    """Give the values that become black and white."""
    values = pixels.values
    if pixels.white is not None:
        return 0.0, float(pixels.white)
    if values.dtype.kind == "f":
        finite = values[np.isfinite(values)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    else:
        low, high = float(values.min()), float(values.max())
    slack = _HALF_STEP if values.dtype.kind == "f" else 0.0
    levels = (1.0, *LEVELS) if values.dtype.kind == "f" else LEVELS
    white = next((level for level in levels if high <= level * (1 + slack)), high)
    if low < -white * slack:  # black is stated nowhere: as for DICOM without a window
        return low, high if high > low else low + 1
    return 0.0, white


def _finite(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    numbers = values.astype(np.float64)
    return np.nan_to_num(numbers, copy=False, posinf=0, neginf=0)


def _palette_8_bit(palette: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Take the upper bytes, unless the file has none (as some writers' colour maps of 8 bits)."""
    if palette.dtype == np.uint16 and palette.max() > 255:
        return (palette >> 8).astype(np.uint8)
    return palette.astype(np.uint8)


def _flattened(
    colours: npt.NDArray[np.uint8], alpha: npt.NDArray[Any] | None
) -> npt.NDArray[np.uint8]:
    if alpha is None:
        return colours
    full = np.iinfo(alpha.dtype).max
    share = alpha.astype(np.float64)[..., None] / full
    return np.asarray((colours * share + 0.5).astype(np.uint8))

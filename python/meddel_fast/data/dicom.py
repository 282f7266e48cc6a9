"""Pixels of DICOM files, as 8-bit images. Needs pydicom.

Grey values pass the modality rescale (slope, intercept), then the first window of the file: width w
around centre c maps ``(x - (c - 0.5)) / (w - 1) + 0.5``, cut to [0, 1], to 0-255 (the standard's
linear function; LINEAR_EXACT and SIGMOID likewise by their own). Without a window the frame's
lowest value becomes 0 and its highest 255. MONOCHROME1 is turned over, so that high is bright.
Palettes are looked up, YCbCr becomes RGB, colours of more than 8 bits keep their upper 8. A table
of values for the VOI (VOILUTSequence) and windows that change by frame are not applied.
"""

from __future__ import annotations

import os
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from meddel_fast.data.address import ImageError
from meddel_fast.extras import needs
from meddel_fast.files import StrPath

with needs("benchmark"):
    from PIL import Image


def count(file: BinaryIO, path: StrPath) -> int:
    """Count the frames of an open DICOM file.

    Raises
    ------
    ImageError
        It is no DICOM file.
    """
    return _frames(_header(file, path), file, path)


def load(file: BinaryIO, path: StrPath, number: int) -> Image.Image:
    """Decode frame `number` (from 0) of an open DICOM file, to grey or RGB.

    Raises
    ------
    ImageError
        It is no DICOM file, has no such frame, or pixels that cannot be decoded.
    """
    header = _header(file, path)
    frames = _frames(header, file, path)
    if number >= frames:
        raise ImageError(path, f"no frame {number}, the file has {frames}")
    with needs("dicom"):
        from pydicom.pixels import apply_color_lut, apply_modality_lut, pixel_array

    file.seek(0)
    try:
        pixels = pixel_array(file, index=number)  # reads that frame alone
        kind = str(header.PhotometricInterpretation)
        if kind == "PALETTE COLOR":
            return Image.fromarray(_upper_bits(apply_color_lut(pixels, header), 16))
        if pixels.ndim == 3:
            return Image.fromarray(_upper_bits(pixels, int(header.BitsStored)))
        grey = _window(np.asarray(apply_modality_lut(pixels, header), np.float64), header)
    except Exception as error:  # pydicom lets through what its plugins raise
        raise ImageError(path, f"broken: {error}") from error
    grey = 1 - grey if kind == "MONOCHROME1" else grey
    return Image.fromarray((grey * 255 + 0.5).astype(np.uint8))


def _frames(header: Any, file: BinaryIO, path: StrPath) -> int:
    try:
        told = getattr(header, "NumberOfFrames", None) or 1  # pydicom decodes it here
    except Exception as error:
        raise ImageError(path, f"broken: {error}") from error
    try:
        frames = int(told)
    except (TypeError, ValueError):  # several values, or no number
        frames = 0
    if not 0 < frames <= file.seek(0, os.SEEK_END):  # a frame takes a byte or more
        raise ImageError(path, f"broken: NumberOfFrames is {told!r:.40}")
    return frames


def _header(file: BinaryIO, path: StrPath) -> Any:
    with needs("dicom"):
        import pydicom

    try:
        return pydicom.dcmread(file, stop_before_pixels=True)
    except Exception as error:  # a broken file can raise anything
        raise ImageError(path, f"not a DICOM file: {error}") from error


def _first(value: Any) -> float:
    return float(value[0] if hasattr(value, "__getitem__") else value)


def _window(values: npt.NDArray[np.float64], dataset: Any) -> npt.NDArray[np.float64]:
    """Map grey values to 0-1; see the head of this file."""
    if "WindowCenter" not in dataset or "WindowWidth" not in dataset:
        low, high = float(values.min()), float(values.max())
        return (values - low) / max(high - low, 1.0)
    centre, width = _first(dataset.WindowCenter), _first(dataset.WindowWidth)
    function = str(getattr(dataset, "VOILUTFunction", None) or "LINEAR")
    if function == "SIGMOID":
        return np.asarray(1 / (1 + np.exp(-4 * (values - centre) / width)))
    if function == "LINEAR":
        centre, width = centre - 0.5, max(width - 1, 1e-9)
    return np.clip((values - centre) / width + 0.5, 0, 1)


def _upper_bits(pixels: npt.NDArray[Any], bits: int) -> npt.NDArray[np.uint8]:
    if pixels.dtype == np.uint8:
        return pixels
    return (pixels >> (bits - 8)).astype(np.uint8)

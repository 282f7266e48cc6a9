"""Files become squares of pixels, or an error that says what is wrong with them.

Pillow decodes plain files, `picture_files` finds who reads the rest at full depth; what both leave
to their caller is done here: the EXIF orientation, alpha, CMYK, scaled decoding, and one named
reason for each of the many exceptions that a broken file can raise.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from meddel_fast.common.extras import needs
from meddel_fast.common.files import StrPath
from meddel_fast.images.address import ImageError as ImageError
from meddel_fast.images.formats.bit_depth import MAX_PIXELS as MAX_PIXELS
from meddel_fast.images.formats.bit_depth import check_size
from meddel_fast.images.formats.picture_files import (
    STORED_MODE,
    convert_cmyk,
    open_picture,
    orientation,
)
from meddel_fast.images.pixels import named
from meddel_fast.images.sources import open_image

with needs("benchmark"):
    from PIL import Image

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)
_ZERO_TAIL = 512  # so many zero bytes at the end of a JPEG were never written


@dataclass(frozen=True)
class ImageInfo:
    """Size of the upright image, and Pillow's name of the pixels as stored."""

    width: int
    height: int
    mode: str


def load_image(path: StrPath, size: int) -> npt.NDArray[np.uint8]:
    """Decode an image to a square of RGB.

    The image is turned upright by its EXIF orientation and squeezed to the square (bilinear over
    the area of a target pixel; a JPEG is first decoded at the smallest of its scales 1, 1/2, 1/4,
    1/8 that is not below the target). Grey becomes three equal channels, alpha is laid on black,
    CMYK is converted (Adobe's inverted kind too), WhiteIsZero is turned over. Channels of more than
    8 bits are scaled from the bits that the file tells (BitsPerSample of 10 or 12, sBIT, a PGM's
    white), else from the smallest of 0-255, 0-4095 and 0-65535 that holds the image's values, since
    a 16-bit file often carries 8 or 12 bits; floats also from 0-1. With values below 0, the lowest
    becomes black and the highest white. Colour profiles are not applied. Of several pages or frames
    the address tells which; the first without. DICOM has rules of its own
    (:mod:`meddel_fast.images.formats.dicom_display`).

    Parameters
    ----------
    path
        The file, or any address (:mod:`meddel_fast.images.address`).
    size
        Side of the square in pixels, at least 1.

    Returns
    -------
    numpy.ndarray
        uint8 (size, size, 3).

    Raises
    ------
    ImageError
        The file is empty, broken, truncated, too large, or no image.
    FileNotFoundError
        There is no such file.
    ValueError
        `size` is below 1.
    """
    return _square(path, path, size)


def load_content(data: bytes, path: StrPath, size: int) -> npt.NDArray[np.uint8]:
    """Decode a whole file that is already in memory, as :func:`load_image` does.

    Parameters
    ----------
    data
        The file's content.
    path
        Its name, for the error.
    size
        Side of the square in pixels, at least 1.

    Raises
    ------
    ImageError, ValueError
        As for :func:`load_image`.
    """
    if not data:
        raise ImageError(path, "empty file")
    return _square(io.BytesIO(data), path, size)


def _square(source: Any, path: StrPath, size: int) -> npt.NDArray[np.uint8]:
    _check_size(size)
    with _opened(source, path) as image:
        image.draft(None, (size, size))
        image.load()
        small = _rgb(image).resize((size, size), Image.Resampling.BILINEAR)
        return np.array(_upright(small, image))


def examine(data: bytes, path: StrPath) -> ImageInfo:
    """Decode a whole file that is already in memory, to know its size and that it is sound.

    Parameters
    ----------
    data
        The file's content.
    path
        Its name, for the error.

    Raises
    ------
    ImageError
        As for :func:`load_image`; also for a JPEG that ends in zeros, as an interrupted copy does.
    """
    if not data:
        raise ImageError(path, "empty file")
    filled = data.startswith(b"\xff\xd8") and data.endswith(b"\0" * _ZERO_TAIL)
    if filled and not data.rstrip(b"\0").endswith(b"\xff\xd9"):
        raise ImageError(path, "truncated: filled up with zeros")
    with _opened(io.BytesIO(data), path) as image:
        return _info(image)


def examine_part(path: StrPath) -> ImageInfo:
    """Decode the frame or page at an address, to know its size and that it is sound.

    Raises
    ------
    ImageError, FileNotFoundError
        As for :func:`load_image`.
    """
    with _opened(path, path) as image:
        return _info(image)


def _info(image: Image.Image) -> ImageInfo:
    width, height = image.size
    mode = image.info.get(STORED_MODE, image.mode)
    image.draft(None, (1, 1))  # reads every byte, draws few pixels
    image.load()
    if orientation(image) in _SIDEWAYS:
        width, height = height, width
    return ImageInfo(width, height, mode)


def _check_size(size: int) -> None:
    if size < 1:
        raise ValueError(f"size: wanted at least 1 pixel, got {size}")


@contextlib.contextmanager
def _opened(source: Any, path: StrPath) -> Iterator[Image.Image]:
    """Open an image and give whatever goes wrong inside one name."""
    with named(source, path):
        opened = open_picture(source, path) if source is not path else open_image(path)
        with opened as image:
            check_size(*image.size, path)
            yield image


def _upright(small: Image.Image, image: Image.Image) -> Image.Image:
    """Turn a square made from `image` as the orientation of `image` says."""
    turn = _TURNS.get(orientation(image))
    return small if turn is None else small.transpose(turn)


def _rgb(image: Image.Image) -> Image.Image:
    """Convert a loaded image of 8 bits to RGB."""
    if image.mode == "CMYK":
        image = convert_cmyk(image)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        ground = Image.new("RGB", image.size)
        ground.paste(layer, mask=layer.getchannel("A"))
        return ground
    return image if image.mode == "RGB" else image.convert("RGB")

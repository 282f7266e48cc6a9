"""Files become squares of pixels, or an error that says what is wrong with them.

Pillow decodes; what it leaves to its caller is done here: the EXIF orientation, more than 8 bits a
channel, alpha, CMYK, scaled decoding, and one named reason for each of the many exceptions that a
broken file can raise.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from meddel_fast.data.address import SUFFIXES as SUFFIXES
from meddel_fast.data.address import ImageError as ImageError
from meddel_fast.data.address import parse, union
from meddel_fast.data.heif import allow_heif
from meddel_fast.data.sources import open_file, open_image
from meddel_fast.extras import needs
from meddel_fast.files import StrPath

with needs("benchmark"):
    from PIL import Image, ImageChops, UnidentifiedImageError

MAX_PIXELS = 89_478_485
"""Images with more are refused as decompression bombs; Pillow's own first limit."""

_ORIENTATION = 0x0112
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
_LOSSY = ("JPEG", "MPO", "VIDEO", "HEIF")
_LABELS = 16  # a lossless mask that stays below holds class numbers, not brightness
_ZERO_TAIL = 512  # so many zero bytes at the end of a JPEG were never written
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"RIFF")


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
    CMYK is converted (Adobe's inverted kind too). Channels of more than 8 bits are scaled from the
    smallest of 0-255, 0-4095 and 0-65535 that holds the image's values, since a 16-bit file often
    carries 8 or 12 bits; floats also from 0-1. Colour profiles are not applied. Of several pages
    or frames the address tells which; the first without. DICOM has rules of its own
    (:mod:`meddel_fast.data.dicom`).

    Parameters
    ----------
    path
        The file, or any address (:mod:`meddel_fast.data.address`).
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
    _check_size(size)
    with _opened(path, path) as image:
        image.draft(None, (size, size))
        image.load()
        small = _rgb(image).resize((size, size), Image.Resampling.BILINEAR)
        return np.array(_upright(small, image))


def load_mask(path: StrPath, size: int) -> npt.NDArray[np.uint8]:
    """Decode a mask to a square of 0 and 1.

    Turned and squeezed as :func:`load_image` does, taking the nearest pixel. A pixel is 1 where
    its brightest channel (alpha laid on black) is above half of the mask's brightest value, so
    that masks of 0/255, 0/65535, with soft edges or in colour all work. A lossless mask that stays
    below 16 holds class numbers: all but 0 are 1. In a JPEG the threshold is 127 always, since
    its noise would pass for a mask where there is none; so in a video.

    Parameters
    ----------
    path
        The file, any address, or several joined to a union.
    size
        Side of the square in pixels, at least 1.

    Returns
    -------
    numpy.ndarray
        uint8 (size, size) of 0 and 1.

    Raises
    ------
    ImageError, FileNotFoundError, ValueError
        As for :func:`load_image`.
    """
    _check_size(size)
    parts = union(path)
    if len(parts) > 1:
        return np.array(np.maximum.reduce([load_mask(part, size) for part in parts]))
    with _opened(path, path) as image:
        image.load()
        values = _levels(image)
        top = values.max()
        rows = (np.arange(size) + 0.5) * (values.shape[0] / size)
        columns = (np.arange(size) + 0.5) * (values.shape[1] / size)
        values = values[rows.astype(np.int64)[:, None], columns.astype(np.int64)[None, :]]
        if image.format in _LOSSY:
            inside = values > 127
        elif values.dtype.kind != "f" and top < _LABELS:
            inside = values > 0
        else:
            inside = values > top / 2
        return np.array(_upright(Image.fromarray(inside.astype(np.uint8)), image))


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
    mode = image.mode
    image.draft(None, (1, 1))  # reads every byte, draws few pixels
    image.load()
    if _orientation(image) in _SIDEWAYS:
        width, height = height, width
    return ImageInfo(width, height, mode)


def _check_size(size: int) -> None:
    if size < 1:
        raise ValueError(f"size: wanted at least 1 pixel, got {size}")


@contextlib.contextmanager
def _opened(source: Any, path: StrPath) -> Iterator[Image.Image]:
    """Open an image and give whatever goes wrong inside one name."""
    try:
        allow_heif(path)
        with Image.open(source) if source is not path else open_image(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ImageError(path, f"too large: {image.width}x{image.height} pixels")
            yield image
    except (ImageError, FileNotFoundError, ImportError):
        raise
    except Exception as error:  # Pillow lets anything through: struct, zlib, index, key errors
        raise ImageError(path, _reason(error, source)) from error


def _reason(error: Exception, source: Any) -> str:
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return f"too large: {error}"
    if isinstance(error, MemoryError):
        return "too large for the memory"
    if isinstance(error, UnidentifiedImageError):
        start = _first_bytes(source)
        if not start:
            return "empty file"
        return "broken: unreadable header" if start.startswith(_MAGIC) else "not an image"
    if isinstance(error, (PermissionError, IsADirectoryError)):
        return f"cannot be read: {error.strerror}"
    kind = "truncated" if "truncated" in str(error).lower() else "broken"
    return f"{kind}: {str(error) or type(error).__name__}"


def _first_bytes(source: Any) -> bytes:
    if isinstance(source, io.BytesIO):
        return source.getvalue()[:8]
    with open_file(parse(source).container) as file:
        return file.read(8)


def _orientation(image: Image.Image) -> int:
    """Read the EXIF orientation of a loaded image (TIFF turns itself when it is loaded)."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # unreadable EXIF does not make the pixels unusable
        return 1


def _upright(small: Image.Image, image: Image.Image) -> Image.Image:
    """Turn a square made from `image` as the orientation of `image` says."""
    turn = _TURNS.get(_orientation(image))
    return small if turn is None else small.transpose(turn)


def _is_deep(image: Image.Image) -> bool:
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def _rgb(image: Image.Image) -> Image.Image:
    """Convert a loaded image of any mode to RGB."""
    if _is_deep(image):
        return Image.fromarray(_to_8_bit(np.asarray(image))).convert("RGB")
    if image.mode == "CMYK" and image.format in _LOSSY and "adobe" not in image.info:
        image = ImageChops.invert(image)  # Pillow takes every CMYK JPEG for Adobe's inverted kind
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        ground = Image.new("RGB", image.size)
        ground.paste(layer, mask=layer.getchannel("A"))
        return ground
    return image if image.mode == "RGB" else image.convert("RGB")


def _to_8_bit(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Scale integers of more than 8 bits, or floats, to 0-255; see :func:`load_image`."""
    numbers = np.nan_to_num(values.astype(np.float64), posinf=0, neginf=0)
    top = float(numbers.max())
    levels = [1.0] if values.dtype.kind == "f" else []
    levels += [255.0, 4095.0, 65535.0, max(top, 1.0)]
    full = next(level for level in levels if top <= level)
    return (np.clip(numbers / full, 0, 1) * 255 + 0.5).astype(np.uint8)


def _levels(image: Image.Image) -> npt.NDArray[Any]:
    """Give the brightest channel of each pixel, (height, width)."""
    if _is_deep(image):
        levels: npt.NDArray[Any] = np.nan_to_num(np.asarray(image))
        return levels
    if image.mode in ("1", "L"):
        return np.array(image.convert("L"))
    colours = np.asarray(_rgb(image))
    return np.array(np.maximum(np.maximum(colours[..., 0], colours[..., 1]), colours[..., 2]))

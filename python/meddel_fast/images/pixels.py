"""The numbers that an image file stores, at full depth, for whatever must not be scaled: masks."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import Any

from meddel_fast.common.extras import needs
from meddel_fast.common.files import StrPath
from meddel_fast.images.address import ImageError, parse
from meddel_fast.images.formats import picture_files
from meddel_fast.images.formats.bit_depth import MAX_PIXELS as MAX_PIXELS
from meddel_fast.images.formats.bit_depth import Pixels as Pixels
from meddel_fast.images.formats.dicom import Scan
from meddel_fast.images.formats.image_headers import J2K, TIFF
from meddel_fast.images.remote_files import raise_outage
from meddel_fast.images.sources import holder, load_frame, open_file

with needs("benchmark"):
    from PIL import Image, UnidentifiedImageError

_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"RIFF", *TIFF, *J2K)


def read_pixels(path: StrPath) -> Pixels:
    """Read the pixels of an image, page or frame as they are stored, upright.

    Nothing is scaled, windowed or turned over; of DICOM not even the rescale is applied.

    Parameters
    ----------
    path
        The file, or any address (:mod:`meddel_fast.images.address`).

    Raises
    ------
    ImageError
        It is empty, broken, truncated, too large, no image, or of a kind that is not read.
    FileNotFoundError
        There is no such file.
    """
    address = parse(path)
    number = address.index or 0
    with named(path, path):
        kind = holder(address)
        if kind == "video":
            return picture_files.from_frame(load_frame(path))
        with open_file(address.container) as file:
            if kind == "dicom":
                return Scan(file, path).pixels(number)
            return picture_files.read(file, path, number)


@contextlib.contextmanager
def named(source: Any, path: StrPath) -> Iterator[None]:
    """Give whatever goes wrong while an image is decoded one name.

    `source` is the address, or the file in memory, for a look at its first bytes.
    """
    try:
        yield
    except (ImageError, FileNotFoundError, ImportError):
        raise
    except Exception as error:  # Pillow lets anything through: struct, zlib, index, key errors
        raise_outage(error)
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
        known = start.startswith(_MAGIC) or start[4:8] == b"ftyp"  # AVIF, HEIC
        return "broken: unreadable header" if known else "not an image"
    if isinstance(error, (PermissionError, IsADirectoryError)):
        return f"cannot be read: {error.strerror}"
    kind = "truncated" if "truncated" in str(error).lower() else "broken"
    return f"{kind}: {str(error) or type(error).__name__}"


def _first_bytes(source: Any) -> bytes:
    if isinstance(source, io.BytesIO):
        return source.getvalue()[:12]
    with open_file(parse(source).container) as file:
        return file.read(12)

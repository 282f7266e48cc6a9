"""What a file stores, upright and at full depth: nothing scaled, cut or converted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.data import images
from meddel_fast.data.address import DICOMS, parse
from meddel_fast.data.sources import open_file
from meddel_fast.extras import needs
from meddel_fast.files import StrPath

with needs("benchmark"):
    from PIL import Image, ImageOps


@dataclass(frozen=True)
class Pixels:
    """The pixels of a file, as stored.

    Attributes
    ----------
    values
        ``(h, w)``, or ``(h, w, 3)`` of colours.
    alpha
        ``(h, w)``, in the file's own depth, where it has transparency.
    kind
        "grey", "palette" (values are indices) or "colour".
    bits
        Meaningful bits a channel.
    lossy
        The file says that its values are not those that were once put in.
    inverted
        0 is white; the values stay as stored.
    palette
        Colours ``(n, 3)``, where `kind` is "palette".
    white
        The value of white, where the file tells.
    premultiplied
        Colours are stored times alpha.
    """

    values: NDArray[Any]
    alpha: NDArray[Any] | None
    kind: str
    bits: int
    lossy: bool
    inverted: bool
    palette: NDArray[Any] | None
    white: float | None = None
    premultiplied: bool = False


def read_pixels(path: StrPath) -> Pixels:
    """Read the pixels at an address.

    Raises
    ------
    ImageError, FileNotFoundError
        As for :func:`meddel_fast.data.images.load_image`.
    """
    if parse(path).suffix in DICOMS:
        return _dicom(path)
    with images._opened(path, path) as image:
        lossy = _is_lossy(image)
        image.load()
        image = ImageOps.exif_transpose(image)
        alpha = None
        if image.has_transparency_data:
            alpha = np.asarray(image.convert("RGBA"))[..., 3]
        if image.mode in ("P", "PA"):
            palette = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
            values = np.asarray(image)
            values = values[..., 0] if values.ndim == 3 else values
            return Pixels(values, alpha, "palette", 8, lossy, False, palette)
        if image.mode in ("LA", "La"):
            image = image.convert("L")
        elif image.mode not in ("1", "L", "I", "F", "RGB") and not image.mode.startswith("I;16"):
            image = image.convert("RGB")
        values = np.array(image)
        kind = "colour" if values.ndim == 3 else "grey"
        bits = 1 if values.dtype == bool else 8 * values.dtype.itemsize
        return Pixels(values, alpha, kind, bits, lossy, False, None)


def _is_lossy(image: Image.Image) -> bool:
    if image.format == "WEBP":
        return b"VP8L" not in _start(image.fp)  # type: ignore[attr-defined]
    packed = str(image.info.get("compression", ""))
    return image.format in ("JPEG", "MPO", "VIDEO") or "jpeg" in packed


def _start(file: Any) -> bytes:
    place = file.tell()
    file.seek(0)
    start: bytes = file.read(64)
    file.seek(place)
    return start


def _dicom(path: StrPath) -> Pixels:
    with needs("dicom"):
        import pydicom
        from pydicom.pixels import pixel_array
    address = parse(path)
    with open_file(address.container) as file:
        header = pydicom.dcmread(file, stop_before_pixels=True)
        file.seek(0)
        values = pixel_array(file, index=address.index or 0)
    kind = "colour" if values.ndim == 3 else "grey"
    lossy = str(getattr(header, "LossyImageCompression", "00")) == "01"
    inverted = header.PhotometricInterpretation == "MONOCHROME1"
    return Pixels(values, None, kind, int(header.BitsStored), lossy, inverted, None)

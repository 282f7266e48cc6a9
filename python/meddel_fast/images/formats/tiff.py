"""Pages of TIFF files at full depth, by tifffile and imagecodecs.

They read every depth from 1 to 64 bits, integers and floats, contiguous and planar, in the usual
compressions. What a page's channels mean is decided here: what has no one meaning as grey or
colour, or is not converted, is refused by name.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from meddel_fast.common.extras import needs
from meddel_fast.common.files import StrPath
from meddel_fast.images.address import ImageError
from meddel_fast.images.formats.bit_depth import MAX_PIXELS, Pixels, check_size
from meddel_fast.images.formats.image_headers import is_lossy, jpeg_ends

with needs("benchmark"):
    from PIL import Image

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
_KINDS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3}
_UNREAD = {
    4: "a transparency mask",
    8: "colours in CIELab",
    9: "colours in ICCLab",
    10: "colours in ITULab",
    32803: "a sensor's colour filter array",
    32844: "colours in LogL",
    32845: "colours in LogLuv",
    34892: "a sensor's linear values",
}
_JPEGS = (6, 7, 34892)
_LOSSLESS = {1, 2, 3, 4, 5, 8, 32771, 32773, 32946, 34925, 34933, 50000}  # whatever they hold
_UNSPECIFIED, _PREMULTIPLIED, _ALPHA = 0, 1, 2
_MOST = 16  # channels that are decoded to give one picture
_PART = 0b101  # bits of NewSubfileType: a thumbnail, a mask


def count(file: BinaryIO) -> int:
    """Count the pages of an open TIFF, from its start; 1 unless all have one size.

    What comes last and is marked as a thumbnail or mask of another page does not count. Other
    pages of different sizes are scales of one picture.
    """
    with _opened(file) as tif:
        pages = list(tif.pages)
        while len(pages) > 1 and pages[-1].subfiletype & _PART:
            pages.pop()
        sizes = {(page.imagewidth, page.imagelength) for page in pages}
        return len(pages) if len(sizes) == 1 else 1


def read(file: BinaryIO, path: StrPath, number: int) -> Pixels:
    """Read page `number` (from 0) of an open TIFF.

    Raises
    ------
    ImageError
        There is no such page, it is too large, or holds what is not read.
    Exception
        What tifffile and imagecodecs raise on a broken file.
    """
    with _opened(file) as tif:
        if number and number >= len(tif.pages):
            raise ImageError(path, f"no page {number}, the file has {len(tif.pages)}")
        page = tif.pages[number]
        _check(page, path, file.seek(0, 2))
        if len(tif.pages) == 1 and (frames := _hidden(tif)) > 1:
            raise ImageError(path, f"{frames} images in one page: save them as pages of their own")
        photometric = int(page.photometric)
        if photometric == YCBCR and int(page.compression) not in _JPEGS:
            return _from_ycbcr(page, file, path, number)
        lossy = int(page.compression) not in _LOSSLESS and _page_is_lossy(tif, page, path)
        cube = _channels_last(page, path)
        palette = page.colormap
    planes, alpha, premultiplied = _split(cube, page, photometric, path)
    bits = _bits(page, planes)
    if photometric == CMYK:
        planes, bits = _cmyk_to_rgb(planes, bits), max(bits, 8)
    values = planes[..., 0] if planes.shape[-1] == 1 else planes
    turn = _tag(page, 274, 1)
    kind = "palette" if photometric == PALETTE else "grey" if values.ndim == 2 else "colour"
    return Pixels(
        values=turned(values, turn),
        alpha=None if alpha is None else turned(alpha, turn),
        kind=kind,
        bits=bits,
        lossy=lossy,
        inverted=photometric == WHITE_IS_ZERO,
        palette=None if kind != "palette" else np.ascontiguousarray(palette.T),
        white=float(2**bits - 1) if values.dtype.kind in "bu" and bits not in (16, 32) else None,
        premultiplied=premultiplied,
    )


def check_pages(file: BinaryIO, path: StrPath) -> None:
    """Refuse a TIFF whose list of pages breaks off: the others would vanish without a word.

    Raises
    ------
    ImageError
        A page is said to lie beyond the end, or to be followed by itself.
    """
    size = file.seek(0, 2)
    file.seek(0)
    head = file.read(16)
    order = "<" if head.startswith(b"II") else ">"
    big = head[2:4] in (b"+\0", b"\0+")
    count_form, link_form, entry, at = ("Q", "Q", 20, 8) if big else ("H", "I", 12, 4)
    count_size, link_size = struct.calcsize(f"{order}{count_form}"), 8 if big else 4
    seen: set[int] = set()
    while len(head) >= at + link_size:
        (place,) = struct.unpack_from(f"{order}{link_form}", head, at)
        if place == 0:
            return
        if place in seen:
            raise ImageError(path, "broken: the list of pages runs in a circle")
        seen.add(place)
        file.seek(place)
        (count,) = struct.unpack(f"{order}{count_form}", file.read(count_size).ljust(count_size))
        end = place + count_size + entry * count
        if end + link_size > size:
            break
        file.seek(end)
        head, at = file.read(link_size), 0
    raise ImageError(path, f"truncated: page {max(len(seen), 1)} lies beyond the end of the file")


def turned(pixels: npt.NDArray[Any], orientation: Any) -> npt.NDArray[Any]:
    """Turn (height, width, ...) upright as an orientation of EXIF or TIFF says."""
    turns = {2: (0, True), 3: (2, False), 4: (2, True), 5: (3, True),
             6: (3, False), 7: (1, True), 8: (1, False)}  # fmt: skip
    quarters, mirrored = turns.get(orientation, (0, False))
    pixels = np.rot90(pixels, quarters)
    return np.ascontiguousarray(pixels[:, ::-1] if mirrored else pixels)


def _opened(file: BinaryIO) -> Any:
    with needs("benchmark"):
        import tifffile

    file.seek(0)
    return tifffile.TiffFile(file)


def _hidden(tif: Any) -> int:
    """Count the images of a page that stands for a whole stack, as ImageJ and tifffile write."""
    told = tif.imagej_metadata if tif.is_imagej else (tif.shaped_metadata or [{}])[0]
    if tif.is_imagej:
        return int(told.get("images", 1))
    shape = told.get("shape", ())
    return int(np.prod(shape)) // max(tif.pages[0].size, 1) if shape else 1


def _check(page: Any, path: StrPath, size: int) -> None:
    """Refuse what is not read, or cannot be right, before anything is decoded."""
    check_size(page.imagewidth, page.imagelength, path)
    if page.imagedepth > 1:
        raise ImageError(path, f"a volume of {page.imagedepth} layers in one page is not read")
    if page.tilewidth * page.tilelength * max(page.tiledepth, 1) > MAX_PIXELS:
        raise ImageError(path, f"too large: tiles of {page.tilewidth}x{page.tilelength} pixels")
    if page.samplesperpixel > _MOST:
        raise ImageError(path, f"{page.samplesperpixel} channels: neither grey nor colour")
    photometric = int(page.photometric)
    if photometric not in _KINDS:
        what = _UNREAD.get(photometric, f"photometric interpretation {photometric}")
        raise ImageError(path, f"{what}: not read")
    mixed = isinstance(page.bitspersample, tuple) or isinstance(page.sampleformat, tuple)
    if (
        mixed
        or page.dtype is None
        or page.dtype.kind not in "buif"
        or page.dtype.str[1:] in ("u8", "i8")
    ):
        form = f"{page.bitspersample} bits of sample format {page.sampleformat!s:.30}"
        raise ImageError(path, f"{form}: not read")
    places, lengths = page.dataoffsets, page.databytecounts
    if not places or len(places) != len(lengths) or 0 in lengths:
        raise ImageError(path, "truncated: strips or tiles are missing")
    if any(start + length > size for start, length in zip(places, lengths, strict=True)):
        raise ImageError(path, "truncated: strips or tiles lie beyond the end of the file")


def _tag(page: Any, code: int, default: Any) -> Any:
    return page.tags.valueof(code, default)


def _page_is_lossy(tif: Any, page: Any, path: StrPath) -> bool:
    """Ask the page's first piece; of JPEG see that every one has its end."""
    lossy = True
    for number, (place, length) in enumerate(
        zip(page.dataoffsets, page.databytecounts, strict=True)
    ):
        tif.filehandle.seek(place)
        piece = tif.filehandle.read(length)
        if number == 0:
            lossy = is_lossy(piece)
        if int(page.compression) != 7:
            break
        if not jpeg_ends(piece):
            raise ImageError(path, "truncated: a JPEG in it has no end")
    return lossy


def _channels_last(page: Any, path: StrPath) -> npt.NDArray[Any]:
    """Decode a page to (height, width, samples)."""
    cube = page.asarray()
    axes = page.axes
    if axes == "SYX":
        cube = np.moveaxis(cube, 0, -1)
    elif axes == "YX":
        cube = cube[..., None]
    elif axes != "YXS":
        raise ImageError(path, f"axes {axes}: neither grey nor colour")
    if cube.dtype == np.int8:
        return np.asarray(cube, np.int16)
    return np.asarray(cube, cube.dtype.newbyteorder("="))


def _split(
    cube: npt.NDArray[Any], page: Any, photometric: int, path: StrPath
) -> tuple[npt.NDArray[Any], npt.NDArray[Any] | None, bool]:
    """Part the channels of the picture from alpha and from what has no meaning here."""
    channels = _KINDS[photometric]
    extra = [int(value) for value in page.extrasamples]
    spare = cube.shape[-1] - channels
    if photometric == CMYK and (_tag(page, 332, 1) != 1 or _tag(page, 334, 4) != 4):
        raise ImageError(path, "inks other than CMYK: not read")
    if spare < 0:
        raise ImageError(path, f"broken: {cube.shape[-1]} channels, wanted {channels}")
    if not extra and spare == 1 and photometric == RGB:
        extra = [_ALPHA]  # as many writers leave it out
    extra += [_UNSPECIFIED] * (spare - len(extra))
    at = next((n for n, kind in enumerate(extra) if kind in (_PREMULTIPLIED, _ALPHA)), None)
    if channels == 1 and _UNSPECIFIED in extra:
        raise ImageError(path, f"{cube.shape[-1]} channels: neither grey nor colour")
    alpha = None if at is None else cube[..., channels + at]
    return cube[..., :channels], alpha, at is not None and extra[at] == _PREMULTIPLIED


def _bits(page: Any, planes: npt.NDArray[Any]) -> int:
    """Give BitsPerSample, or what the decoder made of it."""
    bits = page.bitspersample
    bits = max(bits) if isinstance(bits, Sequence) else int(bits)
    return min(bits, 8 * planes.dtype.itemsize) if planes.dtype != bool else 1


def _cmyk_to_rgb(planes: npt.NDArray[Any], bits: int) -> npt.NDArray[Any]:
    """Convert as Pillow does, in the depth there is, but in no less than 8 bits."""
    form = planes.dtype.kind
    top = 1.0 if form == "f" else float(2 ** (bits - (form == "i")) - 1)
    share = 1 - np.clip(planes.astype(np.float64) / top, 0, 1)
    rgb = share[..., :3] * share[..., 3:]
    if form == "f":
        return np.asarray(rgb.astype(planes.dtype))
    if bits < 8:
        return np.asarray(np.rint(rgb * 255).astype(np.uint8))
    return np.asarray(np.rint(rgb * top).astype(planes.dtype))


def _from_ycbcr(page: Any, file: BinaryIO, path: StrPath, number: int) -> Pixels:
    """Read YCbCr that is not JPEG, which tifffile leaves alone, by Pillow."""
    if page.dtype != np.uint8 or (
        int(page.compression) == 1 and tuple(_tag(page, 530, (2, 2))) != (1, 1)
    ):
        raise ImageError(path, "YCbCr that is deep, or not compressed and of fewer colours than "
                         "pixels: not read")  # fmt: skip
    file.seek(0)
    with Image.open(io.BytesIO(file.read())) as image:
        image.seek(number)
        image.load()  # turns it upright
        values = np.array(image.convert("RGB"))
    return Pixels(values, None, "colour", 8, False, False, None, 255.0)

"""Image files that are open: plain ones by Pillow, the rest by libraries that read every depth.

Pillow decodes the ordinary 8-bit file, fast and in parts. It keeps the upper byte of deep colours,
passes on deep greys without what the file says of them, and refuses other depths; which file is
plain is decided here by its header.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from meddel_fast.common.extras import needs
from meddel_fast.common.files import StrPath
from meddel_fast.images.address import ImageError
from meddel_fast.images.formats import image_headers, tiff
from meddel_fast.images.formats.bit_depth import Pixels, check_size, to_rgb
from meddel_fast.images.formats.heif import allow_heif
from meddel_fast.images.remote_files import raise_outage

with needs("benchmark"):
    from PIL import Image, ImageChops

STORED_MODE = "stored mode"
"""Where ``Image.info`` says how the pixels lie in the file, if not as in the image."""

_ORIENTATION = 0x0112
_JPEGS = ("JPEG", "MPO")
_HEAD = 1 << 16  # bytes in which a header is looked for
_WHOLE = ("1", "L", "LA", "La", "RGB", "RGBA", "RGBa", "I", "F")
_SOS = b"\xff\xda"  # begins the pixels of a JPEG
_PLAIN_TIFF = {1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946}  # compressions of which Pillow reads 8 bits
_STACK = re.compile(rb"^ImageJ=.*^images=|^\{.*\"truncated\"", re.MULTILINE | re.DOTALL)


@contextlib.contextmanager
def open_picture(file: BinaryIO, path: StrPath, number: int = 0) -> Iterator[Image.Image]:
    """Open a file as a picture to look at: by Pillow as it lies, or in RGB if it is deep.

    Raises
    ------
    ImageError
        It is too large, has no page `number`, or is of a kind that is not read.
    Exception
        What Pillow, tifffile and imagecodecs raise on a broken file.
    """
    allow_heif(path)
    head = _start(file)
    pixels = None
    if not head.startswith(image_headers.TIFF):
        pixels = _read_coded(file, head, path)
    elif not _is_plain_tiff(file, number, path):
        pixels = tiff.read(file, path, number)
    if pixels is not None:
        yield _shown(pixels)
        return
    file.seek(0)
    with Image.open(file) as image:
        check_size(*image.size, path)
        _turn_to(image, number, path)
        if _is_deep(image) or _has_clear_grey(head):
            yield _shown(_from_pillow(image, path, head))
        else:
            yield image


def read(file: BinaryIO, path: StrPath, number: int = 0) -> Pixels:
    """Read page `number` of an open file at full depth; errors as for :func:`open_picture`."""
    allow_heif(path)
    head = _start(file)
    if head.startswith(image_headers.TIFF):
        tiff.check_pages(file, path)
        return tiff.read(file, path, number)
    pixels = _read_coded(file, head, path, scaled=False)
    if pixels is not None:
        return pixels
    file.seek(0)
    with Image.open(file) as image:
        check_size(*image.size, path)
        _turn_to(image, number, path)
        if image.format == "HEIF" and (bits := int(image.info.get("bit_depth", 8))) > 8:
            return _read_heif(file, bits, number, path)
        return _from_pillow(image, path, head)


def from_frame(image: Image.Image) -> Pixels:
    """Take a frame of a video."""
    values = np.array(image.convert("RGB"))
    return Pixels(values, None, "colour", 8, True, False, None, 255.0)


def orientation(image: Image.Image) -> int:
    """Read the EXIF orientation of a loaded image (TIFF turns itself when it is loaded)."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # unreadable EXIF does not make the pixels unusable
        return 1


def convert_cmyk(image: Image.Image) -> Image.Image:
    """Turn over what Pillow takes for Adobe's inverted kind: every CMYK JPEG."""
    inverted = image.format in _JPEGS and "adobe" not in image.info
    return ImageChops.invert(image) if inverted else image


def _start(file: BinaryIO) -> bytes:
    file.seek(0)
    head = file.read(_HEAD)
    file.seek(0)
    return head


def _turn_to(image: Image.Image, number: int, path: StrPath) -> None:
    if not number:
        return
    pages = int(getattr(image, "n_frames", 1))
    if number >= pages:
        raise ImageError(path, f"no page {number}, the file has {pages}")
    image.seek(number)


def _is_deep(image: Image.Image) -> bool:
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def _has_clear_grey(head: bytes) -> bool:
    """Tell a PNG of 1 to 4 bits a grey with a clear one, which Pillow looks for among 8 bits."""
    small = head.startswith(image_headers.PNG) and head[24:26] in (b"\1\0", b"\2\0", b"\4\0")
    return small and b"tRNS" in image_headers.png_chunks(head)


def _shown(pixels: Pixels) -> Image.Image:
    image = Image.fromarray(to_rgb(pixels))
    image.info[STORED_MODE] = _mode(pixels)
    return image


def _mode(pixels: Pixels) -> str:
    """Name the pixels as Pillow does, with bits and sign where it has no name."""
    name = {"grey": "L", "palette": "P", "colour": "RGB"}[pixels.kind]
    name += "A" if pixels.alpha is not None else ""
    form = {"f": "F", "i": "S"}.get(pixels.values.dtype.kind, "")
    known = {"L;16": "I;16", "L;32F": "F", "L;32S": "I"}
    full = name if pixels.bits <= 8 and not form else f"{name};{pixels.bits}{form}"
    return known.get(full, full)


def _is_plain_tiff(file: BinaryIO, number: int, path: StrPath) -> bool:
    """Tell whether a page is of 8 bits or fewer, of a kind that Pillow reads right."""
    tiff.check_pages(file, path)
    file.seek(0)
    try:
        with Image.open(file) as image:
            if number:
                image.seek(number)
            tags: Any = image.tag_v2  # type: ignore[attr-defined]  # of a TIFF's image
            if _STACK.search(str(tags.get(270, "")).encode()):
                return False
            bits, forms, extra = (tags.get(code, (1,)) for code in (258, 339, 338))
            kind, coder = tags.get(262, 0), tags.get(259, 1)
            planar = tags.get(284, 1) == 2
    except Exception as error:  # of a kind that Pillow does not know, or broken: tifffile tells
        raise_outage(error)
        return False
    finally:
        file.seek(0)
    if max(bits) > 8 or set(forms) - {1, 4} or coder not in _PLAIN_TIFF:
        return False
    if kind in (tiff.WHITE_IS_ZERO, tiff.BLACK_IS_ZERO):
        return len(bits) == 1 or (len(bits) == 2 and extra == (2,) and not planar)
    if kind == tiff.PALETTE:
        return bool(
            max(tags.get(320, (0,))) > 255
        )  # else a map of 8 bits, of which Pillow keeps none
    if kind == tiff.YCBCR:
        return bool(coder != 1 or tags.get(530, (2, 2)) == (1, 1))
    return kind == tiff.CMYK or (kind == tiff.RGB and not (planar and extra == (1,)))


def _read_coded(file: BinaryIO, head: bytes, path: StrPath, scaled: bool = True) -> Pixels | None:
    """Read what Pillow does not: PNG of 16 bits, other JPEGs and JPEG 2000, or give None.

    Not `scaled`, also what Pillow scales to 8 bits: PGM, PPM and deep AVIF.
    """
    if head.startswith(image_headers.PNG):
        return _read_png(file, head, path) if head[24:25] == b"\x10" else None
    if head.startswith(image_headers.JPEG):
        stream = image_headers.jpeg(head if _SOS in head else _all(file))
        if stream is None or (stream.bits == 8 and stream.lossy):
            return None
        return _read_stream(file, "jpeg_decode", stream, path)
    if head.startswith(image_headers.J2K):
        stream = image_headers.jpeg2000(head)
        if stream is None or stream.bits == 8:
            return None
        return _read_stream(file, "jpeg2k_decode", stream, path)
    if (told := image_headers.pnm(head)) is not None:
        grey, white = told[0] in (b"P2", b"P5"), told[3]
        plain = white == 255 or (scaled and (white < 255 or not grey))
        return None if plain else _read_pnm(_all(file), told, path)
    if (bits := image_headers.avif_bits(head)) > 8 and not scaled:
        return _read_avif(file, bits, path)
    return None


def _all(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()


def _decoded(name: str, data: bytes) -> npt.NDArray[Any]:
    with needs("benchmark"):
        import imagecodecs

    return np.asarray(getattr(imagecodecs, name)(data))


def _read_png(file: BinaryIO, head: bytes, path: StrPath) -> Pixels:
    """Read a PNG of 16 bits."""
    with Image.open(file) as image:
        check_size(*image.size, path)
        turn = orientation(image)
    chunks = image_headers.png_chunks(head)
    pixels = _in_channels(_decoded("png_decode", _all(file)), 16, turn, path, lossy=False)
    told = chunks.get(b"sBIT", b"")
    bits = max(told[: 1 if pixels.kind == "grey" else 3], default=16)
    if not 0 < bits <= 16:
        bits = 16
    white = _png_white(pixels.values, bits) if told else None
    return replace(pixels, bits=bits, white=white)


def _png_white(values: npt.NDArray[Any], bits: int) -> float:
    """Give white of a PNG that tells its significant bits.

    By the standard they were stretched over all 16 by repetition; many writers leave them as they
    are.
    """
    full = 2**bits - 1
    if bits == 16 or int(values.max()) > full:
        return 65535.0
    return 65535.0 if values.any() and _is_stretched(values, bits) else float(full)


def _is_stretched(values: npt.NDArray[Any], bits: int) -> bool:
    """Tell whether all values repeat their upper `bits` below."""
    kept = values >> (16 - bits) << (16 - bits)
    repeated = kept.copy()
    for shift in range(bits, 16, bits):
        repeated |= kept >> shift
    return bool((values == repeated).all())


def _read_stream(
    file: BinaryIO, decoder: str, stream: image_headers.Stream, path: StrPath
) -> Pixels:
    """Read a JPEG or JPEG 2000 by imagecodecs."""
    check_size(stream.width, stream.height, path)
    if stream.channels > 4:
        raise ImageError(path, f"{stream.channels} channels: neither grey nor colour")
    data = _all(file)
    if decoder == "jpeg_decode" and not image_headers.jpeg_ends(data):
        raise ImageError(path, "truncated: the JPEG has no end")
    if image_headers.is_sycc(data):
        raise ImageError(path, "JPEG 2000 in YCbCr of more or less than 8 bits: not read")
    at = data.find(b"Exif\0\0", 0, _HEAD)
    turn = 1
    if at > 0:
        with contextlib.suppress(Exception):  # unreadable EXIF, as for `orientation`
            exif = Image.Exif()
            exif.load(data[at : at + _HEAD])
            turn = int(exif.get(_ORIENTATION, 1))
    pixels = _in_channels(_decoded(decoder, data), stream.bits, turn, path, lossy=stream.lossy)
    whole = pixels.values.dtype.kind == "u" and stream.bits != 16
    return replace(pixels, white=float(2**stream.bits - 1) if whole else None)


def _read_avif(file: BinaryIO, bits: int, path: StrPath) -> Pixels:
    with Image.open(file) as image:
        check_size(*image.size, path)
        turn = orientation(image)
    pixels = _in_channels(_decoded("avif_decode", _all(file)), bits, turn, path, lossy=True)
    return replace(pixels, white=float(2**bits - 1))


def _read_heif(file: BinaryIO, bits: int, number: int, path: StrPath) -> Pixels:
    """Read a HEIF of more than 8 bits, which libheif has turned upright."""
    with needs("heif"):
        import pillow_heif

    file.seek(0)
    images = pillow_heif.open_heif(file, convert_hdr_to_8bit=False, hdr_to_16bit=False)
    pixels = _in_channels(np.asarray(images[number]), bits, 1, path, lossy=True)
    return replace(pixels, white=float(2**bits - 1))


def _read_pnm(data: bytes, told: tuple[bytes, int, int, int, int], path: StrPath) -> Pixels:
    """Read PGM and PPM, whose header tells white."""
    kind, width, height, white, start = told
    check_size(width, height, path)
    if not 0 < white <= 65535:
        raise ImageError(path, f"broken: white is {white}")
    shape = (height, width) if kind in (b"P2", b"P5") else (height, width, 3)
    dtype = np.dtype(np.uint8 if white <= 255 else np.uint16)
    count = math.prod(shape)
    if kind in (b"P5", b"P6"):
        found = np.frombuffer(data[start : start + count * dtype.itemsize], dtype.newbyteorder(">"))
    else:
        words = re.sub(rb"#[^\n]*", b"", data[start:]).split(maxsplit=count)[:count]
        found = np.array(words, np.int64) if words else np.empty(0, np.int64)
    if found.size < count:
        raise ImageError(path, f"truncated: {found.size} of {count} values")
    if found.min() < 0 or found.max() > white:
        raise ImageError(path, f"broken: a value beyond white, which is {white}")
    values = found.reshape(shape).astype(dtype)
    kind_ = "grey" if values.ndim == 2 else "colour"
    return Pixels(values, None, kind_, white.bit_length(), False, False, None, float(white))


def _in_channels(
    cube: npt.NDArray[Any], bits: int, turn: int, path: StrPath, *, lossy: bool
) -> Pixels:
    """Part (height, width[, channels]) into colour and alpha, upright."""
    cube = tiff.turned(cube if cube.ndim == 3 else cube[..., None], turn)
    channels = cube.shape[-1]
    if channels > 4:
        raise ImageError(path, f"{channels} channels: neither grey nor colour")
    alpha = np.ascontiguousarray(cube[..., -1]) if channels in (2, 4) else None
    values = np.ascontiguousarray(cube[..., :3] if channels > 2 else cube[..., 0])
    kind = "colour" if channels > 2 else "grey"
    return Pixels(values, alpha, kind, bits, lossy, False, None)


def _from_pillow(image: Any, path: StrPath, head: bytes = b"") -> Pixels:
    """Take the pixels that Pillow decodes as they lie in the file."""
    lossy = image.format in (*_JPEGS, "AVIF", "HEIF")
    if image.format in ("WEBP", "JPEG2000"):
        lossy = image_headers.is_lossy(_all(image.fp))
        image.fp.seek(0)
    is_png = image.format == "PNG"
    depth = head[24] if is_png and len(head) > 24 else 1 if image.mode == "1" else 8
    image.load()
    turn = orientation(image)
    if image.mode in ("P", "PA"):
        return _from_palette(image, turn, depth, lossy)
    premultiplied = image.mode in ("La", "RGBa")
    if image.mode in ("CMYK", "YCbCr", "RGBX"):
        image = convert_cmyk(image).convert("RGB")
    if image.mode not in _WHOLE and not image.mode.startswith("I;16"):
        raise ImageError(path, f"pixels of mode {image.mode}: not read")
    cube = np.array(image)
    cube = cube.astype(cube.dtype.newbyteorder("="))
    depth = 8 * cube.dtype.itemsize if cube.dtype.itemsize > 1 else depth
    if is_png and depth in (2, 4):
        cube //= 255 // (2**depth - 1)  # which Pillow multiplied by
    key = image_headers.png_chunks(head).get(b"tRNS") if is_png else None
    if key and image.mode in ("1", "L", "RGB"):
        colour = np.frombuffer(key, ">u2").astype(np.int64)
        apart = (np.atleast_3d(cube) != colour).any(axis=2)
        cube = np.dstack([cube, apart * (2**depth - 1)]).astype(np.uint8)
    pixels = _in_channels(cube, depth, turn, path, lossy=lossy)
    white = float(2**depth - 1) if depth <= 8 else None
    return replace(pixels, white=white, premultiplied=premultiplied)


def _from_palette(image: Image.Image, turn: int, depth: int, lossy: bool) -> Pixels:
    """Take indices, the palette, and what of it is transparent."""
    cube = np.array(image)
    alpha = cube[..., 1] if cube.ndim == 3 else None
    values = cube[..., 0] if cube.ndim == 3 else cube
    told = image.info.get("transparency")
    if alpha is None and told is not None:
        shares = np.full(256, 255, np.uint8)
        if isinstance(told, bytes):
            shares[: len(told)] = np.frombuffer(told, np.uint8)
        else:
            shares[told] = 0
        alpha = shares[values]
    palette = np.array(image.getpalette("RGB") or [0, 0, 0], np.uint8).reshape(-1, 3)
    values = tiff.turned(values, turn)
    alpha = None if alpha is None else tiff.turned(alpha, turn)
    return Pixels(values, alpha, "palette", depth, lossy, False, palette)

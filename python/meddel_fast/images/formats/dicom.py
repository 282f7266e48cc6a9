"""Frames of DICOM files. Needs pydicom; compressed ones its plug-ins, which come with it.

An element counts only where it has a value: clinics' files are full of empty ones, and an empty
element is as one that is absent. Objects that hold no picture (plans, doses, reports, states) are
refused with the name of their class, segmentations as annotations.
"""

from __future__ import annotations

import contextlib
import io
import os
import struct
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from meddel_fast.common.extras import needs
from meddel_fast.common.files import StrPath
from meddel_fast.images.address import ImageError
from meddel_fast.images.formats.bit_depth import Pixels, check_size
from meddel_fast.images.formats.dicom_display import Grey, colours, upper_bytes, value
from meddel_fast.images.formats.dicom_head import HEAD, is_dicom, syntax_of
from meddel_fast.images.formats.image_headers import jpeg_ends
from meddel_fast.images.remote_files import raise_outage

with needs("benchmark"):
    from PIL import Image

MAX_INFLATED = 1 << 30
"""Deflated files that grow beyond are refused."""

_IMPLICIT, _EXPLICIT, _BIG = (f"1.2.840.10008.1.2{n}" for n in ("", ".1", ".2"))
_DEFLATED = _EXPLICIT + ".99"
_JPEGS = tuple(f"1.2.840.10008.1.2.4.{n}" for n in (5, 6, 70, 80, 81))  # 50 to 81, but no 90
_LOSSY = {f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 81)}
_EITHER = {f"1.2.840.10008.1.2.4.{n}" for n in (91, 93, 112, 203)}  # lossy unless they tell
_CLASSES = "1.2.840.10008.5.1.4.1.1."
_SEGMENTATIONS = {_CLASSES + n for n in ("66.4", "66.5", "66.7", "66.8")}
_NO_PICTURES = {
    _CLASSES + n for n in ("481.2", "30", "81.1", "82.1")
}  # of those with pixels: doses, measured maps
_GREY = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
_KEYWORDS = {0x0010: "PixelData", 0x0008: "FloatPixelData", 0x0009: "DoubleFloatPixelData"}
_FLOATS = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}
_ENCAPSULATED = 0xFFFFFFFF  # the length of pixels that lie in fragments


class Scan:
    """An open DICOM file: its header, and its frames one by one.

    Raises
    ------
    ImageError
        It is no DICOM file.
    """

    def __init__(self, file: BinaryIO, path: StrPath) -> None:
        with needs("dicom"):
            import pydicom

        self._path = path
        file.seek(0)
        head = file.read(HEAD)
        if not is_dicom(head):
            raise ImageError(path, "not a DICOM file: neither its mark nor its header")
        self.syntax, end = syntax_of(head)
        self._file = _inflated(file, end, path) if self.syntax == _DEFLATED else file
        try:
            self._file.seek(0)
            self.header = pydicom.dcmread(self._file, stop_before_pixels=True, force=True)
            implicit, little = self.header.original_encoding
        except Exception as error:  # a broken file can raise anything
            raise_outage(error)
            raise ImageError(path, f"broken: {error}") from error
        self._place = self._file.tell()
        self._implicit, self._order = bool(implicit), "<" if little else ">"
        if self.syntax in ("", _DEFLATED):  # as the header was read
            self.syntax = _IMPLICIT if implicit else _EXPLICIT if little else _BIG

    def count(self) -> int:
        """Count the frames.

        Raises
        ------
        ImageError
            The object holds no picture, or says a number that cannot be.
        """
        with self._named():
            self._check()
            return self._count()

    def picture(self, number: int) -> Image.Image:
        """Decode frame `number` (from 0) to grey or RGB of 8 bits (:mod:`.dicom_display`).

        Raises
        ------
        ImageError
            The object holds no picture or no such frame, or its pixels cannot be decoded.
        """
        with self._named():
            self._check()
            pixels = self._decode(number)
            kind = value(self.header, "PhotometricInterpretation")
            if kind == "PALETTE COLOR":
                return Image.fromarray(upper_bytes(self._look_up(pixels)))
            if pixels.ndim == 3:
                return Image.fromarray(colours(pixels, self._bits()))
            looks = Grey(self.header, number, self._bits())
            return Image.fromarray(looks.shown(pixels, inverted=kind == "MONOCHROME1"))

    def pixels(self, number: int) -> Pixels:
        """Give frame `number` as it is stored: neither rescaled nor windowed nor turned over.

        Of segmentations too. Errors as for :meth:`picture`.
        """
        with self._named():
            self._check(annotations=True)
            values = self._decode(number)
            if values.dtype == np.int8:
                values = values.astype(np.int16)
            bits = self._bits()
            white = float(2**bits - 1) if values.dtype.kind == "u" else None
            name = value(self.header, "PhotometricInterpretation")
            kind, palette = "colour" if values.ndim == 3 else "grey", None
            if name == "PALETTE COLOR":
                kind, palette = "palette", self._look_up(np.arange(2**bits, dtype=np.uint16))
            lossy, inverted = self._is_lossy(), name == "MONOCHROME1"
        return Pixels(values, None, kind, bits, lossy, inverted, palette, white)

    def video(self) -> BinaryIO:
        """Give the stream of a video, joined from its fragments."""
        with needs("dicom"):
            from pydicom.encaps import generate_fragments, parse_basic_offsets

        with self._named():
            self._check()
            self._file.seek(self._element()[3])
            parse_basic_offsets(self._file)
            return io.BytesIO(b"".join(generate_fragments(self._file)))

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Give one name to whatever a broken file raises; pydicom decodes elements when asked."""
        try:
            yield
        except (ImageError, ImportError):
            raise
        except MemoryError as error:
            raise ImageError(self._path, "too large for the memory") from error
        except Exception as error:
            raise_outage(error)
            raise ImageError(self._path, f"broken: {error}") from error

    def _check(self, *, annotations: bool = False) -> None:
        """Refuse objects that hold no picture."""
        with needs("dicom"):
            from pydicom.uid import UID

        meta = getattr(self.header, "file_meta", None)
        told = self._value("SOPClassUID") or (meta and value(meta, "MediaStorageSOPClassUID"))
        kind = UID(str(told or ""))
        name = kind.name or "no SOP class"
        if kind in _SEGMENTATIONS and not annotations:
            raise ImageError(self._path, "annotation: segmentation")
        if kind in _NO_PICTURES:
            raise ImageError(self._path, f"no picture: {name}")
        self._file.seek(self._place)
        if not self._file.read(1):
            if "Image" in name:
                raise ImageError(self._path, f"broken: no Pixel Data, though {name}")
            raise ImageError(self._path, f"no picture: {name}")

    def _value(self, name: str) -> Any:
        return value(self.header, name)

    def _number(self, name: str, default: int | None = None) -> int:
        found = self._value(name)
        found = default if found is None else found
        if found is None:
            raise ImageError(self._path, f"broken: no {name}")
        try:
            return int(found)
        except (TypeError, ValueError):  # several values, or no number
            raise ImageError(self._path, f"broken: {name} is {found!r:.40}") from None

    def _allocated(self) -> int:
        return self._number("BitsAllocated", _FLOATS.get(self._element()[0]))

    def _bits(self) -> int:
        allocated = self._allocated()
        bits = self._number("BitsStored", allocated)
        if not 0 < bits <= allocated:
            raise ImageError(self._path, f"broken: BitsStored is {bits} of {allocated}")
        return bits

    def _element(self) -> tuple[str, int, str, int]:
        """Give the keyword, length and type of the element of pixels, and where its value is."""
        self._file.seek(self._place)
        start = self._file.read(12)
        try:
            group, element = struct.unpack_from(f"{self._order}HH", start)
            at = 4 if self._implicit else 8
            (length,) = struct.unpack_from(f"{self._order}I", start, at)
        except struct.error:
            group = element = length = 0
        if group != 0x7FE0 or element not in _KEYWORDS:
            raise ImageError(self._path, "broken: no Pixel Data")
        form = "OW" if self._implicit else start[4:6].decode("ascii", "replace")
        return _KEYWORDS[element], length, form, self._place + at + 4

    def _count(self) -> int:
        keyword, length, _, _ = self._element()
        if self._value("NumberOfFrames") is None:
            bits = self._number("Rows") * self._number("Columns") * self._allocated()
            size = bits * self._number("SamplesPerPixel", 1) // 8
            several = length != _ENCAPSULATED and keyword == "PixelData" and size > 0
            return max(length // size, 1) if several else 1
        frames = self._number("NumberOfFrames")
        if not 0 < frames <= 8 * self._file.seek(0, os.SEEK_END):  # a frame takes a bit or more
            raise ImageError(self._path, f"broken: NumberOfFrames is {frames}")
        return frames

    def _options(self) -> dict[str, Any]:
        """Say how the pixels lie, with the standard's meaning for what is not told."""
        keyword, _, form, _ = self._element()
        kind = str(self._value("PhotometricInterpretation") or "")
        allocated = self._allocated()
        if not kind:
            raise ImageError(self._path, "broken: no PhotometricInterpretation")
        if kind not in _GREY + _COLOUR:
            raise ImageError(self._path, f"colours in {kind:.20}: not read")
        if allocated not in (1, 8, 16, 32, 64):
            raise ImageError(self._path, f"{allocated} bits allocated: not read")
        if kind.startswith("YBR_FULL") and allocated != 8:
            raise ImageError(self._path, f"{kind} of {allocated} bits: not read")
        samples = self._number("SamplesPerPixel", 1 if kind in _GREY else 3)
        rows, columns = self._number("Rows"), self._number("Columns")
        check_size(columns, rows, self._path)
        options: dict[str, Any] = {
            "rows": rows,
            "columns": columns,
            "number_of_frames": self._count(),
            "samples_per_pixel": samples,
            "photometric_interpretation": kind,
            "bits_allocated": allocated,
            "bits_stored": self._bits(),
            "pixel_keyword": keyword,
            "pixel_vr": form,
        }
        if keyword == "PixelData":
            options["pixel_representation"] = self._number("PixelRepresentation", 0)
        if samples > 1:
            options["planar_configuration"] = self._number("PlanarConfiguration", 0)
        table = [self._value(f"ExtendedOffsetTable{end}") for end in ("", "Lengths")]
        if None not in table:
            options["extended_offsets"] = tuple(table)
        return options

    def _decode(self, number: int) -> npt.NDArray[Any]:
        """Decode a frame to (height, width), or (height, width, 3) of RGB."""
        frames = self._count()
        if number >= frames:
            raise ImageError(self._path, f"no frame {number}, the file has {frames}")
        options, decoder = self._options(), self._decoder()
        bits, high = options["bits_stored"], options["bits_stored"]
        if self.syntax in (_IMPLICIT, _EXPLICIT, _BIG):  # values may lie in the upper bits
            high = min(self._number("HighBit", bits - 1) + 1, options["bits_allocated"])
            options["bits_stored"] = max(bits, high)
        if options["bits_allocated"] == 1 and self.syntax in (_IMPLICIT, _EXPLICIT):
            return self._bit_frame(number, options["rows"], options["columns"])
        if self.syntax.startswith(_JPEGS):
            self._check_end(number, frames, options.get("extended_offsets"))
        self._file.seek(self._element()[3])
        try:
            values, _ = decoder.as_array(self._file, index=number, **options)
        except Exception as error:  # what the plug-ins raise
            raise ImageError(self._path, self._why(decoder, error)) from error
        if high > bits:
            values = values >> (high - bits)
        if values.dtype.kind == "i":  # JPEG-LS knows no sign: spread it from the bits stored
            spare = 8 * values.dtype.itemsize - bits
            values = values << spare >> spare
        return np.asarray(values, values.dtype.newbyteorder("="))

    def _check_end(self, number: int, frames: int, offsets: Any) -> None:
        """Refuse a JPEG that was cut off, which the plug-ins fill up without a word."""
        with needs("dicom"):
            from pydicom.encaps import get_frame

        self._file.seek(self._element()[3])
        coded = get_frame(self._file, number, number_of_frames=frames, extended_offsets=offsets)
        if not jpeg_ends(coded):
            raise ImageError(self._path, "truncated: the JPEG has no end")

    def _bit_frame(self, number: int, rows: int, columns: int) -> npt.NDArray[np.uint8]:
        """Read a frame of one bit a pixel; it may begin within a byte, which pydicom cannot."""
        size = rows * columns
        start, skipped = divmod(number * size, 8)
        self._file.seek(self._element()[3] + start)
        data = self._file.read(-(-(skipped + size) // 8))
        bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")[skipped:][:size]
        if bits.size < size:
            raise ImageError(self._path, f"truncated: {bits.size} of {size} pixels")
        return bits.reshape(rows, columns)

    def _decoder(self) -> Any:
        with needs("dicom"):
            from pydicom.pixels import get_decoder
            from pydicom.uid import UID

        name = UID(self.syntax).name
        try:
            decoder = get_decoder(self.syntax)
        except NotImplementedError:
            raise ImageError(self._path, f"transfer syntax {name:.60}: not read") from None
        if not decoder.is_available:
            raise ImageError(self._path, _needs(name))
        return decoder

    def _why(self, decoder: Any, error: Exception) -> str:
        """Tell a decoder that is missing from pixels that are broken."""
        if any("pylibjpeg" in told for told in decoder.missing_dependencies):
            return _needs(decoder.UID.name)
        told = " ".join(str(error).split())
        return f"{'truncated' if 'truncated' in told.lower() else 'broken'}: {told}"

    def _look_up(self, pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        with needs("dicom"):
            from pydicom.pixels import apply_color_lut

        return np.asarray(apply_color_lut(pixels, self.header))

    def _is_lossy(self) -> bool:
        told = self._value("LossyImageCompression")
        return told == "01" or self.syntax in _LOSSY or (self.syntax in _EITHER and told != "00")


def _needs(syntax: str) -> str:
    return f"needs a decoder of {syntax:.60}: pip install 'meddel-fast[dicom]'"


def _inflated(file: BinaryIO, end: int, path: StrPath) -> BinaryIO:
    """Unpack a deflated file's elements, which begin at `end`, up to `MAX_INFLATED` bytes."""
    file.seek(end)
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        data = unpacker.decompress(file.read(), MAX_INFLATED)
    except zlib.error as error:
        raise ImageError(path, f"broken: {error}") from error
    if unpacker.unconsumed_tail:
        raise ImageError(path, f"too large: more than {MAX_INFLATED} bytes unpacked")
    if not unpacker.eof:
        raise ImageError(path, "truncated: deflated elements end early")
    return io.BytesIO(data)

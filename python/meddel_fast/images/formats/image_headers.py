"""What the headers of PNG, JPEG, JPEG 2000, WebP and PNM say that Pillow does not pass on."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

JPEG = b"\xff\xd8\xff"
PNG = b"\x89PNG\r\n\x1a\n"
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
J2K = (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")

_SIZ, _COD = b"\xff\x4f\xff\x51", 0xFF52
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # JPEG's SOF markers
_LOSSLESS = {0xC3, 0xC7, 0xCB, 0xCF}  # of these, the ones of predictive coding
_JPEG_LS = 0xF7


@dataclass(frozen=True)
class Stream:
    """Bits of a channel, size, channels, and whether the coder loses."""

    bits: int
    width: int
    height: int
    channels: int
    lossy: bool


def png_chunks(data: bytes) -> dict[bytes, bytes]:
    """Give the chunks of a PNG that stand before its pixels, by name."""
    chunks: dict[bytes, bytes] = {}
    at = len(PNG)
    while at + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        if name in (b"IDAT", b"IEND"):
            break
        chunks[name] = data[at + 8 : at + 8 + length]
        at += 12 + length
    return chunks


def jpeg(data: bytes) -> Stream | None:
    """Read the frame header of a JPEG or JPEG-LS, or give None where there is none."""
    at = 2
    while at + 10 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker in _FRAMES or marker == _JPEG_LS:
            bits, height, width, channels = struct.unpack_from(">BHHB", data, at + 4)
            lossy = marker not in _LOSSLESS and (marker != _JPEG_LS or _near(data, at) != 0)
            return Stream(bits, width, height, channels, lossy)
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def jpeg_ends(data: bytes) -> bool:
    """Tell whether a JPEG has its end; decoders fill up without a word what is missing."""
    return data.rfind(b"\xff\xd9") > data.rfind(b"\xff\xda")


def _near(data: bytes, at: int) -> int:
    """Give the largest error that a JPEG-LS may have, from its scan header."""
    while at + 4 <= len(data) and data[at] == 0xFF:
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == 0xDA and at + 4 < len(data):
            place = at + 5 + 2 * data[at + 4]
            return data[place] if place < len(data) else 1
        at += 2 + length
    return 1


def jpeg2000(data: bytes) -> Stream | None:
    """Read the header of a JPEG 2000 codestream, bare or in JP2, or give None."""
    at = data.find(_SIZ)
    if at < 0 or at + 42 > len(data):
        return None
    length = int.from_bytes(data[at + 4 : at + 6], "big")
    right, below, left, above = struct.unpack_from(">IIII", data, at + 8)
    (channels,) = struct.unpack_from(">H", data, at + 40)
    depths = data[at + 42 : at + 42 + 3 * channels : 3]
    if not depths:
        return None
    bits = max((depth & 0x7F) + 1 for depth in depths)
    lossy, at = True, at + 4 + length
    while at + 14 <= len(data) and data[at] == 0xFF and data[at + 1] not in (0x90, 0xD9):
        if data[at + 1] == _COD & 0xFF:
            lossy = data[at + 13] == 0  # the wavelet that does not come out even
            break
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return Stream(bits, right - left, below - above, channels, lossy)


def is_lossy(data: bytes) -> bool:
    """Tell by its own header whether a coded picture was coded with a loss.

    Also of a piece of a TIFF. True where the coder can lose and does not tell.
    """
    if data.startswith(b"\xff\xd8"):
        stream = jpeg(data)
    elif data.startswith(J2K):
        stream = jpeg2000(data)
    else:
        return not data.startswith(b"RIFF") or _webp_is_lossy(data)
    return stream is None or stream.lossy


def _webp_is_lossy(data: bytes) -> bool:
    at = 12
    while at + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, at)
        if name == b"ANMF":  # a frame of an animation: its own chunks lie behind 16 bytes
            name = data[at + 24 : at + 28]
        if name in (b"VP8 ", b"VP8L"):
            return bool(name == b"VP8 ")
        at += 8 + length + length % 2
    return True


def pnm(data: bytes) -> tuple[bytes, int, int, int, int] | None:
    """Read the header of a PGM or PPM: kind, width, height, white, and where the values begin."""
    gap = rb"(?:\s|#[^\n]*\n)+"
    found = re.match(rb"(P[2356])" + (gap + rb"(\d{1,9})") * 3 + rb"\s", data[:4096])
    if not found:
        return None
    kind, *numbers = found.groups()
    width, height, white = map(int, numbers)
    return kind, width, height, white, found.end()


def avif_bits(head: bytes) -> int:
    """Give the bits of a channel of an AVIF, 0 where it is none or does not tell."""
    at = head.find(b"av1C")
    if head[4:12] not in (b"ftypavif", b"ftypavis") or not 0 < at < len(head) - 7:
        return 0
    flags = head[at + 6]
    return 8 if not flags & 0x40 else 12 if flags & 0x20 else 10


def is_sycc(data: bytes) -> bool:
    """Tell whether the colours of a JP2 are YCbCr."""
    at = data.find(b"colr", 0, 1 << 16) if data.startswith(J2K[0]) else -1
    return at > 0 and data[at + 4 : at + 5] == b"\1" and data[at + 7 : at + 11] == b"\0\0\0\x12"

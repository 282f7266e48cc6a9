"""Pictures of every depth, written by hand, so that no reader judges its own writer."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

_FORMS = {"u": 1, "b": 1, "i": 2, "f": 3}
_TYPES = {"H": (3, 2), "I": (4, 4), "s": (2, 1)}  # TIFF's number of a type, and its bytes
SIDE = 32  # of `ramp`: loaded at this size, no pixel is mixed with another
PACKERS: dict[int, Callable[[bytes], bytes]] = {1: bytes, 8: zlib.compress}


def _packed(rows: np.ndarray, bits: int, order: str) -> bytes:
    """Lay rows of samples out as TIFF does: below 8 bits and between, highest bit first."""
    if rows.dtype.kind in "if" or bits in (8, 16, 32, 64):
        return rows.astype(rows.dtype.newbyteorder(order)).tobytes()
    wide = np.unpackbits(rows.astype(">u4").view(np.uint8).reshape(*rows.shape, 4), axis=-1)
    return np.packbits(wide[..., 32 - bits :].reshape(len(rows), -1), axis=-1).tobytes()


def tiff(
    *pages: np.ndarray,
    bits: int | None = None,
    photometric: int | None = None,
    planar: bool = False,
    extra: Sequence[int] = (),
    colours: np.ndarray | None = None,
    compression: int = 1,
    pack: Callable[[bytes], bytes] | None = None,
    order: str = "<",
    tags: dict[int, tuple[str, Sequence[int]]] | None = None,
) -> bytes:
    """Write pages (h, w) or (h, w, samples), one strip a channel or one for all."""
    data = bytearray(struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, 0))
    link = 4  # where the place of the next directory goes
    for page in pages:
        cube = page if page.ndim == 3 else page[..., None]
        height, width, samples = cube.shape
        depth = bits or 8 * cube.dtype.itemsize
        parts = [cube[..., k] for k in range(samples)] if planar else [cube.reshape(height, -1)]
        squeeze = pack or PACKERS[compression]
        strips = [squeeze(_packed(part, depth, order)) for part in parts]
        offsets = []
        for strip in strips:
            offsets.append(len(data))
            data += strip + bytes(len(strip) % 2)
        kind = photometric if photometric is not None else (2 if samples - len(extra) == 3 else 1)
        entries: dict[int, tuple[str, Sequence[int]]] = {
            256: ("I", [width]),
            257: ("I", [height]),
            258: ("H", [depth] * samples),
            259: ("H", [compression]),
            262: ("H", [kind]),
            273: ("I", offsets),
            277: ("H", [samples]),
            278: ("I", [height]),
            279: ("I", [len(strip) for strip in strips]),
            284: ("H", [2 if planar else 1]),
            339: ("H", [_FORMS[cube.dtype.kind]] * samples),
        }
        if extra:
            entries[338] = ("H", list(extra))
        if colours is not None:
            entries[320] = ("H", colours.T.ravel().tolist())
        entries |= tags or {}
        link = _directory(data, entries, order, link)
    return bytes(data)


def _directory(
    data: bytearray, entries: dict[int, tuple[str, Sequence[int]]], order: str, link: int
) -> int:
    """Add a directory, and what does not fit into it; give where the next one is named."""
    table = b""
    for tag, (code, values) in sorted(entries.items()):
        number, _ = _TYPES[code]
        raw = (
            bytes(values)
            if code == "s"
            else struct.pack(f"{order}{len(values)}{code}", *(int(v) for v in values))
        )
        if len(raw) > 4:
            place = len(data)
            data += raw + bytes(len(raw) % 2)
            raw = struct.pack(f"{order}I", place)
        table += struct.pack(f"{order}HHI", tag, number, len(values)) + raw.ljust(4, b"\0")
    struct.pack_into(f"{order}I", data, link, len(data))
    data += struct.pack(f"{order}H", len(entries)) + table + bytes(4)
    return len(data) - 4


def png(
    pixels: np.ndarray, bits: int, colour: int, chunks: Sequence[tuple[bytes, bytes]] = ()
) -> bytes:
    """Write (h, w) or (h, w, samples) as PNG of any depth; `chunks` stand before the pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    height, width = pixels.shape[:2]
    rows = pixels.reshape(height, -1)
    lines = _packed(rows if bits == 16 else rows.astype(np.uint8), bits, ">")
    step = len(lines) // height
    body = b"".join(b"\0" + lines[k * step : (k + 1) * step] for k in range(height))
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(body)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def ramp(top: Any, dtype: Any, *channels: float) -> np.ndarray:
    """A picture that grows to the right and down, from 0 to `top`; one plane a factor given."""
    y, x = np.mgrid[:SIDE, :SIDE]
    share = (x + 2.0 * y) / (3 * SIDE - 3)
    planes = [share**factor * top for factor in channels or (1.0,)]
    cube = np.dstack(planes) if np.dtype(dtype).kind == "f" else np.rint(np.dstack(planes))
    return np.ascontiguousarray(cube if len(planes) > 1 else cube[..., 0]).astype(dtype)

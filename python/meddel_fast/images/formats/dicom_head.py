"""What the first bytes of a file tell: whether it is DICOM, and how its pixels are coded."""

from __future__ import annotations

import struct

HEAD = 1 << 12
"""So many bytes are looked at."""

_VRS = b"AEASATCSDADSDTFLFDISLOLTOBODOFOLOVOWPNSHSLSQSSSTSVTMUCUIULUNURUSUTUV"
_TYPES = {_VRS[n : n + 2] for n in range(0, len(_VRS), 2)}
_LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
_FIRST = {(2, 0), (2, 1), (2, 2), (2, 16), (8, 0), (8, 1), (8, 5), (8, 6), (8, 8), (8, 18), (8, 22)}
_VIDEO = "1.2.840.10008.1.2.4.10"  # and a figure: MPEG-2, H.264, HEVC; ".1" where in fragments


def is_dicom(head: bytes) -> bool:
    """Tell whether it is DICOM: by its mark, or a header that begins without one."""
    if head[128:132] == b"DICM":
        return True
    if len(head) < 16:
        return False
    for order in "<>":
        if struct.unpack_from(f"{order}HH", head) not in _FIRST:
            continue
        if head[4:6] in _TYPES:
            return True
        length = int.from_bytes(head[4:8], "little")  # where types are left out
        after = head[8 + length : 10 + length]
        if order == "<" and length % 2 == 0 and after in (b"\2\0", b"\x08\0"):
            return True
    return False


def is_video(head: bytes) -> bool:
    """Tell whether it is a video in DICOM."""
    syntax = syntax_of(head)[0]
    rest = syntax[len(_VIDEO) :]
    return syntax.startswith(_VIDEO) and rest[:1].isdigit() and rest[1:] in ("", ".1")


def syntax_of(head: bytes) -> tuple[str, int]:
    """Give the transfer syntax that is told, else nothing, and where the file's header ends."""
    found, at = "", 132 if head[128:132] == b"DICM" else 0
    while head[at : at + 2] == b"\2\0" and at + 12 <= len(head):
        form, start = ("<I", at + 12) if head[at + 4 : at + 6] in _LONG else ("<H", at + 8)
        (length,) = struct.unpack_from(form, head, start - struct.calcsize(form))
        if head[at + 2 : at + 4] == b"\x10\0":
            found = head[start : start + length].decode("ascii", "replace").strip("\0 ")
        at = start + length
    return found, at

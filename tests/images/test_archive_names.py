"""Names in archives, whatever wrote them: masks are found, and guards hold."""

from __future__ import annotations

import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image")
pytest.importorskip("pyarrow")

from accounts import Files, told, write  # noqa: E402
from containers import encoded, frame, mask_png, png, tarred, zipped  # noqa: E402

from meddel_fast.images.address import ImageError  # noqa: E402
from meddel_fast.images.archive import open_archive  # noqa: E402
from meddel_fast.images.readers.item import stem_of  # noqa: E402
from meddel_fast.images.scan.datadel_set import scan_set  # noqa: E402
from meddel_fast.images.scan.folder import scan_folder  # noqa: E402
from meddel_fast.training.loader import frames  # noqa: E402

NAMES = ["füße", "één", "日本", "naïve", "plain"]


class RawInfo(zipfile.ZipInfo):
    """A member whose name is written as the bytes given, without the mark that it is UTF-8."""

    raw: bytes

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802 - zipfile's own name
        return self.raw, self.flag_bits & ~0x800


def raw_zip(files: Mapping[bytes, bytes], extra: Mapping[bytes, bytes] | None = None) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for n, (name, data) in enumerate(files.items()):
            info = RawInfo(str(n))
            info.raw, info.extra = name, (extra or {}).get(name, b"")
            archive.writestr(info, data)
    return buffer.getvalue()


def unicode_path(raw: bytes, name: str, crc: int | None = None) -> bytes:
    data = struct.pack("<BI", 1, zlib.crc32(raw) if crc is None else crc) + name.encode()
    return struct.pack("<HH", 0x7075, len(data)) + data


def utf_8(files: Files, form: str = "NFD") -> bytes:
    """A zip as a Mac writes it: decomposed names in UTF-8, without the mark."""
    return raw_zip({unicodedata.normalize(form, n).encode(): d for n, d in files.items()})


def old_names(files: Files) -> bytes:
    """A zip with names in an old code page, and the right ones in Info-ZIP's field."""
    raw = {name: name.encode("cp437", "replace") for name in files}
    raw = {name: data if data.count(b"?") == 0 else f"_{n}.png".encode()
           for n, (name, data) in enumerate(raw.items())}  # fmt: skip
    extra = {raw[name]: struct.pack("<HHI", 1, 4, 0) + unicode_path(raw[name], name)
             for name in files}  # fmt: skip
    return raw_zip({raw[name]: data for name, data in files.items()}, extra)


def tar_of(kind: int) -> Callable[[Files], bytes]:
    def pack(files: Files) -> bytes:
        buffer = BytesIO()
        encoding = "utf-8"
        with tarfile.open(fileobj=buffer, mode="w", format=kind, encoding=encoding) as archive:
            for name, data in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, BytesIO(data))
        return buffer.getvalue()

    return pack


PACKERS: dict[str, tuple[str, Callable[[Files], bytes]]] = {
    "zip with the mark": ("zip", zipped),
    "zip of a Mac": ("zip", utf_8),
    "zip without the mark": ("zip", lambda files: utf_8(files, "NFC")),
    "zip with Info-ZIP's field": ("zip", old_names),
    "zip in a zip": ("zip", lambda files: utf_8({"größe.zip": utf_8(files)})),
    "pax tar": ("tar", tar_of(tarfile.PAX_FORMAT)),
    "GNU tar": ("tar", tar_of(tarfile.GNU_FORMAT)),
}


@pytest.mark.parametrize("packer", list(PACKERS))
@pytest.mark.parametrize("packed", ["images", "masks"])
def test_masks_are_found_whatever_wrote_the_names(tmp_path: Path, packer: str, packed: str) -> None:
    suffix, pack = PACKERS[packer]
    for part in ("images", "masks"):
        files = {f"{name}.png": png(n) if part == "images" else mask_png()
                 for n, name in enumerate(NAMES)}  # fmt: skip
        if part == packed:
            write(tmp_path, {f"{part}.{suffix}": pack(files)})
        else:
            below = "größe/" if packer == "zip in a zip" else ""
            write(tmp_path / part, {f"{below}{name}": data for name, data in files.items()})
    manifest = scan_folder(tmp_path, require_masks=True)
    stems = [unicodedata.normalize("NFC", stem_of(path)) for path in manifest.image_paths()]
    assert sorted(stems) == sorted(NAMES)
    assert told(manifest).left == ()
    assert len(frames(manifest, 8)[np.arange(5)]) == 5


def test_a_known_set_takes_the_names_of_a_mac(tmp_path: Path) -> None:
    files = {f"images/{n}.jpg": encoded(Image.fromarray(frame(i)), "JPEG")
             for i, n in enumerate(NAMES)}  # fmt: skip
    masks = {f"masks/{n}.jpg": encoded(Image.fromarray(frame(i)), "JPEG")
             for i, n in enumerate(NAMES)}  # fmt: skip
    write(tmp_path / "Kvasir-SEG", files)
    write(tmp_path / "Kvasir-SEG", {"more.zip": utf_8(masks)})
    assert len(scan_set(tmp_path / "Kvasir-SEG", "kvasir-seg").with_masks()) == 5


def test_names_of_old_tools(tmp_path: Path) -> None:
    right, wrong = b"\x81.png", b"\x84.png"  # ü and ä in code page 437
    field = {wrong: unicode_path(wrong, "other.png", crc=1), right: unicode_path(b"", "x.png")}
    for extra in ({}, field):
        (tmp_path / "x.zip").write_bytes(raw_zip({right: png(1), wrong: png(2)}, extra))
        assert open_archive(tmp_path / "x.zip").names == ["ü.png", "ä.png"]
    damaged = unicode_path(right, "x")[:-1] + b"\xff"
    for extra in (damaged, b"\x75"):
        (tmp_path / "x.zip").write_bytes(raw_zip({right: png(1)}, {right: extra}))
        assert open_archive(tmp_path / "x.zip").names == ["ü.png"]
    old = tarred({"u.png": png(1)}).replace(b"u.png\0", b"\xfc.png\0", 1)
    fixed = bytearray(old)
    fixed[148:156] = b" " * 8
    fixed[148:156] = b"%06o\0 " % sum(fixed[:512])
    (tmp_path / "x.tar").write_bytes(bytes(fixed))
    assert open_archive(tmp_path / "x.tar").names == ["ü.png"]


@pytest.mark.parametrize(
    "name", ["../up.png", "/abs.png", "a::b.png", "c:\\x.png", "a/../../b.png"]
)
def test_guards_hold_for_names_as_they_are_decoded(tmp_path: Path, name: str) -> None:
    raw = b"harmless.png"
    write(tmp_path, {"m.zip": raw_zip({raw: png(1)}, {raw: unicode_path(raw, name)})})
    archive = open_archive(tmp_path / "m.zip")
    assert archive.names == []
    ((refused, why),) = archive.refused.items()
    assert refused == name.replace("\\", "/")
    assert why.startswith("refused: ")
    with pytest.raises(ImageError, match="refused"):
        archive.read(refused)
    twice = raw_zip({raw: png(1), b"b.png": png(2)}, {raw: unicode_path(raw, "b.png")})
    write(tmp_path, {"t.zip": twice})
    assert open_archive(tmp_path / "t.zip").refused == {"b.png": "two members have this name"}

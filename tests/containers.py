"""Made archives, videos, DICOM files and stacks, with frames that can be told apart."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def frame(number: int, width: int = 40, height: int = 30) -> np.ndarray:
    """Noise that no other number gives, (height, width, 3) uint8."""
    return np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)


def png(number: int, width: int = 40, height: int = 30) -> bytes:
    return encoded(Image.fromarray(frame(number, width, height)))


def mask_png(width: int = 40, height: int = 30, rows: int = 10) -> bytes:
    pixels = np.zeros((height, width), np.uint8)
    pixels[:rows] = 255
    return encoded(Image.fromarray(pixels))


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def zipped(members: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def tarred(members: Mapping[str, bytes | tarfile.TarInfo]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name) if isinstance(data, bytes) else data
            info.name = name
            info.size = len(data) if isinstance(data, bytes) else 0
            archive.addfile(info, io.BytesIO(data) if isinstance(data, bytes) else None)
    return buffer.getvalue()


def write_video(
    path: Path,
    codec: str,
    count: int,
    *,
    gop: int = 12,
    b_frames: int = 2,
    scenes: int = 1,
    container: str | None = None,
    cut: int = 0,
) -> None:
    """A video whose frame i has a white bar at column i, over a ground that tells the scene.

    The first `cut` frames are in the file, but before the start of the clip (an edit list).
    """
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"avoid_negative_ts": "disabled"} if cut else {}
    with av.open(str(path), "w", format=container, options=options) as output:
        stream = output.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 48, "yuv420p"
        stream.codec_context.gop_size = gop
        stream.codec_context.max_b_frames = b_frames

        def write(packets: list[Any]) -> None:
            for packet in packets:
                if cut:
                    shift = cut * round(1 / (25 * packet.time_base))
                    packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                output.mux(packet)

        for number in range(count):
            pixels = np.full((48, 128, 3), 40 + 120 * (number * scenes // count % 2), np.uint8)
            pixels[:, 2 * number : 2 * number + 2] = 255
            write(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        write(stream.encode())


def write_dicom(path: Path, pixels: np.ndarray, kind: str = "MONOCHROME2", **more: Any) -> None:
    """A DICOM file of frames (n, height, width[, 3]), uint8 or uint16."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.NumberOfFrames, data.Rows, data.Columns = pixels.shape[:3]
    data.SamplesPerPixel = 3 if pixels.ndim == 4 else 1
    if pixels.ndim == 4:
        data.PlanarConfiguration = 0
    data.PhotometricInterpretation = kind
    data.BitsAllocated = data.BitsStored = 8 * pixels.itemsize
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = 0
    data.PixelData = pixels.tobytes()
    for name, value in more.items():
        setattr(data, name, value)
    data.save_as(path, enforce_file_format=True)

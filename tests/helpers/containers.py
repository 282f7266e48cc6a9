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


def video_frame(number: int, count: int, scenes: int = 1) -> np.ndarray:
    """Frame `number` of a made video: a white bar at its column, over a ground of its scene."""
    pixels = np.full((48, 128, 3), 40 + 120 * (number * scenes // count % 2), np.uint8)
    pixels[:, 2 * number % 128 : 2 * number % 128 + 2] = 255
    return pixels


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
    pix_fmt: str = "yuv420p",
    options: Mapping[str, str] | None = None,
    muxing: Mapping[str, str] | None = None,
    turn: tuple[int, bool, bool] | None = None,
) -> None:
    """A video of `video_frame`s.

    The first `cut` frames are in the file, but before the start of the clip (an edit list); `turn`
    is the rotation against the clock, and whether it is mirrored across and upside down.
    """
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    muxing = {"avoid_negative_ts": "disabled"} if cut else dict(muxing or {})
    with av.open(str(path), "w", format=container, options=muxing) as output:
        stream = output.add_stream(codec, rate=25, options=dict(options or {}))
        stream.width, stream.height, stream.pix_fmt = 128, 48, pix_fmt
        stream.codec_context.gop_size = gop
        stream.codec_context.max_b_frames = b_frames
        if turn is not None:
            stream.set_display_rotation(turn[0], hflip=turn[1], vflip=turn[2])

        def write(packets: list[Any]) -> None:
            for packet in packets:
                if cut:
                    shift = cut * round(1 / (25 * packet.time_base))
                    packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                output.mux(packet)

        for number in range(count):
            pixels = video_frame(number, count, scenes)
            write(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        write(stream.encode())


def remux(source: Path, path: Path, change: Any, container: str | None = None) -> None:
    """Copy the packets of a video as `change(packets)` gives them, without encoding anew."""
    import av

    with av.open(str(source)) as read, av.open(str(path), "w", format=container) as output:
        stream = output.add_stream_from_template(read.streams.video[0])
        for packet in change([packet for packet in read.demux(video=0) if packet.size]):
            packet.stream = stream
            output.mux(packet)


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

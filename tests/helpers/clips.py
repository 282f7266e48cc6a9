"""Clips of every codec, and a full decode to compare their frames with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from containers import write_video

from meddel_fast.images.address import ImageError
from meddel_fast.images.sources import Sampling, open_image, units

COUNT = 24


def shown(path: Path) -> list[np.ndarray]:
    """What a full decode shows."""
    with av.open(str(path)) as clip:
        return [np.asarray(frame.to_image()) for frame in clip.decode(video=0)]


def numbers(pixels: np.ndarray) -> int:
    """Which frame of `write_video` this is, by its bar."""
    return int(pixels.astype(float).mean(axis=(0, 2)).argmax()) // 2


def frame(path: Path, number: int) -> np.ndarray:
    with open_image(f"{path}::{number:06d}") as image:
        return np.asarray(image)


def check(path: Path, seed: int = 0) -> int:
    """Compare every frame, in any order, with the full decode; give their count."""
    wanted = shown(path)
    assert units(path, Sampling(stride=1)) == [
        Path(f"{path}::{number:06d}") for number in range(len(wanted))
    ]
    for number in np.random.default_rng(seed).permutation(len(wanted)).tolist():
        np.testing.assert_array_equal(frame(path, number), wanted[number], err_msg=str(number))
    with pytest.raises(ImageError, match=f"no frame {len(wanted)}, the video has {len(wanted)}"):
        frame(path, len(wanted))
    return len(wanted)


X264 = {"crf": "12"}
OPEN_264 = {"x264-params": "open-gop=1:keyint=8:bframes=3:b-pyramid=normal"}
OPEN_265 = {"x265-params": "open-gop=1:keyint=8:bframes=3:log-level=none"}
CODECS: dict[str, dict[str, Any]] = {
    "h264": {"codec": "libx264", "b_frames": 0, "options": X264},
    "h264 B": {"codec": "libx264", "b_frames": 3, "options": X264},
    "h264 open": {"codec": "libx264", "b_frames": 3, "options": OPEN_264},
    "h264 intra": {"codec": "libx264", "b_frames": 0, "gop": 1},
    "hevc open": {"codec": "libx265", "b_frames": 3, "options": OPEN_265},
    "mpeg4": {"codec": "mpeg4", "b_frames": 0},
    "mpeg4 B": {"codec": "mpeg4"},
    "mpeg2": {"codec": "mpeg2video", "b_frames": 0},
    "mpeg2 B": {"codec": "mpeg2video"},
    "mpeg1 B": {"codec": "mpeg1video"},
    "vp8": {"codec": "libvpx", "b_frames": 0},
    "vp9": {"codec": "libvpx-vp9", "b_frames": 0, "options": {"cpu-used": "8"}},
    "av1": {"codec": "libsvtav1", "b_frames": 0, "options": {"preset": "12"}},
    "mjpeg": {"codec": "mjpeg", "b_frames": 0, "pix_fmt": "yuvj420p"},
    "ffv1": {"codec": "ffv1", "b_frames": 0},
    "prores": {"codec": "prores_ks", "b_frames": 0, "pix_fmt": "yuv422p10le"},
    "wmv2": {"codec": "wmv2", "b_frames": 0},
    "msmpeg4": {"codec": "msmpeg4", "b_frames": 0},
    "flv1": {"codec": "flv", "b_frames": 0},
    "huffyuv": {"codec": "huffyuv", "b_frames": 0, "pix_fmt": "yuv422p"},
    "raw": {"codec": "rawvideo", "b_frames": 0},
    "gif": {"codec": "gif", "b_frames": 0, "pix_fmt": "rgb8"},
}  # fmt: skip
FORMATS = {".3gp": "3gp", ".mts": "mpegts", ".m2ts": "mpegts", ".m2v": "mpeg2video"}


def make(path: Path, name: str, **more: Any) -> Path:
    """A video of one of the codecs, where PyAV was built with its encoder."""
    settings = {"count": COUNT, "gop": 8, **CODECS[name], **more}
    if settings["codec"] not in av.codec.codecs_available:
        pytest.skip(f"PyAV was built without {settings['codec']}")
    if "turn" in more and not hasattr(av.video.stream.VideoStream, "set_display_rotation"):
        pytest.skip("this PyAV cannot write turned videos")
    write_video(path, container=FORMATS.get(path.suffix), **settings)
    return path

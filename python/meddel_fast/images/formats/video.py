"""Frames of videos by number, exactly, without a copy of the frames on disk. Needs PyAV (``av``).

A frame's number is its rank in what a full decode shows, from 0; `open_video` finds it. Frames are
turned as the file says that players should (display matrix: quarter turns and mirrors). Pixels that
are not square, and the two fields of an interlaced frame, are left as stored. Of several video
streams the first counts, cover pictures aside.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import numpy as np

from meddel_fast.common.extras import needs
from meddel_fast.common.files import StrPath
from meddel_fast.images.address import ImageError
from meddel_fast.images.formats.open_video import Clip, Index
from meddel_fast.images.formats.open_video import Opener as Opener

with needs("benchmark"):
    from PIL import Image

STRIDE = 25
"""Frames from one that a scan takes to the next: about a second of an endoscope's video."""

_OPEN = 4  # clips that a thread keeps open; each holds a decoder and its reference frames
_INDEXED = 1_500_000  # frames whose index is kept, at up to 0.1 KB each
_SMALL = (32, 32)  # what the scene filter compares

# By where the matrix sends a step to the right and one down.
_TURNS = {
    (-1, 0, 0, 1): Image.Transpose.FLIP_LEFT_RIGHT,
    (-1, 0, 0, -1): Image.Transpose.ROTATE_180,
    (1, 0, 0, -1): Image.Transpose.FLIP_TOP_BOTTOM,
    (0, 1, 1, 0): Image.Transpose.TRANSPOSE,
    (0, 1, -1, 0): Image.Transpose.ROTATE_270,
    (0, -1, -1, 0): Image.Transpose.TRANSVERSE,
    (0, -1, 1, 0): Image.Transpose.ROTATE_90,
}


class _Open(threading.local):
    """The clips that a thread used last."""

    def __init__(self) -> None:
        self._clips: OrderedDict[Hashable, Clip] = OrderedDict()

    def fetch(self, key: Hashable, make: Callable[[], Clip]) -> Clip:
        if key not in self._clips:
            self._clips[key] = make()
        self._clips.move_to_end(key)
        while len(self._clips) > _OPEN:
            self._clips.popitem(last=False)
        return self._clips[key]


class _Indices:
    """The indices used last. One thread makes that of a clip, while others wait for it alone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[Hashable, Index] = OrderedDict()
        self._making: dict[Hashable, threading.Lock] = {}

    def fetch(self, key: Hashable, make: Callable[[], Index]) -> Index:
        with self._lock:
            making = self._making.setdefault(key, threading.Lock())
        with making:
            found = self._known.get(key) or make()
            with self._lock:
                self._making.pop(key, None)
                self._known[key] = found
                self._known.move_to_end(key)
                while sum(map(len, self._known.values())) > _INDEXED and len(self._known) > 1:
                    self._known.popitem(last=False)
        return found


_clips = _Open()
_indices = _Indices()


def count(path: StrPath, key: Hashable, opener: Opener) -> int:
    """Count the frames of a video.

    Parameters
    ----------
    path
        Its address, for errors.
    key
        Equal for equal content, to find what was opened before.
    opener
        Gives a path, or a seekable file.

    Raises
    ------
    ImageError
        It is no video, or a damaged one, or PyAV is not there.
    """
    with _named(path):
        return len(_opened(path, key, opener)[1])


def load(path: StrPath, key: Hashable, opener: Opener, number: int) -> Image.Image:
    """Decode frame `number` (from 0) to RGB, upright; the rest is as for :func:`count`.

    Threads have decoders of their own, the last few of them kept open.
    """
    with _named(path):
        clip, index = _opened(path, key, opener)
        if number == len(index) and index.ends_early:
            raise ImageError(path, f"truncated: no frame {number} nor later, {index.ends_early}")
        if number >= len(index):
            raise ImageError(path, f"no frame {number}, the video has {len(index)}")
        frame = clip.frame(index, number)
        if frame is None or frame.is_corrupt:
            raise ImageError(path, f"broken: frame {number} cannot be decoded")
        if index.shown[number] == index.cut >= 0:
            raise ImageError(path, f"truncated: the file ends in frame {number}")
        return _upright(frame)


def _upright(frame: Any) -> Image.Image:
    """Convert a frame, and turn it by its display matrix where that is a quarter turn or mirror."""
    image: Image.Image = frame.to_image()
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return image
    right_and_down = np.frombuffer(matrix, np.int32)[[0, 1, 3, 4]]
    turn = _TURNS.get(tuple(np.sign(right_and_down).tolist()))
    return image if turn is None else image.transpose(turn)


def scenes(
    path: StrPath, key: Hashable, opener: Opener, stride: int, change: float
) -> Iterator[int]:
    """Give the numbers of the frames that a scan takes.

    Every `stride`-th frame is a candidate; with a `change` above 0 one is passed over when it
    differs from the one taken last by less: the mean absolute difference of grey 32 x 32 pictures,
    on a scale from 0 to 1. The first is always taken. Where the file ends before the video does,
    the first frame that is not there comes last: it is no frame, but the place to tell it.
    """
    with _named(path):
        index = _opened(path, key, opener)[1]
    last = None
    for number in range(0, len(index), stride):
        if change > 0:
            try:
                image = load(path, key, opener, number)
            except ImageError:
                yield number  # so that it is reported
                continue
            grey = image.convert("L").resize(_SMALL, Image.Resampling.BOX)
            small = np.asarray(grey, np.float32) / 255
            if last is not None and float(np.abs(small - last).mean()) < change:
                continue
            last = small
        yield number
    if index.ends_early:
        yield len(index)


def _opened(path: StrPath, key: Hashable, opener: Opener) -> tuple[Clip, Index]:
    clip = _clips.fetch(key, lambda: Clip(path, opener))
    index = _indices.fetch(key, clip.index)
    if not len(index):
        raise ImageError(path, "no frame of the video can be decoded")
    return clip, index


@contextlib.contextmanager
def _named(path: StrPath) -> Iterator[None]:
    """Give what goes wrong inside one name: PyAV's errors, and that it is not there."""
    try:
        with needs("video"):
            import av
    except ModuleNotFoundError as error:
        raise ImageError(path, str(error).removeprefix("this ")) from error
    try:
        yield
    except av.FFmpegError as error:
        raise ImageError(path, f"broken video: {error.strerror or error}") from error

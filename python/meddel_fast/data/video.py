"""Frames of videos by number, exactly, without a copy of the frames on disk. Needs PyAV (``av``).

A frame's number is its rank in the order of display. The numbers come from the time stamps of the
packets, which are read without decoding; a file without time stamps, or with equal ones, is decoded
once to count. A frame is reached by a seek to the key frame before it and decoding from there until
its own time stamp appears. Some formats (MPEG program streams) stamp packets differently after a
seek, hence every packet is compared with what the first reading found, and where one differs the
clip is decoded from its start: a seek that goes wrong costs time, never the wrong frame.
"""

from __future__ import annotations

import contextlib
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from meddel_fast.data.address import ImageError
from meddel_fast.extras import needs
from meddel_fast.files import StrPath

with needs("benchmark"):
    from PIL import Image

STRIDE = 25
"""Frames from one that a scan takes to the next: about a second of an endoscope's video."""

_OPEN = 4  # clips that a thread keeps open; each holds a decoder and its reference frames
_INDEXED = 16  # clips whose index is kept: about 0.2 KB a frame, 20 MB for an hour
_SMALL = (32, 32)  # what the scene filter compares

Opener = Callable[[], str | BinaryIO]


@dataclass(frozen=True)
class _Index:
    """Time stamps of the frames in the order of display, and the ranks of the key frames.

    ``packets`` has, by time stamp, where each packet lies and its size; empty where frames are
    reached by counting.
    """

    stamps: list[int]
    keys: list[int]
    packets: dict[int, tuple[int, int]]


class _Clip:
    """An open video of one thread."""

    def __init__(self, path: StrPath, opener: Opener) -> None:
        self.path = path
        self._opener = opener
        self._seeks = True  # until packets differ after a seek
        self._open()

    def _open(self) -> None:
        with needs("video"):
            import av

        self._container = av.open(self._opener())
        if not self._container.streams.video:
            raise ImageError(self.path, "no video stream")
        self._stream = self._container.streams.video[0]
        self._stream.codec_context.thread_count = 1  # the callers are threads already
        self._frames = self._container.decode(self._stream)
        self._next = 0  # rank of the frame that the decoder gives next, -1 when unknown

    def index(self) -> _Index:
        """Read the index of the clip."""
        packets = [p for p in self._container.demux(self._stream) if p.size]
        places = {p.pts: (p.pos, p.size) for p in packets}
        keys = {p.pts for p in packets if p.is_keyframe}
        self._open()
        if None in places or len(places) < len(packets):
            count = sum(1 for _ in self._frames)
            self._open()
            return _Index(list(range(count)), [], {})
        # an edit list cuts frames off, of which others may depend: decoded, but never shown
        ordered = sorted(places.keys() - {p.pts for p in packets if p.is_discard})
        return _Index(ordered, [n for n, stamp in enumerate(ordered) if stamp in keys], places)

    def frame(self, index: _Index, number: int) -> Any:
        """Decode frame `number`, or give None where that cannot be done."""
        if not index.packets:
            return self._count_to(number)
        at = bisect_right(index.keys, number) - 1
        near = index.keys[at] if at >= 0 and self._seeks else 0
        if near <= self._next <= number:
            return self._decode_to(index, number)
        if near > 0:
            self._container.seek(index.stamps[near], stream=self._stream)
            self._frames = self._checked(index)
            found = self._decode_to(index, number)
            if found is not None:
                return found
        self._open()
        return self._decode_to(index, number)

    def _checked(self, index: _Index) -> Iterator[Any]:
        """Decode on after a seek, as long as the packets are those of the index."""
        for packet in self._container.demux(self._stream):
            if packet.size and index.packets.get(packet.pts) != (packet.pos, packet.size):
                self._seeks = False
                return
            yield from packet.decode()

    def _decode_to(self, index: _Index, number: int) -> Any:
        """Decode on until frame `number`, or give None when it is passed or the clip ends."""
        target = index.stamps[number]
        self._next = -1
        for frame in self._frames:
            if frame.pts == target:
                self._next = number + 1
                return frame
            if frame.pts is not None and frame.pts > target:
                return None
        return None

    def _count_to(self, number: int) -> Any:
        if not 0 <= self._next <= number:
            self._open()
        for frame in self._frames:
            self._next += 1
            if self._next > number:
                return frame
        return None


class _Recent(OrderedDict[Hashable, Any]):
    """The values used last."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def fetch(self, key: Hashable, make: Callable[[], Any]) -> Any:
        if key not in self:
            self[key] = make()
        self.move_to_end(key)
        while len(self) > self._limit:
            self.popitem(last=False)
        return self[key]


class _Thread(threading.local):
    def __init__(self) -> None:
        self.clips = _Recent(_OPEN)


_thread = _Thread()
_indices = _Recent(_INDEXED)
_lock = threading.Lock()


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
        It is no video, or a damaged one.
    """
    with _named(path):
        return len(_opened(path, key, opener)[1].stamps)


def load(path: StrPath, key: Hashable, opener: Opener, number: int) -> Image.Image:
    """Decode frame `number` (from 0) to RGB; the other parameters and errors are :func:`count`'s.

    Threads have decoders of their own, the last few of them kept open.
    """
    with _named(path):
        clip, index = _opened(path, key, opener)
        if number >= len(index.stamps):
            raise ImageError(path, f"no frame {number}, the video has {len(index.stamps)}")
        frame = clip.frame(index, number)
        if frame is None or frame.is_corrupt:
            raise ImageError(path, f"broken: frame {number} cannot be decoded")
        image: Image.Image = frame.to_image()
        return image


def scenes(
    path: StrPath, key: Hashable, opener: Opener, stride: int, change: float
) -> Iterator[int]:
    """Give the numbers of the frames that a scan takes.

    Every `stride`-th frame is a candidate; with a `change` above 0 one is passed over when it
    differs from the one taken last by less: the mean absolute difference of grey 32 x 32 pictures,
    on a scale from 0 to 1. The first is always taken.
    """
    total = count(path, key, opener)
    last = None
    for number in range(0, total, stride):
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


def _opened(path: StrPath, key: Hashable, opener: Opener) -> tuple[_Clip, _Index]:
    clip: _Clip = _thread.clips.fetch(key, lambda: _Clip(path, opener))
    with _lock:
        index: _Index = _indices.fetch(key, clip.index)
    return clip, index


@contextlib.contextmanager
def _named(path: StrPath) -> Iterator[None]:
    """Give PyAV's errors inside one name, and say what to install where it is absent."""
    with needs("video"):
        import av

    try:
        yield
    except (av.FFmpegError, EOFError) as error:
        raise ImageError(path, f"broken video: {error}") from error

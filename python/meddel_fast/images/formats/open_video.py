"""One open video: which frames it shows, in which order, and how to reach one of them.

What a full decode shows is the truth; frames count from 0 in that order. Where the time stamps of
the packets tell it, they are read without decoding: the container must carry the times of display,
the codec must show every packet once, and the first frames decoded must come as the stamps say.
Else (AVI with B-frames, bare streams, stamps that are missing, equal or fall ...) the clip is
decoded once, and of each frame a digest of its pixels is kept.

A frame is reached from the key frame before it. A seek is believed only where each packet is the
one that the index has at that place, and each frame from the key frame on is the one expected: from
the packet expected, or of the digest expected. Else the clip is decoded from its start: a seek that
goes wrong costs time, never the wrong frame.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from meddel_fast.common.extras import needs
from meddel_fast.common.files import StrPath
from meddel_fast.images.address import ImageError

Opener = Callable[[], "str | BinaryIO"]
_Integers = npt.NDArray[np.int64]

# Opened, by content, are formats that hold the pictures themselves. Playlists and lists of files
# are not among them: a stranger's "video" would lead to other files, or out of the machine.
_FORMATS = (
    "amv,asf,avi,av1,avs,avs2,avs3,cavsvideo,dhav,dirac,dv,flic,flv,gif,gxf,h261,h263,h264,hevc,"
    "ivf,live_flv,lxf,m4v,matroska,mjpeg,mjpeg_2000,mov,mpeg,mpegts,mpegtsraw,mpegvideo,mtv,mxf,"
    "nsv,nut,obu,ogg,rm,vc1,vc1test,vvc,wtv,yuv4mpegpipe"
)
# Containers that carry the time of display of each frame.
_TIMED = ("mov", "matroska", "mpegts", "flv")
# Codecs that show every packet, once; others skip (MPEG-4, VC-1) or hide (VP8) some.
_SHOW_ALL = ("h264", "hevc", "mpeg1video", "mpeg2video", "vp9", "av1", "ffv1", "png")
_PROBED = 100  # frames decoded at the start, to see that they come as the stamps say
_LEADING = 32  # frames after a seek that may come before the key frame in the order of display
_FARTHER = 4  # key frames farther back that a seek goes where packets have no place
_TRIES = 3  # seeks that may fail, where none went well, before no more are tried
_END = 4  # packets at the end, of which a damaged one says that the file was cut
_ENOUGH = 0.95  # of the length that a header tells, since many are a little off
_TS_PACKETS = (188, 192, 204)
_NONE = -(1 << 63)  # no time stamp
_PREDICTED = (2, 3)  # P and B


@dataclass(frozen=True)
class Index:
    """What is known about a clip.

    Attributes
    ----------
    packets
        int64 (n, 4): presentation and decoding time stamp, place and size of each packet.
    shown
        int64: the packet that each frame comes from, in the order of display; -1 where unknown.
    keys
        Ranks of the frames that one can seek to, ascending.
    digests
        Of the pixels of each frame, where the clip had to be decoded.
    cut
        The packet in which the file ends; -1 if it ends behind one.
    ends_early
        Why the file ends before the clip does; else empty.
    """

    packets: _Integers
    shown: _Integers
    keys: list[int]
    digests: list[bytes] | None
    cut: int
    ends_early: str

    def __len__(self) -> int:
        return len(self.shown)

    def key_before(self, number: int) -> int:
        """Give the rank of the key frame that frame `number` can be decoded from; 0: the start."""
        for at in range(bisect_right(self.keys, number) - 1, -1, -1):
            if self.shown[self.keys[at]] <= self.shown[number]:
                return self.keys[at]
        return 0

    def packet_at(self, packet: Any) -> int:
        """Tell which packet of the index this is, by place and size; -1 if unclear.

        Where several share a place, the time stamp decides, which may be another after a seek.
        """
        stamp, _, place, size = _row(packet)
        if place < 0:
            return -1
        _, _, places, sizes = self.packets.T
        hits = np.flatnonzero((places == place) & (sizes == size))
        if len(hits) > 1:
            hits = hits[self.packets[hits, 0] == stamp]
        return int(hits[0]) if len(hits) == 1 else -1

    @cached_property
    def _ranks(self) -> _Integers:
        ranks = np.full(len(self.packets), -1, np.int64)
        ranks[self.shown] = np.arange(len(self.shown))
        return ranks

    def rank_of(self, packet: int) -> int | None:
        """Tell which frame a packet holds, by the stamps; None if it shows none."""
        rank = int(self._ranks[packet]) if packet >= 0 else -1
        return rank if rank >= 0 else None

    def expects(self, frame: Any, rank: int, first: bool) -> bool:
        """Tell whether a frame that was decoded after a seek can only be the one of `rank`."""
        if rank >= len(self):
            return False
        if self.digests is not None:
            return _digest(frame) == self.digests[rank]
        if first and frame.pict_type in _PREDICTED:
            return False  # marked as a key frame, and is none
        return _origin(frame) == self.shown[rank] and not frame.is_corrupt


class Clip:
    """An open video, for one thread.

    Parameters
    ----------
    path
        Its address, for errors.
    opener
        Gives a path, or a seekable file.

    Raises
    ------
    ImageError
        The file is no video, or has no video stream.
    """

    def __init__(self, path: StrPath, opener: Opener) -> None:
        self.path = path
        self._opener = opener
        self._astray: set[int] = set()  # key frames to which a seek failed
        self._arrived = False  # whether any did not
        self._open()

    def _open(self) -> None:
        with needs("video"):
            import av
            from av.stream import Disposition

        self._av_error = av.FFmpegError
        source = self._opener()
        named = f"file:{source}" if isinstance(source, str) else source  # no name is a protocol
        try:
            self._container = av.open(named, container_options={"format_whitelist": _FORMATS})
        except (ValueError, EOFError) as error:  # of PyAV too: no header, or not in the list
            raise ImageError(self.path, _other(source)) from error
        streams = [
            stream
            for stream in self._container.streams.video
            if not stream.disposition & Disposition.attached_pic
        ]
        if not streams:
            raise ImageError(self.path, "no video stream")
        self._stream = streams[0]
        context = self._stream.codec_context
        context.thread_count = 1  # the callers are threads already
        context.copy_opaque = True  # a frame tells the packet that it came from
        self._ended = ""
        self._next = 0  # rank of the frame that comes next, -1 when unknown
        self._sought = False  # whether frames come from a seek, not from the start
        self._leading = 0  # frames that may still come before the one sought
        self._frames = self._decoded(self._numbered())

    def index(self) -> Index:
        """Read the index of the clip, by its stamps if they can be trusted."""
        rows: list[list[int]] = []
        keys: set[int] = set()
        hidden: set[int] = set()
        damaged: set[int] = set()
        for packet in self._packets():
            for flag, numbers in (
                (packet.is_keyframe, keys),
                (packet.is_discard, hidden),
                (packet.is_corrupt, damaged),
            ):
                if flag:
                    numbers.add(len(rows))
            rows.append(_row(packet))
        packets = np.array(rows, np.int64).reshape(-1, 4)
        ended = self._ended or self._missing(packets)
        cut = len(rows) - 1 if len(rows) - 1 in damaged else -1
        shown, digests = self._by_stamps(packets[:, 0].tolist(), hidden), None
        if shown is None:
            shown, digests, corrupt = self._by_decoding()
            damaged |= corrupt
        if not ended and any(number >= len(rows) - _END for number in damaged):
            ended = "its end is damaged"
        self._open()
        ranks = [rank for rank, number in enumerate(shown) if number in keys]
        return Index(packets, np.array(shown, np.int64), ranks, digests, cut, ended)

    def _missing(self, packets: _Integers) -> str:
        """Tell by what the container says of itself whether the file was cut; "" if it was not."""
        container, stream, formats = self._container, self._stream, set(self._formats)
        if "mov" in formats:
            entries = getattr(stream, "index_entries", ())
            there, listed = len(packets), sum(entry.size > 0 for entry in entries)
            return f"{there} of its {listed} packets are there" if there < listed else ""
        if "mpegts" in formats and all(container.size % size for size in _TS_PACKETS):
            return "its last transport packet is cut"
        rate = stream.average_rate or 25
        whole = 0.0
        if "avi" in formats:
            whole = stream.frames / rate
        elif formats & {"matroska", "flv"} and len(container.streams) == 1:
            whole = (container.duration or 0) / 1e6
        last = max(packets[:, :2].ravel().tolist(), default=_NONE)
        seconds = 0.0 if last == _NONE else float(last * stream.time_base + 1 / rate)
        if seconds < _ENOUGH * whole - 1 / rate:
            return f"{seconds:.2f} of its {float(whole):.2f} seconds are there"
        return ""

    @property
    def _formats(self) -> list[str]:
        return str(self._container.format.name).split(",")

    def _by_stamps(self, stamps: list[int], hidden: set[int]) -> list[int] | None:
        """Give the packets in the order of display by their stamps, or None if these may lie."""
        if _NONE in stamps or len(set(stamps)) < len(stamps):
            return None
        order = sorted(range(len(stamps)), key=stamps.__getitem__)
        context = self._stream.codec_context
        codec = context.codec
        # stamps that only rise are right just where the decoder holds no frame back
        held_back = codec.reorder and context.has_b_frames
        if (order == sorted(order)) == held_back:
            return None
        if codec.reorder and set(_TIMED).isdisjoint(self._formats):
            return None
        if not codec.intra_only and codec.canonical_name not in _SHOW_ALL:
            return None
        # an edit list cuts frames off, of which others may depend: decoded, but never shown
        shown = [number for number in order if number not in hidden]
        self._open()
        first = [_origin(frame) for frame in islice(self._frames, _PROBED)]
        return shown if first == shown[:_PROBED] else None

    def _by_decoding(self) -> tuple[list[int], list[bytes], set[int]]:
        """Give the packet and the digest of each frame, and the packets of the corrupt ones."""
        self._open()
        shown, digests, corrupt = [], [], set()
        for frame in self._frames:
            shown.append(_origin(frame))
            digests.append(_digest(frame))
            if frame.is_corrupt:
                corrupt.add(shown[-1])
        return shown, digests, corrupt

    def _packets(self) -> Iterator[Any]:
        """Give the packets in the order of the file; what ends them early is kept."""
        try:
            for packet in self._container.demux(self._stream):
                if packet.size:
                    yield packet
        except self._av_error as error:
            self._ended = str(error.strerror or error)

    def _numbered(self) -> Iterator[Any]:
        for number, packet in enumerate(self._packets()):
            packet.opaque = [number]  # an object of its own, as PyAV finds it again by its id
            yield packet

    def _decoded(self, packets: Iterable[Any]) -> Iterator[Any]:
        """Decode packets, passing over damaged ones, and then what the decoder held back."""
        for packet in packets:
            try:
                frames = packet.decode()
            except self._av_error:
                continue
            yield from frames
        try:
            frames = self._stream.decode(None)
        except self._av_error:
            return
        yield from frames

    def frame(self, index: Index, number: int) -> Any:
        """Decode frame `number`, or give None where that cannot be done."""
        key = index.key_before(number)
        if key in self._astray or (len(self._astray) >= _TRIES and not self._arrived):
            key = 0
        if not key <= self._next <= number and not (key and self._seek(index, key)):
            self._open()
        found = self._reach(index, number)
        if self._sought and found is not None:
            self._arrived = True
        elif self._sought:
            self._astray.add(key)
            self._open()
            found = self._reach(index, number)
        return found

    def _seek(self, index: Index, key: int) -> bool:
        """Go to the key frame of rank `key`, or tell that it cannot be reached."""
        wanted = int(index.shown[key])
        for stamp in index.packets[wanted, :2].tolist():
            first, rest = self._packets_from(stamp)
            at = -1 if first is None else index.packet_at(first)
            if 0 <= at <= wanted:
                there: Iterator[Any] = chain([first], rest)
                if index.digests is None:
                    there = _checked(index, there, at)
                self._frames = self._decoded(islice(there, wanted - at, None))
                self._next, self._sought, self._leading = key, True, _LEADING
                return True
        if index.digests is not None:
            # packets that have no place of their own: from farther back, digests will tell
            earlier = index.keys[max(bisect_right(index.keys, key) - 1 - _FARTHER, 0)]
            first, rest = self._packets_from(int(index.packets[index.shown[earlier], 1]))
            if first is not None:
                self._frames = self._decoded(chain([first], rest))
                self._next, self._sought, self._leading = key, True, _LEADING + key - earlier
                return True
        self._astray.add(key)
        return False

    def _packets_from(self, stamp: int) -> tuple[Any, Iterator[Any]]:
        """Seek, and give the first packet there, None where that fails, and those that follow."""
        packets = self._packets()
        if stamp == _NONE:
            return None, packets
        try:
            self._container.seek(stamp, stream=self._stream)
        except self._av_error:
            return None, packets
        return next(packets, None), packets

    def _reach(self, index: Index, number: int) -> Any:
        """Decode on until frame `number`, or give None when it is not there."""
        for frame in self._frames:
            rank = self._rank(index, frame)
            if rank is None:
                continue
            if rank < 0:
                break
            self._next = rank + 1
            if rank >= number:
                return frame if rank == number else None
        self._next = -1
        return None

    def _rank(self, index: Index, frame: Any) -> int | None:
        """Tell the rank of a decoded frame: None if it is to be passed over, -1 if it is wrong."""
        if self._sought:
            if index.expects(frame, self._next, first=self._leading > 0):
                self._leading = 0
                return self._next
            self._leading -= 1
            return None if self._leading > 0 else -1
        if index.digests is not None:
            return self._next
        return index.rank_of(_origin(frame))


def _row(packet: Any) -> list[int]:
    values = (packet.pts, packet.dts, packet.pos, packet.size)
    return [_NONE if value is None else value for value in values]


def _other(source: str | BinaryIO) -> str:
    """Name what is in a file that is no video."""
    with Path(source).open("rb") if isinstance(source, str) else source as file:
        file.seek(0)
        start = file.read(512)
    if not start:
        return "empty file"
    if start.isascii() and b"\0" not in start:
        return "no video: its content is text"
    return "broken, or no video: no header that is understood"


def _checked(index: Index, packets: Iterable[Any], at: int) -> Iterator[Any]:
    """Give packets, numbered from `at`, as long as they are those of the index."""
    for number, packet in enumerate(packets, at):
        there = index.packets[number, 2:].tolist() if number < len(index.packets) else []
        if _row(packet)[2:] != there:
            return
        packet.opaque = [number]
        yield packet


def _origin(frame: Any) -> int:
    """Tell the number of the packet that a frame came from; -1 where the decoder does not."""
    return frame.opaque[0] if frame.opaque else -1


def _digest(frame: Any) -> bytes:
    """Digest the pixels of a frame as decoded, without the padding of their rows."""
    shape = f"{frame.format.name} {frame.width} {frame.height}"
    digest = hashlib.sha256(shape.encode())  # the fastest, where processors have it built in
    parts = frame.format.components
    if len(parts) == len(frame.planes) and all(part.bits == 8 for part in parts):
        for plane in frame.planes:
            rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
            digest.update(rows[:, : plane.width].tobytes())
    else:
        digest.update(frame.to_ndarray(format="rgb24").tobytes())
    return digest.digest()[:16]

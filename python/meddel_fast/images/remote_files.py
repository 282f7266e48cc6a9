"""Remote files, opened whole or by ranges."""

from __future__ import annotations

import contextlib
import io
import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import BinaryIO

from meddel_fast.common import places
from meddel_fast.common.pool import Pool
from meddel_fast.common.read_ahead import held_state, read_range
from meddel_fast.common.remote.errors import RemoteError, RemoteMissingError
from meddel_fast.common.remote_path import RemotePath
from meddel_fast.common.suffixes import IMAGES, PAGED

WHOLE = 32 << 20
"""Files and members up to this size are read at once, larger ones as far as is asked for."""
_BLOCK = 1 << 20  # in which an archive is read for its list of members
_AT_ONCE = 8  # of these that are asked for together, where one after the other is needed
_KEPT = 16


def open_remote(path: RemotePath) -> BinaryIO:
    """Open a remote file as a seekable one: a picture in one request, what is large by ranges.

    Raises
    ------
    OSError
        There is no such file, or the store does not answer.
    """
    place = str(path)
    picture = path.suffix.lower() in IMAGES - PAGED
    if picture or held_state(place) is not None or path.size() <= WHOLE:
        return io.BytesIO(read_range(place))
    return places.open_reader(place)


def raise_outage(error: BaseException) -> None:
    """Raise what says that a store did not answer, or refused: it says nothing about the file."""
    if isinstance(error, RemoteError) and not isinstance(error, RemoteMissingError):
        raise error


class Ranges:
    """A remote file of which archives read ranges; safe to use from any thread.

    Attributes
    ----------
    place, size
        Its URL, and its size in bytes.
    """

    def __init__(self, path: RemotePath) -> None:
        self.place, self.size = str(path), path.size()
        self._lock = threading.Lock()
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._held = threading.local()

    def range(self, start: int, stop: int) -> bytes:
        """Read a range by one request, or take what was read ahead."""
        return read_range(self.place, start, stop) if start < stop else b""

    @contextlib.contextmanager
    def holding(self, start: int, stop: int) -> Iterator[None]:
        """Read a range, of which :meth:`read` then gives parts to this thread."""
        self._held.start, self._held.data = start, self.range(start, stop)
        try:
            yield
        finally:
            del self._held.data

    def read(self, offset: int, size: int) -> bytes:
        """Read `size` bytes, fewer at the end: in blocks, which are kept for the next call."""
        stop = min(offset + size, self.size)
        data = getattr(self._held, "data", None)
        if data is not None and self._held.start <= offset:
            at = offset - self._held.start
            if at + stop - offset <= len(data):
                return bytes(data[at : at + stop - offset])
        if stop - offset >= _BLOCK:
            return self.range(offset, stop)
        with self._lock:
            parts = []
            while offset < stop:
                number = offset // _BLOCK
                part = self._block(number)[offset - number * _BLOCK :][: stop - offset]
                if not part:
                    raise OSError(f"{self.place} ends early, at {offset} of {self.size} bytes")
                parts.append(part)
                offset += len(part)
        return b"".join(parts)

    def forget(self) -> None:
        """Give up the blocks."""
        with self._lock:
            self._blocks.clear()

    def _block(self, number: int) -> bytes:
        if number not in self._blocks:
            together = _AT_ONCE if number - 1 in self._blocks else 1
            last = min(number + together, -(-self.size // _BLOCK))
            wanted = range(number, max(last, number + 1))
            for each, data in zip(wanted, _together(self.place, self.size, wanted), strict=True):
                self._blocks[each] = data
            while len(self._blocks) > _KEPT:
                self._blocks.popitem(last=False)
        return self._blocks[number]


def _together(place: str, size: int, blocks: range) -> list[bytes]:
    """Read blocks of a file, all at the same time."""

    def read(block: int) -> bytes:
        return places.get_bytes(place, block * _BLOCK, min(size, (block + 1) * _BLOCK))[0]

    if len(blocks) == 1:
        return [read(blocks[0])]
    with Pool(len(blocks), "blocks") as pool:
        return list(pool.map(read, blocks))

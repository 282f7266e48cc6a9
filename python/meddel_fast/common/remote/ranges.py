"""Ranges of remote files, by several requests at a time, and a file object over them.

No more than :data:`AHEAD` bytes are on their way for one reader.
"""

from __future__ import annotations

import io
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, cast

from meddel_fast.common.pool import Pool
from meddel_fast.common.remote.client import Info
from meddel_fast.common.remote.connect import client
from meddel_fast.common.remote.retry import attempt

PART = 4 << 20  # bytes of a request at most
AHEAD = 16 << 20  # bytes on their way at a time
_AT_ONCE = 8  # requests of this process
_LEAST = 1 << 16  # bytes of a request for a file object, where the file has them

Range = tuple[int, int]

_lock = threading.Lock()
_pools: dict[str, Any] = {}


def read_part(place: str, start: int, stop: int, tag: str) -> bytes:
    """Return a range by one request, which is made again where that may help."""
    return attempt(place, "read", lambda: client(place).read(place, start, stop, tag))


def read_ranges(
    place: str, ranges: Sequence[Range], tag: str, put: Callable[[int, bytes], Any]
) -> None:
    """Read ranges, a few requests at a time.

    Parameters
    ----------
    place
        The URL.
    ranges
        Each [start, stop), within the file.
    tag
        Of the file that is meant.
    put
        Called as ``put(offset, data)`` in the order of the ranges, from one thread; offset is that
        in all ranges laid one after the other.
    """
    parts = [
        (at, min(at + PART, stop)) for start, stop in ranges for at in range(start, stop, PART)
    ]
    if len(parts) == 1:
        put(0, read_part(place, *parts[0], tag))
        return
    flow, offset, begun, on_way = deque[Future[bytes]](), 0, 0, 0
    try:
        for a, b in parts:
            while begun < len(parts) and len(flow) < 2 * _AT_ONCE:
                size = parts[begun][1] - parts[begun][0]
                if flow and on_way + size > AHEAD:
                    break
                flow.append(_requests().submit(read_part, place, *parts[begun], tag))
                begun, on_way = begun + 1, on_way + size
            put(offset, flow.popleft().result())
            offset, on_way = offset + b - a, on_way - (b - a)
    finally:
        for future in flow:
            future.cancel()


def _requests() -> Pool:
    """Return the threads that wait for answers, one pool for all readers of this process."""
    with _lock:
        if _pools.get("process") != os.getpid():  # none of a parent's threads live on in a child
            _pools.update(process=os.getpid(), pool=Pool(_AT_ONCE, "range"))
        return cast(Pool, _pools["pool"])


class RangeReader(io.RawIOBase):
    """A remote file as a file object: what is read one after the other is asked for ahead.

    Half as many bytes are fetched ahead as were read in one go before, up to :data:`AHEAD`; a jump
    begins anew. So readers of a few places get little more than these, and those who read all of a
    file wait for the network alone.
    """

    def __init__(self, place: str, info: Info) -> None:
        super().__init__()
        self._place, self._info = place, info
        self._at = self._begin = 0  # where the next byte is read, where the run up to it began
        self._last = 0  # where the last one ended
        self._flow: deque[tuple[int, int, Future[bytes]]] = deque()  # adjacent ranges

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position, which may lie behind the end."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._info.size}[whence]
        if base + offset < 0:
            raise ValueError(f"a position must be 0 or more, got {base + offset}")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer, or the part of it that one request gives."""
        view = memoryview(buffer).cast("B")
        if self._at >= self._info.size or not len(view):
            return 0
        self._ask(len(view))
        start, stop, future = self._flow[0]
        count = min(len(view), stop - self._at)
        view[:count] = memoryview(future.result())[self._at - start :][:count]
        self._at += count
        self._last = self._at
        return count

    def close(self) -> None:
        """Leave what is on its way."""
        self.forget()
        super().close()

    def forget(self) -> None:
        """Drop what was read ahead."""
        for _, _, future in self._flow:
            future.cancel()
        self._flow.clear()

    def _ask(self, wanted: int) -> None:
        """See to it that the first range of the flow holds the position, and others follow it."""
        at = self._at
        while self._flow and self._flow[0][1] <= at:
            self._flow.popleft()
        if at != self._last:
            self._begin = at
        if self._flow and self._flow[0][0] > at:
            self.forget()
        ahead = min(AHEAD, (at - self._begin) // 2)
        end = self._flow[-1][1] if self._flow else at
        if end - at >= max(1, ahead // 2):  # a few large requests, not a small one each time
            return
        until = min(self._info.size, at + min(AHEAD, max(wanted, _LEAST) + ahead))
        while end < until:
            stop = min(until, end + PART)
            future = _requests().submit(read_part, self._place, end, stop, self._info.tag)
            self._flow.append((end, stop, future))
            end = stop

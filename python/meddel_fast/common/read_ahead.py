"""Ranges of remote files, read several at a time before they are asked for.

A request to an object store takes tens of milliseconds, however little it asks for; threads that
decode would wait through one after the other. :class:`Ahead` has the next ranges read by threads of
its own, a bounded number of bytes of them, and :func:`read_range` takes what is there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

from meddel_fast.common import places
from meddel_fast.common.pool import Pool

IN_FLIGHT = 32
"""Requests at a time."""
HELD = 256 << 20
"""Bytes read and not yet done with, as far as their sizes are known beforehand."""
_GUESS = 1 << 20  # bytes of a file of unknown size, until a larger one has come


@dataclass(frozen=True)
class Span:
    """The bytes [start, stop) of a remote file, all from `start` by default.

    ``size`` says how many, -1 where that is not known.
    """

    place: str
    start: int = 0
    stop: int | None = None
    size: int = -1

    def covers(self, start: int, stop: int | None) -> bool:
        """Tell whether a range lies in this one."""
        within = self.stop is None or (stop is not None and stop <= self.stop)
        return self.start <= start and within


Needed = Callable[[int], Sequence[Span]]
_Got = tuple[bytes, places.State]
_Read = tuple[Span, "Future[_Got]"]

_lock = threading.Lock()
_held: dict[str, list[_Read]] = {}  # by place


def read_range(place: str, start: int = 0, stop: int | None = None) -> bytes:
    """Read a range of a remote file: what was read ahead, else by a request now.

    Raises
    ------
    OSError
        As `places.read_bytes`.
    """
    found = _find(place, start, stop)
    if found is None:
        return places.get_bytes(place, start, stop)[0]
    span, future = found
    data = future.result()[0]
    if (start, stop) == (span.start, span.stop):
        return data
    return data[start - span.start : None if stop is None else stop - span.start]


def held_state(place: str) -> places.State | None:
    """Give the state of a file that was read ahead as a whole, as it was when it was read."""
    found = _find(place, 0, None)
    if found is None:
        return None
    data, told = found[1].result()
    return told or (len(data), f"read ahead {id(data)}")


def _find(place: str, start: int, stop: int | None) -> _Read | None:
    with _lock:
        reads = _held.get(place, ())
        return next((read for read in reads if read[0].covers(start, stop)), None)


class Ahead:
    """Reads what the items of a list need, some items before they are worked on.

    Parameters
    ----------
    needed
        Gives the ranges that an item needs, by its number. What it raises is left for whoever
        works on the item to meet.
    count
        How many items there are.
    held
        Most bytes read and not done with. An item of more than a quarter is not read ahead.
    in_flight
        Most requests at a time.
    """

    def __init__(
        self, needed: Needed, count: int, *, held: int = HELD, in_flight: int = IN_FLIGHT
    ) -> None:
        self._needed, self._count = needed, count
        self._most, self._in_flight = held, in_flight
        self._waiting: Sequence[Span] | None = None  # what the next item needs
        self._changed = threading.RLock()
        self._next = 0
        self._done: set[int] = set()  # before their turn
        self._reads: dict[int, list[_Read]] = {}
        self._bytes: dict[int, int] = {}  # by item
        self._flying = 0
        self._filling = False
        self._largest = _GUESS
        self._pool = Pool(in_flight, "read ahead")
        self._fill()

    @contextmanager
    def using(self, item: int) -> Iterator[None]:
        """Work on an item: its ranges are kept until the block ends, and make room then."""
        try:
            yield
        finally:
            with self._changed:
                self._drop(item)
                if item >= self._next:
                    self._done.add(item)
                self._fill()

    def close(self) -> None:
        """Forget what was read, and begin no more."""
        with self._changed:
            self._next = self._count
            for item in list(self._reads):
                self._drop(item)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _fill(self) -> None:
        """Begin to read what there is room for."""
        with self._changed:
            if self._filling:  # what is there at once calls this from within
                return
            self._filling = True
            try:
                while self._next < self._count and self._has_begun():
                    pass
            finally:
                self._filling = False

    def _has_begun(self) -> bool:
        """Begin with the next item, or pass over it; False where there is no room for it."""
        number = self._next
        if self._waiting is None:
            self._waiting = self._spans(number)
        spans = self._waiting
        size = sum(self._largest if span.size < 0 else span.size for span in spans)
        if spans and size <= self._most // 4 and number not in self._done:
            held = sum(self._bytes.values())
            if self._flying >= self._in_flight or (held and held + size > self._most):
                return False
            self._begin(number, spans, size)
        self._done.discard(number)
        self._next, self._waiting = number + 1, None
        return True

    def _spans(self, item: int) -> Sequence[Span]:
        try:
            return () if item in self._done else self._needed(item)
        except (OSError, ValueError):
            return ()

    def _begin(self, item: int, spans: Sequence[Span], size: int) -> None:
        self._bytes[item] = size
        self._flying += len(spans)
        reads = []
        for span in spans:
            fetch = partial(places.get_bytes, span.place, span.start, span.stop)
            future = self._pool.submit(fetch)
            reads.append((span, future))
            with _lock:
                _held.setdefault(span.place, []).append(reads[-1])
        self._reads[item] = reads
        for _, future in reads:
            future.add_done_callback(partial(self._landed, item))

    def _landed(self, item: int, future: Future[_Got]) -> None:
        with self._changed:
            self._flying -= 1
            if not future.cancelled() and future.exception() is None:
                self._largest = max(self._largest, len(future.result()[0]))
            reads = self._reads.get(item, ())
            if reads and all(f.done() and not f.cancelled() for _, f in reads):
                came = [f.result()[0] for _, f in reads if f.exception() is None]
                self._bytes[item] = sum(map(len, came))
            self._fill()

    def _drop(self, item: int) -> None:
        for read in self._reads.pop(item, ()):
            read[1].cancel()
            with _lock, suppress(KeyError, ValueError):
                _held[read[0].place].remove(read)
                if not _held[read[0].place]:
                    del _held[read[0].place]
        self._bytes.pop(item, None)


@contextmanager
def reading_ahead(
    needed: Needed, count: int, *, held: int = HELD, in_flight: int = IN_FLIGHT
) -> Iterator[Ahead]:
    """Read ahead for a list of items, until the block ends; see :class:`Ahead`."""
    ahead = Ahead(needed, count, held=held, in_flight=in_flight)
    try:
        yield ahead
    finally:
        ahead.close()

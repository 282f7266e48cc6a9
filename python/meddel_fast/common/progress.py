"""How far an operation is: the callback that ``progress=`` takes, on its way to the C++ loops.

A callback holds for its thread while :func:`reporting` lasts, so that whatever runs inside, a
selector's several passes for instance, reports to it.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from meddel_fast import _core

if TYPE_CHECKING:
    from meddel_fast.common.files import Progress

P = ParamSpec("P")
T = TypeVar("T")

_INTERVAL = 0.1  # seconds between two calls


@contextmanager
def reporting(progress: Progress | None) -> Iterator[None]:
    """Let the operations of this thread call ``progress(done, total)`` inside the block.

    They do so from this thread, at most ten times a second, and once with ``done == total`` at the
    end of each pass; a call may make several passes (k-means seeds before it iterates), each of
    which counts from 0 to a total of its own. An exception in the callback stops the operation
    within a second and comes out of it. None changes nothing.

    Raises
    ------
    TypeError
        `progress` is not callable.
    """
    if progress is None:
        yield
        return
    if not callable(progress):
        raise TypeError(
            f"progress must be a function of (done, total), got {type(progress).__name__}"
        )
    before = _core.report_to(progress)
    try:
        yield
    finally:
        _core.report_to(before)


def reports(function: Callable[P, T]) -> Callable[P, T]:
    """Make a function with a parameter ``progress`` run inside :func:`reporting` of it."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        progress: Any = kwargs.get("progress")
        if progress is None:
            return function(*args, **kwargs)
        with reporting(progress):
            return function(*args, **kwargs)

    return run


class Level:
    """A pass under way: how much of it is done, and what the step under way is worth.

    A pass may run inside a step of another; what it reports then counts as a part of that step.
    """

    def __init__(self, meter: Meter | None, total: int) -> None:
        self._meter, self.total = meter, total
        self.done = self.weight = 0

    def step(self, weight: int) -> None:
        """Begin a step that is worth so much; the one before is done."""
        self.advance(self.weight)
        self.weight = weight

    def advance(self, count: int) -> None:
        """Count so much as done, of no step."""
        self.done, self.weight = self.done + count, 0
        if self._meter is not None and count:
            self._meter.tell(0.0)

    def close(self, *, whole: bool) -> None:
        """End the pass; with those inside it that an error has left open."""
        if self._meter is not None:
            self._meter.close(self, whole=whole)


class Meter:
    """Tells a callback of passes inside passes as of one, at most ten times a second."""

    def __init__(self, callback: Progress) -> None:
        self._callback = callback
        self._levels: list[Level] = []
        self._last, self._told = time.monotonic(), 0

    def __call__(self, done: int, total: int) -> None:
        """Take what the C++ loops report: the innermost pass."""
        if self._levels:
            self.tell(done / total if total else 0.0)
        else:
            self._callback(done, total)

    def open(self, total: int) -> Level:
        """Begin a pass, inside those that are open."""
        if not self._levels:
            self._last, self._told = time.monotonic(), 0
        self._levels.append(Level(self, total))
        return self._levels[-1]

    def tell(self, part: float) -> None:
        """Tell how far all is, with this part of the innermost step done."""
        if time.monotonic() - self._last < _INTERVAL or not self._levels:
            return
        for level in reversed(self._levels):
            part = min(1.0, (level.done + level.weight * part) / level.total) if level.total else 0
        outermost = self._levels[0].total
        self._told = max(self._told, min(int(part * outermost), outermost))
        self._last = time.monotonic()
        self._callback(self._told, outermost)

    def close(self, level: Level, *, whole: bool) -> None:
        """End a pass; the end of the outermost is told if it is whole."""
        if level not in self._levels:  # of a generator that an error has left behind
            return
        place = self._levels.index(level)
        del self._levels[place:]
        if whole and place == 0 and level.total:
            self._callback(level.total, level.total)


def open_pass(total: int) -> Level:
    """Begin a pass that the thread's meter, if there is one, tells of; :meth:`Level.close` it."""
    meter = _core.report_to(None)
    _core.report_to(meter)
    return meter.open(total) if isinstance(meter, Meter) else Level(None, total)


@contextmanager
def counted(total: int) -> Iterator[Level]:
    """Report a loop as one pass, with all passes inside it, to the thread's callback."""
    with metering():
        level = open_pass(total)
        try:
            yield level
        except BaseException:
            level.close(whole=False)
            raise
        level.close(whole=True)


@contextmanager
def metering() -> Iterator[None]:
    """Let passes run inside passes: what is reported in the block goes through a meter."""
    before = _core.report_to(None)
    if before is None or isinstance(before, Meter):
        _core.report_to(before)
        yield
        return
    meter = Meter(cast("Progress", before))
    _core.report_to(meter)
    try:
        yield
    finally:
        _core.report_to(before)


def metered(function: Callable[P, T]) -> Callable[P, T]:
    """Make a function run inside :func:`metering`."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        with metering():
            return function(*args, **kwargs)

    return run

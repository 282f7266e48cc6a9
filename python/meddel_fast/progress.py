"""How far an operation is: the callback that ``progress=`` takes, on its way to the C++ loops.

A callback holds for its thread while :func:`reporting` lasts, so that whatever runs inside, a
selector's several passes for instance, reports to it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from meddel_fast import _core

if TYPE_CHECKING:
    from meddel_fast.files import Progress

P = ParamSpec("P")
T = TypeVar("T")


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
        with reporting(progress):
            return function(*args, **kwargs)

    return run

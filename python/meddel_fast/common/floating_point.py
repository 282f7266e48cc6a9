"""The floating-point state that exact results need, whatever the caller has set for its thread."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from meddel_fast import _core

P = ParamSpec("P")
T = TypeVar("T")


def exactly(function: Callable[P, T]) -> Callable[P, T]:
    """Make a function round to nearest and keep subnormal numbers, and put back what was set.

    ``torch.set_flush_denormal(True)``, or a library built with -ffast-math, switches subnormals
    off for a thread; numpy then reads and writes them as zeros, as the kernels would.
    """

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        before = _core.use_floating_point(None)
        try:
            return function(*args, **kwargs)
        finally:
            _core.use_floating_point(before)

    return run

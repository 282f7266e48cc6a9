"""How a call finds its way: to the parts of rows, the CPU's functions or the GPU's."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numpy as np

from meddel_fast import _core
from meddel_fast._core import use_floating_point
from meddel_fast.arrays import (
    PAIR_BYTES,
    Prepared,
    check_int,
    check_rows,
    check_two,
    in_kind,
    kind_of,
    result_in_kind,
    rows_of,
)
from meddel_fast.common.floating_point import exactly
from meddel_fast.common.progress import reports
from meddel_fast.common.resources import free_memory
from meddel_fast.sharded.spread import Spread
from meddel_fast.stores.store import LocalRows, Store, taken

P = ParamSpec("P")
T = TypeVar("T")

_LITTLE = 1 << 26  # bytes
_IN_PARTS = (Store, LocalRows, Spread)
_RARE = frozenset(("y", "memory", "group", "checkpoint", "progress"))  # arguments
_SETS = ("x", "y")
_PLAIN = frozenset((np.ndarray, int, float, type(None)))  # what comes second most often
_HOW = ("memory", "group", "checkpoint")  # that a call is one on parts


def operation(function: Callable[P, T]) -> Callable[P, T]:
    """Make a function report its progress, round exactly, and go to parts where rows are in such.

    For a store, or where `memory`, `group` or `checkpoint` are given, the function of the same name
    in :mod:`meddel_fast.sharded` does it, with those of the arguments that it has a name for. Rows
    that are spread over a group bring it, and a budget, along. Other libraries' objects become
    arrays or stores first, and results are given back as these libraries have them.
    """

    @functools.wraps(function)
    @reports
    @exactly
    def anyhow(*args: P.args, **kwargs: P.kwargs) -> T:
        if any(_given(x) is not x or kind_of(x) for x in (*args[:2], *map(kwargs.get, _SETS))):
            return _of_other_libraries(function, inspect.signature(function).bind(*args, **kwargs))
        return _called(function, *args, **kwargs)

    # The same in one step where all of it is as it comes most often: calls of some microseconds.
    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        if not args or type(args[0]) is not np.ndarray or not _RARE.isdisjoint(kwargs):
            return anyhow(*args, **kwargs)
        if len(args) > 1 and type(args[1]) not in _PLAIN:
            return anyhow(*args, **kwargs)
        before = use_floating_point(None)
        try:
            return function(*args, **kwargs)
        finally:
            use_floating_point(before)

    return run


def _given(x: Any) -> Any:
    """Return what tells of what kind results are."""
    return x.given if isinstance(x, Prepared) else x.rows if isinstance(x, LocalRows) else x


def _of_other_libraries(function: Callable[..., T], call: inspect.BoundArguments) -> T:
    """Make arrays or stores of the sets of a call, and of its result what their library has."""
    given = call.arguments
    in_parts = any(given.get(name) is not None for name in _HOW)
    x = given["x"]
    for name in _SETS:
        if name in given:
            given[name] = taken(name, given[name], in_parts=in_parts)
    found = _called(function, *call.args, **call.kwargs)
    # Of rows that others have as well a result has more entries than x.
    return found if isinstance(x, LocalRows) else result_in_kind(_given(x), found)


def _called(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    sets = (*args[:2], *map(kwargs.get, _SETS))
    if needs_parts(*sets, **{name: kwargs.get(name) for name in _HOW}):
        given = inspect.signature(function).bind(*args, **kwargs).arguments
        given |= {name: rows_of(given[name]) for name in _SETS if name in given}
        return _on_parts(function.__name__, given)  # type: ignore[no-any-return]
    return function(*args, **kwargs)


def _on_parts(operation: str, given: dict[str, Any]) -> Any:
    if isinstance(spread := given["x"], Spread):
        own = {"memory": spread.memory, "group": spread.group, "checkpoint": spread.checkpoint}
        given = own | given
        for name in _SETS:
            given[name] = getattr(given.get(name), "rows", None)
    device, x = given.get("device"), given["x"]
    if device is not None and str(device) != "cpu":
        raise ValueError(f"device must be 'cpu' where the rows are in parts, got {str(device)!r}")
    on_parts = getattr(importlib.import_module("meddel_fast.sharded"), operation)  # when needed
    names = inspect.signature(on_parts).parameters
    found = on_parts(**{name: given[name] for name in names if name in given})
    return in_kind(x.rows if isinstance(x, LocalRows) else x, found)


def needs_parts(
    *sets: Any, memory: Any | None, group: Any | None, checkpoint: Any | None = None
) -> bool:
    """Whether a call goes to :mod:`meddel_fast.sharded`."""
    if memory is not None or group is not None or checkpoint is not None:
        return True
    return any(isinstance(x, _IN_PARTS) for x in sets)


# One of two: _core with checked numpy arrays, or _gpu, the same functions with samples on their way
# to the device.


def core_of(on: Any | None) -> Any:
    """Return the module whose functions do the work: on the CPU (None), or a device."""
    return _core if on is None else _gpu()


def _gpu() -> Any:
    return importlib.import_module("meddel_fast.ops._gpu")  # imports torch and triton


def checked(name: str, x: Any, threads: int, on: Any | None, *, finite: bool = True) -> Any:
    """Check a set, and return it as the functions of :func:`core_of` take it.

    Without `finite` its elements are left to a function that looks at them itself, on the CPU.
    """
    if on is not None:
        return _gpu().Samples(name, rows_of(x), on)
    return check_rows(name, x, threads, finite=finite)


def checked_two(x: Any, y: Any | None, threads: int, on: Any | None) -> tuple[Any, Any]:
    """Check one set or two, and return them as the functions of :func:`core_of` take them."""
    if on is None:
        return check_two(x, y, threads)
    return _gpu().two_samples(rows_of(x), rows_of(y), on)  # type: ignore[no-any-return]


def pairs_allowed(max_pairs: int | None, possible: int, on: Any | None) -> int:
    """Return max_pairs as given, or how many of the possible ones fit into half of the free memory.

    Asking for that takes half a millisecond, so that nobody asks where all fit into little.
    """
    if max_pairs is not None:
        return check_int("max_pairs", max_pairs, 0)
    if possible * PAIR_BYTES <= _LITTLE:
        return possible
    if on is not None:
        return int(_gpu().room_for_pairs(on))
    return free_memory() // 2 // PAIR_BYTES


def too_many_pairs(error: OverflowError, limit: int, threshold: float, way_out: str) -> MemoryError:
    """Return what is raised where a kernel has found more pairs than the limit."""
    found = error.args[0]
    return MemoryError(
        f"more than max_pairs = {limit} pairs have a cosine of {threshold} or more: gave up after "
        f"{found}; raise the threshold, or {way_out}"
    )

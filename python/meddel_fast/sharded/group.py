"""What the operations on parts ask of the processes that work on one set together.

:func:`meddel_fast.cluster.join_group` makes such a group of the processes that torchrun started.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")

_ERRORS = (ValueError, OSError, TypeError)


class LostRankError(RuntimeError):
    """Another process of the group died, failed, or did not answer in time."""


class Group(Protocol):
    """Processes numbered 0 to size - 1.

    Attributes
    ----------
    rank, size : int
        The number of this process, and of all.
    sent : int
        Bytes that this process has sent to others so far: what it gave, once for each of them.
    """

    rank: int
    size: int
    sent: int

    def allgather(self, array: NDArray[Any]) -> list[NDArray[Any]]:
        """Return the arrays of all, by rank. They agree in type and in all axes but the first."""

    def broadcast(self, array: NDArray[Any] | None, root: int) -> NDArray[Any]:
        """Return the array of process `root`; the others pass None (theirs is not looked at)."""


class SoloGroup:
    """One process on its own."""

    rank = 0
    size = 1
    sent = 0

    def allgather(self, array: NDArray[Any]) -> list[NDArray[Any]]:
        """Return its own array."""
        return [array]

    def broadcast(self, array: NDArray[Any] | None, root: int) -> NDArray[Any]:
        """Return its own array."""
        assert array is not None
        return array


def check_group(group: Any | None) -> Group:
    """Return the group of processes, or one of this process alone where there is none.

    Raises
    ------
    TypeError
        It is no such thing.
    """
    if group is None:
        return SoloGroup()
    whole = all(isinstance(getattr(group, at, None), numbers.Integral) for at in ("rank", "size"))
    talks = all(callable(getattr(group, at, None)) for at in ("allgather", "broadcast"))
    if isinstance(group, type) or not (whole and talks):
        raise TypeError(
            "group must be a group of processes, as meddel_fast.cluster.join_group() gives, with "
            f"rank, size, allgather and broadcast, got {type(group).__name__} {group!r:.60}"
        )
    return cast(Group, group)


def together(group: Group, work: Callable[[], T]) -> T:
    """Do what may fail on some processes alone; then it fails on all of them, alike."""
    if group.size == 1:
        return work()
    message, found = b"", None
    try:
        found = work()
    except _ERRORS as error:
        kind = next(k for k, of in enumerate(_ERRORS) if isinstance(error, of))
        message = bytes([kind]) + str(error).encode()
    for rank, said in enumerate(group.allgather(np.frombuffer(message, np.uint8))):
        if len(said):
            raise _ERRORS[said[0]](f"{bytes(said[1:]).decode()} (found by rank {rank})")
    return cast(T, found)

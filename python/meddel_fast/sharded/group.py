"""What the operations on parts ask of the processes that work on one set together.

:func:`meddel_fast.cluster.join_group` makes such a group of the processes that torchrun started.
"""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray


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

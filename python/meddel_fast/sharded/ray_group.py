"""The group of Ray actors: arrays go through Ray's object store, and one actor says who gave what.

That one, the rendezvous, sees small arrays and the names of large ones only. What it must answer
stands at :class:`Rendezvous`; :mod:`meddel_fast.cluster.ray.exchange` has it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from meddel_fast.common.extras import needs
from meddel_fast.sharded.group import LostRankError

with needs("ray"):
    import ray
    from ray.exceptions import GetTimeoutError, RayError, RayTaskError

T = TypeVar("T")

INLINE = 16_384  # bytes: smaller arrays go with the message; Ray's own limit for these is 100 KB


class Rendezvous(Protocol):
    """What a group asks of the rendezvous, as a Ray actor."""

    def meet(self, attempt: int, number: int, rank: int, about: Any, given: Any) -> Any:
        """Wait until all ranks have come to this meeting, and return what each gave.

        A text in place of the list is the reason why the attempt is given up. `about` is compared:
        all have to ask the same.
        """


class RayGroup:
    """Ray actors numbered 0 to size - 1, in one attempt at a call.

    Parameters
    ----------
    rank, size
        The number of this process, and of all.
    rendezvous
        Handle of the actor at which they meet.
    attempt
        Which attempt it is: the rendezvous turns those away that belong to an earlier one.
    patience
        Seconds that an array which another has given may take to come. Waiting for what another has
        not given yet has no limit here: whoever started the actors watches them.

    Attributes
    ----------
    rank, size : int
        As given.
    sent : int
        Bytes that this process has sent to others so far: what it gave, once for each of them.
    meetings : int
        Exchanges so far.

    Raises
    ------
    LostRankError
        By both methods: another rank, the rendezvous or an array of theirs is lost, or the attempt
        has been given up.
    """

    def __init__(
        self, rank: int, size: int, rendezvous: Any, *, attempt: int = 0, patience: float = 45.0
    ) -> None:
        self.rank, self.size, self.sent, self.meetings = rank, size, 0, 0
        self._rendezvous, self._attempt, self._patience = rendezvous, attempt, patience

    def allgather(self, array: NDArray[Any]) -> list[NDArray[Any]]:
        """Return the arrays of all, by rank. They agree in type and in all axes but the first."""
        if self.size == 1:
            return [array]
        given = self._meet(("allgather", array.dtype.str, array.shape[1:]), array)
        given[self.rank] = None
        found = self._fetch(given)
        found[self.rank] = array.copy()
        return found

    def broadcast(self, array: NDArray[Any] | None, root: int) -> NDArray[Any]:
        """Return the array of process `root`; the others pass None (theirs is not looked at)."""
        if self.size == 1:
            assert array is not None
            return array
        given = self._meet(("broadcast", root), array if self.rank == root else None)
        if self.rank == root:
            assert array is not None
            return array if array.flags.writeable else array.copy()
        return self._fetch([given[root]])[0]

    def hand_on(self, value: Any, root: int) -> Any:
        """Return the object, made by this package, of process `root`; the others pass None."""
        if self.size == 1:
            return value
        mine = self.rank == root
        given = self._come(("object", root), [self._talk(lambda: ray.put(value))] if mine else None)
        return (
            value if mine else self._talk(lambda: ray.get(given[root][0], timeout=self._patience))
        )

    def _meet(self, about: Any, array: NDArray[Any] | None) -> list[Any]:
        """Give an array, or nothing, and return what all gave."""
        given: Any = array
        if array is not None:
            self.sent += array.nbytes * (self.size - 1)
            if array.nbytes > INLINE:
                given = [self._talk(lambda: ray.put(array))]
        return self._come(about, given)

    def _come(self, about: Any, given: Any) -> list[Any]:
        number, self.meetings = self.meetings, self.meetings + 1
        call = self._rendezvous.meet
        answer = self._talk(
            lambda: ray.get(call.remote(self._attempt, number, self.rank, about, given))
        )
        if isinstance(answer, str):
            raise self._lost(answer)
        return list(answer)

    def _fetch(self, given: list[Any]) -> list[NDArray[Any]]:
        """Return arrays of our own of what others gave, whose names are then forgotten."""
        names = [its[0] for its in given if isinstance(its, list)]
        came = iter(self._talk(lambda: ray.get(names, timeout=self._patience)) if names else [])
        # The store's memory is read-only, and taken as long as it is looked at.
        return [np.array(next(came) if isinstance(its, list) else its) for its in given]

    def _talk(self, say: Callable[[], T]) -> T:
        try:
            return say()
        except GetTimeoutError as error:
            raise self._lost(
                f"an array that was given has not come within {self._patience:g} s"
            ) from error
        except RayTaskError:  # raised by the rendezvous itself
            raise
        except RayError as error:
            raise self._lost(" ".join(str(error).split())[:200]) from error

    def _lost(self, why: str) -> LostRankError:
        return LostRankError(f"rank {self.rank} of {self.size} gave up: {why}")

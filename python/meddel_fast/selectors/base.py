"""What every selector asks for first: checked rows, random keys."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast import arrays
from meddel_fast.sharded.checkpoint import Kept
from meddel_fast.sharded.parts import Settings
from meddel_fast.sharded.spread import Spread
from meddel_fast.stores.store import LocalRows, Store, as_store, taken

_BLOCK = 1024  # rows looked at together


def check_rows(
    x: Any,
    threads: int | None,
    memory: int | str | None = None,
    group: Any | None = None,
    checkpoint: Any | None = None,
) -> Any:
    """Return the embeddings, checked, for the operations of a selection to share what they find.

    With a budget they become a store that has it, with a group a set that its processes share; so
    they do with a checkpoint, of one process without a group.

    Raises
    ------
    TypeError, ValueError
        Not a non-empty 2-d array of a supported type, or not finite.
    """
    how = (memory, group, checkpoint)
    x = taken("x", x, in_parts=any(one is not None for one in how))
    if group is None and isinstance(x, LocalRows):
        raise TypeError("x must be all rows without a group, got LocalRows, a rank's own")
    if group is not None or checkpoint is not None:
        kept = None if checkpoint is None else Kept(checkpoint)
        return Spread(arrays.rows_of(x), Settings.check(x, memory, group, threads), kept)
    if isinstance(x, Store):
        return x if memory is None else x.within(memory)  # it is checked when it is read
    if memory is not None:
        store = as_store("x", x).within(memory)
        for start in range(0, len(store), _BLOCK):
            rows = store.rows(start, min(len(store), start + _BLOCK))
            arrays.check_finite("x", rows, arrays.resolve_threads(threads), start)
        return store
    prepared = x if isinstance(x, arrays.Prepared) else arrays.Prepared(x)
    prepared.checked("x", arrays.resolve_threads(threads))
    return prepared


def random_keys(n: int, seed: int) -> NDArray[np.float64]:
    """Return n pseudo-random numbers in [0, 1): the top 53 bits of splitmix64(seed, index).

    A sample's number depends on the seed and its index alone, in integer arithmetic that no
    library version and no machine changes (Steele, Lea and Flood 2014).
    """
    gamma = 0x9E3779B97F4A7C15
    state = _mix(np.array([seed & (2**64 - 1)], dtype=np.uint64))
    steps = np.arange(1, n + 1, dtype=np.uint64) * np.uint64(gamma)
    return (_mix(state + steps) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def to_numpy(value: Any) -> NDArray[Any]:
    """Return a kernel's result as a numpy array, whatever kind and device it is of."""
    return np.asarray(value.cpu().numpy() if arrays.is_torch(value) else value)


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble the bits with the finaliser of splitmix64."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))

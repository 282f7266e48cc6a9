"""At which thresholds the components of similar samples join, inside clusters."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast import _core, ops
from meddel_fast.selectors.base import to_numpy
from meddel_fast.sharded.spread import Spread
from meddel_fast.stores.store import Store

MAX_PAIRS = 10_000_000
"""Similar pairs of one cluster that are held at a time (440 MB)."""


def joins(
    x: Any,
    label: NDArray[np.int64],
    pool: NDArray[np.int64],
    selected: NDArray[np.int64],
    threshold: float,
    threads: int | None,
) -> NDArray[np.float64] | None:
    """Return the cosines at which components become one, ascending, down to `threshold`.

    With `pool` samples at hand, len(pool) less the number of joins at or above a threshold is the
    number of components that hold no selected sample, for every threshold at once. The selected
    samples of a cluster count as one.

    Returns
    -------
    float64, or None
        None where a cluster has more than :data:`MAX_PAIRS` pairs.
    """
    rows = np.sort(np.concatenate([selected, pool]))
    rows = rows[np.argsort(label[rows], kind="stable")]
    found = []
    for members in np.split(rows, np.flatnonzero(np.diff(label[rows])) + 1):
        if len(members) == 1:
            continue
        try:
            most = (
                None if isinstance(x, Store | Spread) else MAX_PAIRS
            )  # what its budget has room for
            pairs = ops.similar_pairs(
                x[members], threshold=threshold, max_pairs=most, threads=threads
            )
        except MemoryError:
            return None
        i, j, similarity = (to_numpy(field) for field in pairs)
        node = np.arange(len(members))
        held = np.isin(members, selected)
        node[held] = np.flatnonzero(held)[:1]
        found.append(_core.spanning_weights(node[i], node[j], similarity, len(members)))
    return np.sort(np.concatenate(found)) if found else np.zeros(0)

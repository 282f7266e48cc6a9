"""At which thresholds the components of similar samples join, inside clusters."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast import ops
from meddel_fast.selectors.base import to_numpy
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
    rows = np.concatenate([selected, pool])
    rows = rows[np.argsort(label[rows], kind="stable")]
    found = []
    for members in np.split(rows, np.flatnonzero(np.diff(label[rows])) + 1):
        if len(members) == 1:
            continue
        try:
            most = None if isinstance(x, Store) else MAX_PAIRS  # what its budget has room for
            pairs = ops.similar_pairs(
                x[members], threshold=threshold, max_pairs=most, threads=threads
            )
        except MemoryError:
            return None
        i, j, similarity = (to_numpy(field) for field in pairs)
        node = np.arange(len(members))
        held = np.isin(members, selected)
        node[held] = np.flatnonzero(held)[:1]
        found.append(spanning_weights(node[i], node[j], similarity, len(members)))
    return np.sort(np.concatenate(found)) if found else np.zeros(0)


def spanning_weights(
    i: NDArray[np.int64], j: NDArray[np.int64], weight: NDArray[np.float64], n: int
) -> NDArray[np.float64]:
    """Return the weights of a maximum spanning forest (Boruvka 1926)."""
    heaviest = np.argsort(-weight, kind="stable")
    i, j, weight = i[heaviest], j[heaviest], weight[heaviest]
    found = []
    component = np.arange(n)
    while True:
        a, b = component[i], component[j]
        apart = a != b
        if not apart.any():
            break
        i, j, weight, a, b = i[apart], j[apart], weight[apart], a[apart], b[apart]
        # The first, and heaviest, edge of each component: of repeated places the last one written
        # stays. Edges are ordered without ties, so that no circle is longer than two.
        edge = np.full(n, -1, dtype=np.int64)
        backwards = np.arange(len(i))[::-1]
        first = np.full(n, len(i), dtype=np.int64)
        for end in (a, b):
            edge[end[::-1]] = backwards
            touched = np.unique(end)
            first[touched] = np.minimum(first[touched], edge[touched])
        some = np.flatnonzero(first < len(i))
        found.append(weight[np.unique(first[some])])
        parent = np.arange(n)
        parent[some] = np.where(a[first[some]] == some, b[first[some]], a[first[some]])
        both = parent[parent] == np.arange(n)
        parent = np.where(both, np.minimum(parent, np.arange(n)), parent)
        while not np.array_equal(parent, parent[parent]):
            parent = parent[parent]
        component = parent[component]
    return np.concatenate(found) if found else np.zeros(0)

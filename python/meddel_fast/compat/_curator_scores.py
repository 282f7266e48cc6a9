"""How much each sample of a cluster repeats an earlier one, as NeMo Curator's drop-in says it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from meddel_fast import ops

Int = NDArray[np.int64]

_BLOCK = 1024  # samples that are compared at a time in half precision


def redundancy(x: NDArray[np.float32], labels: Int) -> tuple[NDArray[np.float64], Int]:
    """Return the highest cosine to an earlier row of the cluster, and that row.

    0 and itself for the first.
    """
    found = ops.redundancy(x, labels=labels)
    first = found.neighbor < 0
    nearest = np.where(first, np.arange(len(x)), found.neighbor)
    return np.where(first, 0.0, found.similarity), nearest


def half_redundancy(x: NDArray[np.float32], labels: Int) -> tuple[NDArray[np.float64], Int]:
    """Do as :func:`redundancy` by inner products of rows in float16, rounded to float16.

    The earliest of equals, of which there are many. Labels rise.
    """
    halves = x.astype(np.float16).astype(np.float64)
    score, nearest = np.zeros(len(x)), np.arange(len(x))
    for begin in np.unique(labels, return_index=True)[1]:
        end = np.searchsorted(labels, labels[begin], side="right")
        for row in range(begin + 1, end, _BLOCK):
            last = min(end, row + _BLOCK)
            products = (halves[row:last] @ halves[begin : last - 1].T).astype(np.float16)
            later = np.arange(begin, last - 1)[None] >= np.arange(row, last)[:, None]
            products[later] = -np.inf
            best = products.argmax(axis=1)
            score[row:last] = np.take_along_axis(products, best[:, None], 1)[:, 0]
            nearest[row:last] = begin + best
    return score, nearest

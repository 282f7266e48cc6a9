"""Herding: samples whose running mean follows the mean of all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast import _core, arrays, reference
from meddel_fast.common.progress import counted
from meddel_fast.selectors.plan import Choice, Task, scores_by_rank
from meddel_fast.selectors.selector import selector
from meddel_fast.selectors.unit_rows import UnitRows
from meddel_fast.stores.store import Store

# Bytes a sample beside its rows: what its codes are filled up with at most, and vectors of fp64.
_PADDING, _VECTORS = 128, 12


@selector(
    paper="Welling 2009",
    cost="O(n b d), nearly all of it in int8",
    good_for="a small set with the mean of all, such as the exemplars of a class",
    weights="The mean that is followed is weighted by them.",
)
def herding(task: Task) -> Iterator[Choice]:
    """Keep samples so that their mean follows the mean of all, again and again the best one.

    Embeddings are normalised. With w = the mean at first, the sample of the highest <w, x> is kept
    and w becomes w + mean - x. <w, x> is worked out in fp64 in one order of summation, for those
    samples that int8 codes do not rule out. A store is held with its codes, or else as fp32, where
    that fits into half of the budget; else it is gone through once for each kept sample.

    Returns
    -------
    Selection
        ``order`` is that of selection, and smaller budgets are nested. ``scores`` are len .. 1 for
        kept samples; of the others <w, x> at the end, less the highest of these.
        ``settings["gap"]`` is the distance between the two means.
    """
    rows = _held(task)
    order, found = _in_parts(task) if rows is None else _with_codes(task, rows)
    for count in task.counts:
        products, distance = found[count]
        chosen = order[: count - len(task.selected)]
        scores = scores_by_rank(chosen, products)
        yield Choice(chosen, scores, {"gap": float(distance / count)})


# What both ways give: the order, and by count <w, x> of all samples and |w - mean| at the end.
_Found = tuple[NDArray[np.int64], dict[int, tuple[NDArray[np.float64], np.float64]]]


def _held(task: Task) -> NDArray[Any] | None:
    """Return the samples as an array; None where the budget has no room for it and its codes."""
    threads = arrays.resolve_threads(task.threads)
    if not isinstance(task.x, Store):
        return arrays.check_rows("x", task.x, threads).array
    width = task.x.shape[1]
    codes = 2 * width + _PADDING + 8 * (len(task.counts) + _VECTORS)
    if not task.holds(task.n * (width * task.x.dtype.itemsize + codes)):
        return None
    rows = task.x.rows(0, task.n)
    arrays.check_finite("x", rows, threads)
    return rows


def _with_codes(task: Task, rows: NDArray[Any]) -> _Found:
    counts = sorted(set(task.counts))
    order, products, distances = _core.herding(
        rows,
        task.weights,
        task.selected.tolist(),
        [count - len(task.selected) for count in counts],
        arrays.resolve_threads(task.threads),
    )
    return order, dict(zip(counts, zip(products, distances, strict=True), strict=True))


def _in_parts(task: Task) -> _Found:
    unit = UnitRows(task.x, task.threads)
    screen = _Screen(unit, hold=task.holds(4 * task.n * unit.d))
    mean = unit.mean(task.weights)
    w = mean.copy()
    free = np.ones(task.n, dtype=bool)
    for j in task.selected.tolist():
        free[j] = False
        w = (w + mean) - unit.exact(np.array([j]))[0]
    order: list[int] = []
    found = {}
    first, last = len(task.selected), max(task.counts)
    with counted(last - first) as progress:
        for count in range(first + 1, last + 1):
            j = screen.highest(w, free)
            free[j] = False
            order.append(j)
            progress.advance(1)
            w = (w + mean) - unit.exact(np.array([j]))[0]
            if count in task.counts:
                distance = np.sqrt(reference.squared_norm((w - mean)[None])[0])
                found[count] = unit.products(w), distance
    return np.array(order, dtype=np.int64), found


class _Screen:
    """Finds the direction with the highest product, most of them ruled out in fp32.

    What it rules them out by is held, or else made anew, block by block, each time.
    """

    def __init__(self, unit: UnitRows, *, hold: bool) -> None:
        self._unit, self._hold = unit, hold
        self._fp32 = np.empty((unit.n, unit.d) if hold else (0, 0), dtype=np.float32)
        for block in unit.blocks() if hold else ():
            self._fp32[block] = unit.exact(block)

    def highest(self, w: NDArray[np.float64], free: NDArray[np.bool_]) -> int:
        """Return the free sample with the highest <w, x>; ties: the lowest index.

        In fp32 each direction and w are off by a factor of 1 + 2^-24 an element, and a sum of d
        products by (d - 1) 2^-24 |w| |x| in whatever order it runs; elements below the normal
        range are off by 2^-149 at most. So |fp32 - exact| is at most (d + 4) 2^-24 |w|, with room
        for second-order terms and the fp64 sum's own rounding, plus d 2^-126.
        """
        d = self._unit.d
        # (4 times as fast as the BLAS's product of rows and a vector, on one core)
        rough = np.empty(self._unit.n, dtype=np.float32)
        for block in self._unit.blocks():
            rows = self._fp32[block]
            if not self._hold:
                rows = self._unit.exact(block).astype(np.float32)
            rough[block] = np.einsum("ij,j->i", rows, w.astype(np.float32))
        norm = float(np.sqrt(np.dot(w, w)))  # to within the room for second-order terms
        slack = 1.01 * (d + 4) * 2.0**-24 * norm + d * 2.0**-126
        rough[~free] = -np.inf
        near = np.flatnonzero(rough >= float(rough.max()) - 2.0 * slack)
        return int(near[np.argmax(self._unit.products(w, near))])

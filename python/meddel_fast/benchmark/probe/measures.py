"""Scores of all draws of a probe, and of the test samples drawn anew: the samples of verdicts.

The runs are the draws of the probe: seed of the method, and of what is held out. Test samples are
drawn with replacement, whole groups where there are any, the same for all selections, so that
differences are paired in both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from meddel_fast.benchmark.scores.bootstrap import (
    DRAWS,
    Floats,
    Run,
    Sample,
    image_weights,
    run_weights,
    units_of,
)
from meddel_fast.benchmark.scores.statistics import Key
from meddel_fast.common.extras import needs

_BLOCK = 1 << 22  # recalls held at once


def mean_samples(
    values: Mapping[Key, NDArray[np.generic]],
    counted: NDArray[np.bool_],
    groups: Sequence[str],
    name: str,
) -> dict[Key, Sample]:
    """Average a value a sample over what each run counts: accuracy, IoU of images.

    Parameters
    ----------
    values
        Selection -> value of each run and sample, shape (k, n).
    counted : bool, shape (k, n)
        Which samples a run asks about.
    groups
        Group of each sample, empty for none.
    name
        Of the data set: others have other draws.
    """
    unit, units = _units(counted, groups)
    totals = _summed(counted.astype(np.float64), unit, units)
    sums = {
        key: _summed(np.where(counted, found, 0).astype(np.float64), unit, units)
        for key, found in values.items()
    }
    drawn = {key: np.empty((DRAWS, len(counted))) for key in values}
    for block, weights in image_weights(units, name):
        below = weights @ totals
        for key, found in sums.items():
            with np.errstate(invalid="ignore"):
                drawn[key][block] = (weights @ found) / below
    return _samples(
        {key: found.sum(axis=0) / totals.sum(axis=0) for key, found in sums.items()}, drawn, units
    )


def recall_samples(
    right: Mapping[Key, NDArray[np.bool_]],
    counted: NDArray[np.bool_],
    classes: NDArray[np.int64],
    groups: Sequence[str],
    name: str,
) -> dict[Key, Sample]:
    """Average the recalls of the classes that are asked about (macro recall); else as the mean."""
    with needs("benchmark"):
        from scipy.sparse import csr_matrix

    unit, units = _units(counted, groups)
    runs, rows = np.nonzero(counted)
    known, of_class = np.unique(classes[rows], return_inverse=True)
    shape = (len(counted), len(known))
    place = (runs * len(known) + of_class, unit[rows])

    def by_class(values: NDArray[np.bool_]) -> csr_matrix:
        return csr_matrix(
            (values[runs, rows].astype(np.float64), place), shape=(shape[0] * shape[1], units)
        )

    def recall(above: Floats, below: Floats) -> Floats:
        above, below = (part.T.reshape(-1, *shape) for part in (above, below))
        there = below > 0
        each = np.divide(above, below, out=np.zeros_like(above), where=there)
        # a class that is one unit (a sequence) and is drawn twice counts twice, as a sample would
        often = np.where(alone, below / np.maximum(whole, 1), there)
        with np.errstate(invalid="ignore"):
            found: Floats = (often * each).sum(axis=2) / often.sum(axis=2)
        return found

    totals = by_class(counted)
    whole = np.asarray(totals.sum(axis=1)).reshape(shape)
    parts = np.unique(of_class * units + unit[rows]) // units  # the class of each of its units
    alone = np.bincount(parts, minlength=len(known)) == 1
    hits = {key: by_class(found) for key, found in right.items()}
    once = np.ones((units, 1))
    drawn = {key: np.empty((DRAWS, shape[0])) for key in right}
    for block, weights in _blocks(units, name, shape[0] * shape[1]):
        below = totals @ weights.T
        for key, found in hits.items():
            drawn[key][block] = recall(found @ weights.T, below)
    observed = {key: recall(found @ once, totals @ once)[0] for key, found in hits.items()}
    return _samples(observed, drawn, units)


def _blocks(units: int, name: str, width: int) -> Iterator[tuple[slice, Floats]]:
    """Yield the draws in blocks of which the recalls fit."""
    height = max(1, _BLOCK // width)
    for block, weights in image_weights(units, name):
        for first in range(0, len(weights), height):
            part = weights[first : first + height]
            start = block.start + first
            yield slice(start, start + len(part)), part


def _units(counted: NDArray[np.bool_], groups: Sequence[str]) -> tuple[NDArray[np.int64], int]:
    """Give the unit of each sample that is drawn as one, -1 for what no run counts; how many."""
    rows = np.flatnonzero(counted.any(axis=0))
    unit = np.full(counted.shape[1], -1)
    unit[rows], units = units_of([groups[row] for row in rows.tolist()])
    return unit, units


def _summed(values: Floats, unit: NDArray[np.int64], units: int) -> Floats:
    """Add up values (k, n) by unit: (units, k)."""
    found = np.zeros((units, len(values)))
    rows = unit >= 0
    np.add.at(found, unit[rows], values.T[rows])
    return found


def _samples(
    observed: Mapping[Key, Floats], drawn: Mapping[Key, Floats], units: int
) -> dict[Key, Sample]:
    """Make samples; a draw without any sample of a run leaves its score as it was."""
    runs: list[Run] = [(run, 0) for run in range(len(next(iter(observed.values()))))]
    shares = run_weights(runs)
    return {
        key: Sample(
            observed=score,
            drawn=np.where(np.isnan(drawn[key]), score, drawn[key]),
            weights=shares,
            runs=tuple(runs),
            units=units,
        )
        for key, score in observed.items()
    }

"""The embedding map: the pool in two principal components, coloured by fate in the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.benchmark.report.load import Run
from meddel_fast.selectors.base import random_keys

POINTS = 3000
_FIT_ROWS = 20_000  # rows that the components are fitted on
_GRID = 4095  # coordinates are whole numbers from 0 to this


def principal_plane(
    x: NDArray[Any], shown: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Project rows onto the two directions of largest variance.

    Parameters
    ----------
    x : shape (n, d)
        Embeddings; used as they are, neither scaled nor normalised.
    shown
        Rows to project.

    Returns
    -------
    float64, shape (len(shown), 2)
        Coordinates; the sign of each axis makes its largest loading positive.
    float64, shape (2,)
        Share of the variance that each axis holds.
    """
    step = -(-len(x) // _FIT_ROWS)
    sample = np.asarray(x[::step], dtype=np.float64)
    mean = sample.mean(axis=0)
    sample -= mean
    values, vectors = np.linalg.eigh(sample.T @ sample)
    axes = vectors[:, ::-1][:, :2]
    values = np.maximum(values[::-1], 0.0)
    if axes.shape[1] < 2:  # one feature: a line
        axes, values = np.hstack([axes, np.zeros_like(axes)]), np.append(values, 0.0)
    axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), [0, 1]] < 0, -1.0, 1.0)
    total = values.sum()
    share = values[:2] / total if total > 0 else np.zeros(2)
    return (np.asarray(x[shown], dtype=np.float64) - mean) @ axes, share


@dataclass(frozen=True, eq=False)
class Layout:
    """Where the map puts frames.

    Attributes
    ----------
    points : int64, shape (p,)
        The frames on the map, as places among those shown.
    grid : int64, shape (p, 2)
        Their coordinates, from 0 to 4095.
    aspect
        Length of the second axis by that of the first.
    share
        Share of the variance that each axis holds.
    """

    points: NDArray[np.int64]
    grid: NDArray[np.int64]
    aspect: float
    share: NDArray[np.float64]


def lay_out(run: Run, rows: NDArray[np.int64]) -> Layout | None:
    """Place the frames of some rows, `POINTS` drawn at random if there are more."""
    if run.embeddings is None or len(rows) == 0:
        return None
    points = np.sort(np.argsort(random_keys(len(rows), 0), kind="stable")[:POINTS])
    places, share = principal_plane(run.embeddings, rows[points])
    low, high = places.min(axis=0), places.max(axis=0)
    grid = np.rint((places - low) / np.where(high > low, high - low, 1.0) * _GRID).astype(np.int64)
    aspect = float((high[1] - low[1]) / (high[0] - low[0])) if high[0] > low[0] else 1.0
    return Layout(points, grid, aspect, share)

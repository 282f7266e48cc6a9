"""The embedding map: the pool in two principal components, coloured by fate in the page."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.report.load import FULL, Run
from meddel_fast.report.text import number
from meddel_fast.report.thumbnails import TILE, atlas
from meddel_fast.selectors import REASONS
from meddel_fast.selectors.base import random_keys

POINTS = 3000
TILES = 1500
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


def embedding_map(run: Run) -> tuple[str, str]:
    """Return the map's place in the page, and its data as JSON; empty when there is nothing."""
    tags = [t for t in run.tags if t.name in run.selections and t.selector != FULL]
    if run.embeddings is None or run.pool is None or not tags:
        return "", "null"
    n = len(run.embeddings)
    shown = np.argsort(random_keys(n, 0), kind="stable")[:POINTS]
    places, share = principal_plane(run.embeddings, shown)
    low, high = places.min(axis=0), places.max(axis=0)
    grid = np.rint((places - low) / np.where(high > low, high - low, 1.0) * _GRID).astype(int)
    names, paths = run.pool.ids, run.pool.image_paths()
    sheet, columns = atlas([paths[i] for i in shown[:TILES]])
    code = {reason: str(i) for i, reason in enumerate(REASONS)}
    data = {
        "x": grid[:, 0].tolist(),
        "y": grid[:, 1].tolist(),
        "names": [names[i] for i in shown],
        "fates": {
            f"{t.selector}\n{t.ratio:g}": "".join(
                code[reason] for reason in run.selections[t.name].reason[shown]
            )
            for t in tags
        },
        "aspect": float((high[1] - low[1]) / (high[0] - low[0])) if high[0] > low[0] else 1.0,
        "sheet": sheet,
        "columns": columns,
        "tile": TILE,
        "tiles": min(TILES, len(shown)),
    }
    some = (
        "" if len(shown) == n else f" {number(len(shown))} of {number(n)} images, drawn at random."
    )
    text = (
        f"Principal components of the embeddings: the horizontal axis holds {100 * share[0]:.0f} % "
        f"of the variance, the vertical one {100 * share[1]:.0f} %.{some} Point at a sample, or "
        "use the arrow keys, to see it."
    )
    return (
        f'<p>{text}</p><div class="map"><canvas id="map" tabindex="0" role="img" '
        'aria-label="Map of the embeddings; arrow keys walk through the kept samples"></canvas>'
        '<div id="map-card" aria-live="polite" hidden></div></div><ul class="fates map-key"></ul>',
        json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
    )

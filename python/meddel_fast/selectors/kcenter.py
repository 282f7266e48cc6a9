"""k-center greedy, also known as CoreSet or farthest-point selection."""

from __future__ import annotations

from typing import Any

import numpy as np

from meddel_fast import ops
from meddel_fast.arrays import check_choice, check_int
from meddel_fast.selectors.base import Selection, check_budget, check_rows, make_selection, to_numpy


def kcenter(
    x: Any,
    budget: int | float,
    *,
    metric: str = "euclidean",
    start: int = 0,
    seed: int = 0,
    threads: int | None = None,
) -> Selection:
    """Keep the sample farthest from all that is kept, again and again (Sener & Savarese 2018).

    Parameters
    ----------
    x : shape (n, d)
        The embeddings.
    budget
        Count (int) or share (float) to keep.
    metric
        "euclidean" or "cosine" (1 - cosine).
    start
        Index of the first sample kept.
    seed
        Taken for the common interface; the method draws nothing.
    threads
        Number of threads; None for all cores.

    Returns
    -------
    Selection
        ``order`` is the order of selection, so that a smaller budget keeps its beginning.
        ``scores`` of kept samples are the distance to the nearest sample kept before (infinity for
        the first), of the others the distance to the nearest centre. ``distance`` is the distance
        to the nearest centre: 0 for kept samples, and its maximum is the covering radius, which
        ``settings["radius"]`` repeats.
    """
    rows = check_rows(x, threads)
    n = len(rows)
    count = check_budget(budget, n)
    check_choice("metric", metric, ("euclidean", "cosine"))
    start = check_int("start", start, 0, n - 1)
    check_int("seed", seed, 0)
    result = ops.kcenter_greedy(rows, count, metric=metric, start=start, threads=threads)
    order = to_numpy(result.indices)
    distance = to_numpy(result.distances)
    scores = distance.copy()
    scores[order] = to_numpy(result.radii)
    settings = {
        "budget": budget,
        "count": count,
        "metric": metric,
        "start": start,
        "radius": float(np.max(distance)),
    }
    return make_selection("kcenter", order, scores, settings, distance=distance)

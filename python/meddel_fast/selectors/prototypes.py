"""SSL prototypes: samples ranked by their distance to their cluster's centroid."""

from __future__ import annotations

from typing import Any

import numpy as np

from meddel_fast.arrays import check_choice
from meddel_fast.selectors.base import Selection, check_budget, check_rows, make_selection
from meddel_fast.selectors.clusters import cluster_rows


def prototypes(
    x: Any,
    budget: int | float,
    *,
    keep: str = "hard",
    clusters: int | None = None,
    max_iterations: int = 100,
    seed: int = 0,
    threads: int | None = None,
) -> Selection:
    """Keep the samples farthest from their centroid, or the closest (Sorscher et al. 2022).

    Far from every prototype is hard: Sorscher et al. keep these when data abound, and the easy
    ones when data are scarce. The ranking runs over all clusters together.

    Parameters
    ----------
    x : shape (n, d)
        The embeddings.
    budget
        Count (int) or share (float) to keep.
    keep
        "hard" (far from the centroid) or "easy" (close to it).
    clusters
        Number of clusters of the spherical k-means; None for
        :func:`~meddel_fast.selectors.clusters.default_clusters`.
    max_iterations
        At most this many iterations of k-means.
    seed
        Seed of k-means.
    threads
        Number of threads; None for all cores.

    Returns
    -------
    Selection
        ``distance`` is 1 - cosine to the centroid; ``scores`` are the distance, negated when easy
        samples are kept. Equal scores: lowest index first. Smaller budgets are nested in larger.
    """
    rows = check_rows(x, threads)
    count = check_budget(budget, len(rows))
    check_choice("keep", keep, ("hard", "easy"))
    found = cluster_rows(rows, clusters, max_iterations, seed, threads)
    scores = found.distance if keep == "hard" else -found.distance
    order = np.argsort(-scores, kind="stable")[:count]
    settings = {"budget": budget, "count": count, "keep": keep, **found.settings}
    return make_selection(
        "prototypes", order, scores, settings, distance=found.distance, cluster=found.label
    )

"""Selection at random from strata: the baseline that keeps the mix of the data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from meddel_fast.selectors.options import CLUSTERS
from meddel_fast.selectors.plan import Choice, Task, ranked, weighted_keys
from meddel_fast.selectors.selector import selector
from meddel_fast.selectors.strata import check_strata, rank_within


@selector(
    paper="Neyman 1934",
    cost="O(n log n), and k-means without strata",
    good_for="a baseline that keeps the mix of classes, centres or videos",
    weights="The next one drawn is each sample in proportion to its weight.",
    per_sample={"strata": "iuU"},
    checks=CLUSTERS,
    instead={"strata": ("clusters", "max_iterations")},
    processes=True,
)
def stratified(
    task: Task,
    *,
    strata: Any = None,
    clusters: int | None = None,
    max_iterations: int = 100,
) -> Iterator[Choice]:
    """Keep samples at random from each stratum, in proportion to its size.

    Places are given by Webster's rule: the r-th sample drawn in a stratum of s samples (r from 0)
    has the score s / (r + 0.5), and the highest scores are kept. Shares are met to within one
    sample or so, and smaller budgets are nested in larger ones.

    Parameters
    ----------
    strata : int or str, shape (n,), optional
        Class, centre or video of each sample; the clusters of a spherical k-means when not given.
    clusters, max_iterations
        Of that k-means; None for :func:`~meddel_fast.selectors.clusters.default_clusters`.

    Returns
    -------
    Selection
        ``cluster`` is the stratum, by rising name; ``distance`` is there for clusters only.
    """
    label, distance, settings = check_strata(task, strata, clusters, max_iterations)
    place = rank_within(label, weighted_keys(task))
    scores = np.bincount(label)[label] / (place + 0.5)
    about = {"seed": task.seed, **settings}
    yield from ranked(task, scores, about, cluster=label, distance=distance)

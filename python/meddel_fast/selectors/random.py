"""Selection at random: the baseline that every other method has to beat."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.selectors.compose import selector
from meddel_fast.selectors.numbers import weighted_keys
from meddel_fast.selectors.strata import check_strata
from meddel_fast.selectors.task import Choice, Task, ranked

_WEIGHTS = "The next one drawn is each sample in proportion to its weight."


@selector(
    paper="-",
    cost="O(n log n)",
    good_for="the baseline",
    weights=_WEIGHTS,
)
def random(task: Task) -> Iterator[Choice]:
    """Keep samples at random, without replacement.

    Each sample draws a number that depends on the seed and on its index only, and the highest are
    kept: a smaller budget keeps a subset of a larger one, on every machine.

    Returns
    -------
    Selection
        ``scores`` are the numbers drawn, u in [0, 1); with weights w, log(u) / w.
    """
    yield from ranked(task, weighted_keys(task), {"seed": task.seed})


@selector(
    paper="Neyman 1934",
    cost="O(n log n), and k-means without strata",
    good_for="a baseline that keeps the mix of classes, centres or videos",
    weights=_WEIGHTS,
    per_sample={"strata": "iuUO"},
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


def rank_within(label: NDArray[np.int64], keys: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return each sample's place (from 0) in its stratum by falling key; ties: lowest index."""
    order = np.lexsort((-keys, label))
    first = np.searchsorted(label[order], label[order])
    place = np.empty(len(label), dtype=np.int64)
    place[order] = np.arange(len(label)) - first
    return place

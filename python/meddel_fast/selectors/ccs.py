"""Coverage-centric selection: the same number of samples from each range of a score."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from meddel_fast.selectors.clusters import cluster_rows
from meddel_fast.selectors.options import CLUSTERS, count, number
from meddel_fast.selectors.plan import Choice, Task, ranked, weighted_keys
from meddel_fast.selectors.selector import selector
from meddel_fast.selectors.strata import rank_within


@selector(
    paper="Zheng et al. 2023 (CCS)",
    cost="O(n log n), and the score's own (k-means when there is none)",
    good_for="small budgets: easy, middling and hard samples alike, noise left out",
    weights="The next one drawn of a stratum is each in proportion to its weight.",
    per_sample={"score": "fiu"},
    checks={"strata": count(), "cutoff": number(0.0, 1.0), **CLUSTERS},
    instead={"score": ("clusters", "max_iterations")},
    processes=True,
)
def ccs(
    task: Task,
    *,
    score: Any = None,
    strata: int = 50,
    cutoff: float = 0.0,
    clusters: int | None = None,
    max_iterations: int = 100,
) -> Iterator[Choice]:
    """Keep as many samples from each range of a score, drawn at random (CCS).

    The range of the score is cut into strata of one width. They are drawn from in turn, one sample
    each, until the budget is met; a stratum that has no more is passed over, so that its share goes
    to the others.

    Parameters
    ----------
    score : float, shape (n,), optional
        Difficulty; 1 - cosine to the centroid of a spherical k-means when not given.
    strata
        Number of ranges.
    cutoff
        This share of the samples, 0 to 1, with the highest scores (mislabelled or broken, by
        experience) is kept only when nothing else is left, the lowest scores first.
    clusters, max_iterations
        Of the k-means; None for :func:`~meddel_fast.selectors.clusters.default_clusters`.

    Returns
    -------
    Selection
        ``scores`` are minus the place in the draw, and smaller budgets are nested. ``reason`` is
        "disruptive" for what `cutoff` leaves out. ``cluster`` is the stratum, -1 for these.
    """
    settings: dict[str, Any] = {"strata": strata, "cutoff": cutoff, "seed": task.seed}
    distance = None
    if score is None:
        found = cluster_rows(task.x, clusters, max_iterations, task.seed, task.threads)
        score = distance = found.distance
        settings |= found.settings
    score = score.astype(np.float64)
    rising = np.argsort(score, kind="stable")
    held = task.n - math.floor(cutoff * task.n + 0.5)
    stratum = np.full(task.n, -1, dtype=np.int64)
    if held:
        low, high = score[rising[0]], score[rising[held - 1]]
        width = (high - low) / strata or 1.0
        inside = np.floor((score[rising[:held]] - low) / width).astype(np.int64)
        stratum[rising[:held]] = np.minimum(inside, strata - 1)
    keys = weighted_keys(task)
    turn = rank_within(stratum, keys)
    draw = np.lexsort((-keys, turn))
    order = np.concatenate([draw[stratum[draw] >= 0], rising[held:]])
    scores = np.empty(task.n)
    scores[order] = -np.arange(task.n)
    reason = np.where(stratum < 0, "disruptive", "budget")
    yield from ranked(task, scores, settings, reason=reason, distance=distance, cluster=stratum)

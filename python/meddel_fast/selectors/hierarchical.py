"""Balanced selection down a tree of clusters: each concept its equal share (Vo et al. 2024)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.selectors.base import random_keys
from meddel_fast.selectors.cluster_levels import (
    MAX_ITERATIONS,
    METRICS,
    RESAMPLINGS,
    check_levels,
    check_resamplings,
    cluster_levels,
)
from meddel_fast.selectors.hierarchy import HierarchyResult, check_hierarchy
from meddel_fast.selectors.options import choice, count
from meddel_fast.selectors.plan import Choice, Task, ranked, weighted_keys
from meddel_fast.selectors.selector import selector

Int = NDArray[np.int64]


@selector(
    paper="Vo et al. 2024",
    cost="k-means a level, and for each resampling; O(n log n)",
    good_for="long-tailed pools: every concept its equal share",
    weights="Inside a lowest cluster: as for random, or the distance counts that many times as far "
    "(farthest), or near (closest).",
    per_sample={"hierarchy": check_hierarchy},
    checks={
        "levels": check_levels,
        "inside": choice("random", "closest", "farthest"),
        "resamplings": check_resamplings,
        "metric": choice(*METRICS),
        "max_iterations": count(),
    },
    instead={"hierarchy": ("levels", "resamplings", "metric", "max_iterations")},
    processes=True,
)
def hierarchical(
    task: Task,
    *,
    levels: Any = None,
    inside: str = "random",
    resamplings: Any = RESAMPLINGS,
    metric: str = "euclidean",
    max_iterations: int = MAX_ITERATIONS,
    hierarchy: HierarchyResult | None = None,
) -> Iterator[Choice]:
    """Divide the budget evenly down a tree of clusters (hierarchical k-means with resampling).

    Of N samples each coarsest cluster gets min(its size, t), with the t for which these come to N;
    so does, of what it got, each cluster inside it, level by level; of a lowest cluster that many
    members are kept (Vo et al. 2024, arXiv 2405.15613, section 3.4).

    Parameters
    ----------
    levels
        Number of clusters of each level, from fine to coarse; None for
        :func:`~meddel_fast.selectors.cluster_levels.default_levels`.
    inside
        Which members of a lowest cluster are kept: "random" ones, those "closest" to the centroid
        or those "farthest" from it. Equal distances: lowest index first.
    resamplings, metric, max_iterations
        Of the tree, see :func:`~meddel_fast.selectors.cluster_levels.build_hierarchy`.
    hierarchy
        A tree of these rows, from
        :func:`~meddel_fast.selectors.cluster_levels.build_hierarchy` or a file; made anew when not
        given. Samples that are excluded are taken out of it.

    Returns
    -------
    Selection
        ``cluster`` and ``distance`` are those of the finest level; ``scores`` are n .. 1 down the
        ranking. Smaller budgets are nested in larger ones.

    Notes
    -----
    t is no whole number as a rule; those of the clusters above it that get one more than the others
    are drawn, so that each gets t on average. Clusters that way get their samples in turn: the next
    one goes to a cluster that has the fewest so far, and not all of its own. One ranking, of the
    places in turn of each sample, of its cluster and so on, therefore serves all budgets; samples
    selected already count as their cluster's first.
    """
    if hierarchy is None:
        hierarchy = cluster_levels(
            task.x,
            levels=levels,
            resamplings=resamplings,
            metric=metric,
            max_iterations=max_iterations,
            seed=task.seed,
            threads=task.threads,
        )
    scores = np.empty(task.n)
    scores[balanced_order(task, hierarchy, inside)] = np.arange(task.n, 0, -1)
    about = {"inside": inside, **hierarchy.settings, "seed": task.seed}
    yield from ranked(
        task, scores, about, cluster=hierarchy.assignments[0], distance=hierarchy.distance
    )


def balanced_order(task: Task, tree: HierarchyResult, inside: str) -> Int:
    """Rank all samples, so that the first N are the balanced selection of N, for every N."""
    wanted = _wanted(task, tree.distance, inside)
    held = np.zeros(task.n, dtype=bool)
    held[task.selected] = True
    order = np.lexsort((-wanted, ~held, tree.assignments[0]))
    place = _places(order, tree.assignments[0])
    turns = random_keys(task.n + sum(tree.levels), task.seed)[task.n :]
    cluster, start = tree.assignments[0], 0
    for k, above in zip(tree.levels, (*tree.assignments[1:], None), strict=True):
        turn = turns[start : start + k][cluster]
        parent = np.zeros_like(cluster) if above is None else above[cluster]
        order = np.lexsort((turn, place, ~held, parent))
        place, cluster, start = _places(order, parent), parent, start + k
    return order


def _wanted(task: Task, distance: NDArray[np.float64], inside: str) -> NDArray[np.float64]:
    """Return how much each sample is wanted among those of its lowest cluster."""
    if inside == "random":
        return weighted_keys(task)
    if inside == "farthest":
        return task.weighted(distance)
    return -distance if task.weights is None else -distance / task.weights


def _places(order: Int, label: Int) -> Int:
    """Return each sample's place among those of its label, by an order that has these together."""
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order)) - np.searchsorted(label[order], label[order])
    return place

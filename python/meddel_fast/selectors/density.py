"""Density-based pruning: more samples from clusters that are wide and far from the others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from meddel_fast import ops
from meddel_fast.selectors.base import to_numpy
from meddel_fast.selectors.clusters import Clusters, cluster_rows
from meddel_fast.selectors.exp_log import exp
from meddel_fast.selectors.options import CLUSTERS, choice, count, number
from meddel_fast.selectors.plan import Choice, Task, scores_by_rank
from meddel_fast.selectors.selector import selector
from meddel_fast.selectors.strata import rank_within


@selector(
    paper="Abbas et al. 2024 (DBP)",
    cost="k-means: O(n k d) an iteration; O(n log n) a budget",
    nested=False,
    good_for="pools in which common views drown the rest",
    weights="Inside a cluster the distance counts that many times as far (hard), or near (easy).",
    checks={
        "keep": choice("hard", "easy"),
        "temperature": number(1e-6, 1e6),
        "nearest": count(),
        **CLUSTERS,
    },
    processes=True,
)
def density(
    task: Task,
    *,
    keep: str = "hard",
    temperature: float = 0.1,
    nearest: int = 20,
    clusters: int | None = None,
    max_iterations: int = 100,
) -> Iterator[Choice]:
    """Divide the budget among clusters by their complexity, and keep the hardest of each (DBP).

    The complexity of a cluster is the mean distance (1 - cosine) of its samples to its centroid,
    times that of its centroid to the `nearest` closest others. A softmax of complexity /
    `temperature` gives the share of the budget that each cluster ought to get.

    Parameters
    ----------
    keep
        "hard": far from the centroid first; "easy": close to it first.
    temperature
        The lower, the more the complex clusters get; 0.1 in the paper.
    nearest
        Number of other centroids; 20 in the paper, or all if there are fewer.
    clusters
        Number of clusters of the spherical k-means; None for
        :func:`~meddel_fast.selectors.clusters.default_clusters`.
    max_iterations
        At most this many iterations of k-means.

    Returns
    -------
    Selection
        ``scores`` are len .. 1 for kept samples, in the order in which clusters were given their
        places; of the others what they lack for one.

    Notes
    -----
    A cluster has a limited number of samples, and at least one is wanted of each, so what each gets
    is the solution of a quadratic programme: the whole numbers x_j within [1, size of j], of sum b,
    with the smallest sum of (x_j - b share_j)^2. It is solved exactly: the cost of one more sample
    of cluster j, 2 (x_j - b share_j) + 1, only rises, so that b times the cheapest one (ties: the
    lowest index) is the optimum. With b below the number of clusters some get none. A real-valued
    solver, rounded, comes to the same within 1.
    """
    found = cluster_rows(task.x, clusters, max_iterations, task.seed, task.threads)
    share = _shares(found, nearest, temperature, task.threads)
    weights = np.ones(task.n) if task.weights is None else task.weights
    wanted = found.distance * weights if keep == "hard" else -found.distance / weights
    held = np.zeros(task.n, dtype=bool)
    held[task.selected] = True
    # Those selected already come first in their clusters, whatever their distance.
    place = rank_within(found.label, np.where(held, np.inf, wanted))
    settings = {
        "keep": keep,
        "temperature": temperature,
        "nearest": nearest,
        **found.settings,
    }
    for budget in task.counts:
        lacking = place - budget * share[found.label]
        first = (place == 0) & (budget >= len(share))
        ranking = np.lexsort((np.arange(task.n), lacking, ~first, ~held))
        chosen = ranking[len(task.selected) : budget]
        scores = scores_by_rank(chosen, -lacking)
        yield Choice(chosen, scores, settings, distance=found.distance, cluster=found.label)


def _shares(
    found: Clusters, nearest: int, temperature: float, threads: int | None
) -> NDArray[np.float64]:
    """Return the share of the budget that each cluster ought to get, of sum 1."""
    k = len(found.centroids)
    size = np.maximum(np.bincount(found.label, minlength=k), 1)
    inside = np.bincount(found.label, weights=found.distance, minlength=k) / size
    between = np.ones(k)
    if k > 1:
        others = min(nearest, k - 1)
        result = ops.topk_similarity(found.centroids, k=others, threads=threads)
        between = 1.0 - np.cumsum(to_numpy(result.similarity), axis=1)[:, -1] / others
    complexity = inside * between
    raised = exp((complexity - complexity.max()) / temperature)
    total: float = np.cumsum(raised)[-1]
    return raised / total

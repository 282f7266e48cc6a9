"""D4: deduplicate, cluster anew what is left, drop what is most typical of it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from meddel_fast.selectors.clusters import KEEP, Clusters, cluster_rows, sweep_order
from meddel_fast.selectors.options import CLUSTERS, choice, number
from meddel_fast.selectors.plan import Choice, Task, among
from meddel_fast.selectors.selector import selector
from meddel_fast.selectors.semdedup import redundancy_within


@selector(
    paper="Tirumala et al. 2023",
    cost="k-means twice, and O(n^2 d / k) at worst",
    nested=False,
    good_for="large raw pools: near duplicates would make clusters of their own in prototypes",
    weights="Of near duplicates the heaviest stays; then as for prototypes.",
    checks={
        "dedup": number(0.0, 1.0),
        "sweep": choice(*KEEP),
        "keep": choice("hard", "easy"),
        **CLUSTERS,
    },
    processes=True,
)
def d4(
    task: Task,
    *,
    dedup: float = 0.75,
    sweep: str = "far",
    keep: str = "hard",
    clusters: int | None = None,
    max_iterations: int = 100,
) -> Iterator[Choice]:
    """Drop near duplicates by SemDeDup, then the most prototypical of what is left (D4).

    Parameters
    ----------
    dedup
        Share of the samples that SemDeDup leaves, 0 to 1; the paper keeps 0.75 whatever the budget.
        Where the budget is larger, SemDeDup alone decides.
    sweep
        Which of near duplicates stays, see ``keep`` of
        :func:`~meddel_fast.selectors.semdedup.semdedup`.
    keep
        "hard": of what is left the farthest from the centroids; "easy": the closest.
    clusters
        Number of clusters of either spherical k-means; None for
        :func:`~meddel_fast.selectors.clusters.default_clusters` of the samples that it sees.
    max_iterations
        At most this many iterations of k-means.

    Returns
    -------
    Selection
        ``scores`` of what SemDeDup leaves are the distance to the new centroid, or 2 less it when
        easy samples are kept; of the others -1 - M. ``distance`` and ``cluster`` are those of the
        second clustering (NaN and -1 for what it did not see).
        ``settings["left"]`` is the number of samples that it saw.
    """
    first = cluster_rows(task.x, clusters, max_iterations, task.seed, task.threads)
    order = sweep_order(first.distance, sweep, task.seed, task.selected, task.weights)
    m = redundancy_within(task.x, first.label, order, task.threads)
    ranking = np.concatenate(
        [task.selected, task.without_selected(np.argsort(m.similarity, kind="stable"))]
    )
    again: dict[int, Clusters] = {}
    for count in task.counts:
        left = np.sort(ranking[: max(count, math.floor(dedup * task.n + 0.5))])
        if len(left) not in again:
            again[len(left)] = cluster_rows(
                task.x[left],
                None if clusters is None else min(clusters, len(left)),
                max_iterations,
                task.seed,
                task.threads,
            )
        found = again[len(left)]
        scores = -1.0 - m.similarity
        weights = np.ones(task.n) if task.weights is None else task.weights
        if keep == "hard":
            scores[left] = found.distance * weights[left]
        else:  # (as near as the lightest at most, so that no score falls to those of the others)
            scores[left] = 2.0 - found.distance * (weights.min() / weights[left])
        wanted = task.without_selected(left[np.argsort(-scores[left], kind="stable")])
        gone = np.ones(task.n, dtype=bool)
        gone[left] = False
        yield Choice(
            wanted[: count - len(task.selected)],
            scores,
            {"dedup": dedup, "sweep": sweep, "keep": keep, "left": len(left), **found.settings},
            reason=np.where(gone & (m.neighbor >= 0), "duplicate", "budget"),
            duplicate_of=m.neighbor,
            similarity=m.similarity,
            distance=among(found.distance, left, task.n, np.nan),
            cluster=among(found.label, left, task.n, -1),
        )

"""SSL prototypes: samples ranked by their distance to their cluster's centroid."""

from __future__ import annotations

from collections.abc import Iterator

from meddel_fast.selectors.clusters import cluster_rows
from meddel_fast.selectors.options import CLUSTERS, choice
from meddel_fast.selectors.plan import Choice, Task, ranked
from meddel_fast.selectors.selector import selector


@selector(
    paper="Sorscher et al. 2022",
    cost="k-means: O(n k d) an iteration",
    good_for="hard samples of plentiful, clean data; easy ones of scarce data",
    weights="The distance counts that many times as far (hard), or near (easy).",
    checks={"keep": choice("hard", "easy"), **CLUSTERS},
    processes=True,
)
def prototypes(
    task: Task,
    *,
    keep: str = "hard",
    clusters: int | None = None,
    max_iterations: int = 100,
) -> Iterator[Choice]:
    """Keep the samples farthest from their centroid, or the closest (Sorscher et al. 2022).

    Far from every prototype is hard: Sorscher et al. keep these when data abound, and the easy
    ones when data are scarce. The ranking runs over all clusters together.

    Parameters
    ----------
    keep
        "hard" (far from the centroid) or "easy" (close to it).
    clusters
        Number of clusters of the spherical k-means; None for
        :func:`~meddel_fast.selectors.clusters.default_clusters`.
    max_iterations
        At most this many iterations of k-means.

    Returns
    -------
    Selection
        ``distance`` is 1 - cosine to the centroid; ``scores`` are the distance, negated when easy
        samples are kept. Equal scores: lowest index first. Smaller budgets are nested in larger.
    """
    found = cluster_rows(task.x, clusters, max_iterations, task.seed, task.threads)
    if keep == "hard":
        scores = task.weighted(found.distance)
    else:
        scores = -found.distance if task.weights is None else -found.distance / task.weights
    settings = {"keep": keep, **found.settings}
    yield from ranked(task, scores, settings, distance=found.distance, cluster=found.label)

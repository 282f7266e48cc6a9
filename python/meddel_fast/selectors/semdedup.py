"""SemDeDup: inside clusters, drop what repeats an earlier sample (Abbas et al. 2023)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from meddel_fast import ops
from meddel_fast.selectors.base import to_numpy
from meddel_fast.selectors.clusters import KEEP, cluster_rows, sweep_order
from meddel_fast.selectors.options import CLUSTERS, choice
from meddel_fast.selectors.plan import Choice, Task
from meddel_fast.selectors.selection import Selection
from meddel_fast.selectors.selector import selector


class Redundancy(NamedTuple):
    """M of SemDeDup: ``max(0, highest cosine to an earlier sample of the cluster)``.

    `neighbor` is that sample, the lowest index among equals, and -1 where M is 0.
    """

    similarity: NDArray[np.float64]
    neighbor: NDArray[np.int64]


@selector(
    paper="Abbas et al. 2023",
    cost="k-means, then O(n^2 d / k) at worst",
    good_for="near duplicates, at any scale",
    weights="Of near duplicates the heaviest comes first and stays, whatever `keep` says.",
    checks={"keep": choice(*KEEP), **CLUSTERS},
    processes=True,
)
def semdedup(
    task: Task,
    *,
    keep: str = "far",
    clusters: int | None = None,
    max_iterations: int = 100,
) -> Iterator[Choice]:
    """Drop the samples most similar to an earlier member of their cluster.

    Members of a cluster are swept in the order of `keep`, those selected already first. M of a
    sample is its highest cosine to an earlier one, whether or not that one stays, so M depends on
    no threshold: one pass serves every budget, and the samples with the lowest M are kept. Equal
    M: lowest index first.

    Parameters
    ----------
    keep
        Which member of a group of duplicates comes first and stays: "far" from the centroid,
        "near" to it, or a "random" one.
    clusters
        Number of clusters of the spherical k-means; None for
        :func:`~meddel_fast.selectors.clusters.default_clusters`. 1 compares all pairs.
    max_iterations
        At most this many iterations of k-means.

    Returns
    -------
    Selection
        ``scores`` are -M. ``settings["eta"]`` is the threshold of this budget: samples with M
        above it are dropped, and of those exactly at it the last ``settings["tied"]``, by index.
    """
    found = cluster_rows(task.x, clusters, max_iterations, task.seed, task.threads)
    order = sweep_order(found.distance, keep, task.seed, task.selected, task.weights)
    redundancy = redundancy_within(task.x, found.label, order, task.threads)
    similarity = redundancy.similarity
    ranking = task.without_selected(np.argsort(similarity, kind="stable"))
    reason = np.where(redundancy.neighbor >= 0, "duplicate", "budget")
    for count in task.counts:
        new = count - len(task.selected)
        eta, tied = threshold_at(similarity[ranking], new)
        yield Choice(
            ranking[:new],
            -similarity,
            {"keep": keep, "eta": eta, "tied": tied, **found.settings},
            reason=reason,
            duplicate_of=redundancy.neighbor,
            similarity=similarity,
            distance=found.distance,
            cluster=found.label,
        )


def semdedup_ladder(x: Any, budgets: Sequence[int | float], **options: Any) -> list[Selection]:
    """Return :func:`semdedup` for several budgets from one pass; smaller ones are nested."""
    return semdedup(x, list(budgets), **options)


def redundancy_within(
    x: Any, label: NDArray[np.int64], order: NDArray[np.int64], threads: int | None
) -> Redundancy:
    """Compute M inside the clusters, for members swept in `order`."""
    result = ops.redundancy(x, order=order, labels=label, threads=threads)
    similarity = to_numpy(result.similarity)
    neighbor = np.where(similarity > 0.0, to_numpy(result.neighbor), -1)
    return Redundancy(np.maximum(similarity, 0.0), neighbor)


def threshold_at(ascending: NDArray[np.float64], count: int) -> tuple[float, int]:
    """Return the highest M among the first `count`, and how many more have exactly that M."""
    eta = float(ascending[count - 1])
    return eta, int(np.searchsorted(ascending, eta, side="right")) - count

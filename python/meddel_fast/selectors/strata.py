"""Strata, given or else made by clustering, and the rank of each sample in its stratum."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.selectors.clusters import cluster_rows
from meddel_fast.selectors.plan import Task


def check_strata(
    task: Task, strata: Any, clusters: int | None, max_iterations: int
) -> tuple[NDArray[np.int64], NDArray[np.float64] | None, dict[str, Any]]:
    """Return strata as 0, 1, ..., the distances to the centroids where they are clusters, settings.

    With strata there is no k-means.
    """
    if strata is None:
        found = cluster_rows(task.x, clusters, max_iterations, task.seed, task.threads)
        return found.label, found.distance, found.settings
    names, label = np.unique(strata, return_inverse=True)
    return label.reshape(-1).astype(np.int64), None, {"strata": len(names)}


def rank_within(label: NDArray[np.int64], keys: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return each sample's place (from 0) in its stratum by falling key; ties: lowest index."""
    order = np.lexsort((-keys, label))
    first = np.searchsorted(label[order], label[order])
    place = np.empty(len(label), dtype=np.int64)
    place[order] = np.arange(len(label)) - first
    return place

"""Moderate coreset: samples at a middling distance from the centre of their class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast import _core, arrays, reference
from meddel_fast.selectors.options import CLUSTERS
from meddel_fast.selectors.plan import Choice, Task, ranked
from meddel_fast.selectors.selector import selector
from meddel_fast.selectors.strata import check_strata
from meddel_fast.selectors.unit_rows import UnitRows
from meddel_fast.sharded.group import SoloGroup, together
from meddel_fast.sharded.spread import Spread
from meddel_fast.stores.store import Store


@selector(
    paper="Xia et al. 2023",
    cost="k-means: O(n k d) an iteration; with classes O(n d)",
    good_for="data of unknown cleanliness: neither the trivial nor the odd",
    per_sample={"labels": "iuU"},
    checks=CLUSTERS,
    instead={"labels": ("clusters", "max_iterations")},
    processes=True,
)
def moderate(
    task: Task,
    *,
    labels: Any = None,
    clusters: int | None = None,
    max_iterations: int = 100,
) -> Iterator[Choice]:
    """Keep the samples whose distance to the centre of their class is closest to the median.

    The distance is 1 - cosine, the median that over all samples.

    Parameters
    ----------
    labels : int or str, shape (n,), optional
        Classes; the clusters of a spherical k-means when not given.
    clusters, max_iterations
        Of that k-means; None for :func:`~meddel_fast.selectors.clusters.default_clusters`.

    Returns
    -------
    Selection
        ``scores`` are minus the distance to ``settings["median"]``, and smaller budgets are nested.
        ``cluster`` is the class, by rising name.
    """
    label, distance, settings = check_strata(task, labels, clusters, max_iterations)
    if distance is None:
        distance = _to_class_mean(task, label)
    median = float(np.median(distance))
    settings = settings | {"median": median}
    yield from ranked(task, -np.abs(distance - median), settings, distance=distance, cluster=label)


def _to_class_mean(task: Task, label: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return 1 - cosine of each sample to the mean direction of its class."""
    if not isinstance(task.x, Store | Spread):
        threads = arrays.resolve_threads(task.threads)
        rows = arrays.check_rows("x", task.x, threads).array
        return 1.0 - _core.class_mean_cosines(rows, label, int(label.max()) + 1, threads)
    spread = task.x if isinstance(task.x, Spread) else None
    own = task.x if spread is None else spread.own
    mine = label if spread is None else label[spread.own_slice]
    group = SoloGroup() if spread is None else spread.group
    unit = together(group, lambda: UnitRows(own, task.threads))
    total = np.zeros((int(label.max()) + 1, unit.d))
    for rank in range(group.size):  # in turn, as the order of sums is fixed
        if rank == group.rank:
            for block in unit.blocks():
                np.add.at(total, mine[block], unit.exact(block))
        total = group.broadcast(total if rank == group.rank else None, rank)
    norms = np.sqrt(reference.squared_norm(total))
    cosine = np.zeros(len(mine))
    for code in np.flatnonzero(norms > 0):
        members = np.flatnonzero(mine == code)
        if len(members):
            cosine[members] = unit.products(total[code] / norms[code], members)
    return 1.0 - (cosine if spread is None else spread.all_of(cosine))

"""CRAIG: medoids whose weighted sum stands for all samples."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from meddel_fast.selectors.facility import EXACT, WEIGHTS, climb
from meddel_fast.selectors.neighbor_graph import check_neighbors, edges_to, nearest
from meddel_fast.selectors.options import NEIGHBORS
from meddel_fast.selectors.plan import Choice, Task
from meddel_fast.selectors.selector import selector
from meddel_fast.selectors.unit_rows import self_similarity


@selector(
    paper="Mirzasoleiman, Bilmes & Leskovec 2020",
    cost="as facility",
    exact=EXACT,
    good_for="training on few samples with weights: the gradient of all, approximated",
    weights=WEIGHTS,
    checks={"neighbors": NEIGHBORS},
    processes=True,
)
def craig(task: Task, *, neighbors: int | None = None) -> Iterator[Choice]:
    """Keep medoids whose weighted sum stands for all samples (CRAIG, on embeddings).

    Facility location with D - distance as the similarity, where the distance is that of the
    normalised embeddings, in place of the gradients of CRAIG, and D the largest in the graph.

    Parameters
    ----------
    neighbors
        As in :func:`~meddel_fast.selectors.facility.facility`.

    Returns
    -------
    Selection
        ``cluster`` is the kept sample that stands for each, so that the weight CRAIG trains a kept
        sample with is how often it occurs there. ``distance`` is the distance to it (NaN where no
        kept sample is a neighbour). ``order``, ``scores``: as by facility location.
    """
    similarity, indices = nearest(task, check_neighbors(neighbors, task.n))
    distance = np.sqrt(np.maximum(2.0 - 2.0 * similarity, 0.0))
    own = np.sqrt(np.maximum(2.0 - 2.0 * self_similarity(task.x, task.threads), 0.0))
    largest = float(max(np.max(distance, initial=0.0), np.max(own)))
    edges = edges_to(indices, largest - distance, largest - own)
    settings = {"neighbors": indices.shape[1], "largest": largest}
    for state in climb(task, edges):
        away = np.where(state.by >= 0, largest - state.best, np.nan)
        yield Choice(state.order, state.scores, settings, distance=away, medoid=state.by)

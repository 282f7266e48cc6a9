"""D2 pruning: difficulty and diversity balanced by messages along a neighbour graph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from meddel_fast.common.progress import counted
from meddel_fast.selectors import options
from meddel_fast.selectors.exp_log import exp
from meddel_fast.selectors.neighbor_graph import check_neighbors, nearest
from meddel_fast.selectors.plan import Choice, Task, scores_by_rank
from meddel_fast.selectors.selector import selector

NEIGHBORS = 10


@selector(
    paper="Maharana, Yadav & Bansal 2024",
    cost="O(n^2 d) at worst for the graph; then O(b n)",
    good_for="a difficulty score at hand: hard samples without their neighbours",
    weights="Multiply the score.",
    per_sample={"score": "fiu"},
    checks={
        "neighbors": options.NEIGHBORS,
        "forward": options.number(0.0, 1e6),
        "reverse": options.number(0.0, 1e6),
    },
    processes=True,
)
def d2(
    task: Task,
    *,
    score: Any = None,
    neighbors: int | None = None,
    forward: float = 1.0,
    reverse: float = 1.0,
) -> Iterator[Choice]:
    """Keep difficult samples of dense regions, each at the expense of its neighbours (D2 pruning).

    First each sample's value is its score plus those of its nearest others, times
    exp(-`forward` squared distance). Then the sample of the highest value is kept, again and again,
    and each of its nearest others loses that value times exp(-`reverse` squared distance).
    Distances are those of the normalised embeddings.

    Parameters
    ----------
    score : float, shape (n,), optional
        Difficulty (a loss, an error, a margin), better at least 0; 1 for all when not given.
    neighbors
        How many nearest others; None for 10, or all if there are fewer.
    forward, reverse
        How fast messages fade with the distance, from 0 (not at all).

    Returns
    -------
    Selection
        ``order`` is that of selection, and smaller budgets are nested. ``scores`` are len .. 1 for
        kept samples; of the others the values left, less the highest of these.
    """
    if neighbors is None:
        neighbors = min(NEIGHBORS, max(1, task.n - 1))
    similarity, indices = nearest(task, check_neighbors(neighbors, task.n))
    squared = np.maximum(2.0 - 2.0 * similarity, 0.0)
    values = task.weighted(np.ones(task.n) if score is None else score.astype(np.float64))
    # (column by column: the neighbours of a sample are added nearest first)
    messages = exp(-forward * squared) * values[indices]
    for column in range(indices.shape[1]):
        values = values + messages[:, column]
    fade = exp(-reverse * squared)
    order: list[int] = []
    rungs: dict[int, Choice] = {}
    settings = {"neighbors": indices.shape[1], "forward": forward, "reverse": reverse}
    with counted(max(task.counts)) as progress:
        for place in range(max(task.counts)):
            first = place < len(task.selected)
            j = int(task.selected[place]) if first else int(np.argmax(values))
            order.append(j)
            values[indices[j]] -= fade[j] * values[j]
            values[j] = -np.inf  # and so it stays
            progress.advance(1)
            if place + 1 in task.counts:
                chosen = np.array(order[len(task.selected) :])
                rungs[place + 1] = Choice(chosen, scores_by_rank(chosen, values), settings)
    for count in task.counts:
        yield rungs[count]

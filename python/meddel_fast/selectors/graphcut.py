"""Graph cut: samples that resemble the others, and not one another."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from meddel_fast.common.progress import counted
from meddel_fast.selectors.neighbor_graph import Edges, check_neighbors, edges_to, nearest
from meddel_fast.selectors.options import NEIGHBORS, number
from meddel_fast.selectors.plan import Choice, Task
from meddel_fast.selectors.selector import selector
from meddel_fast.selectors.unit_rows import self_similarity


@selector(
    paper="Iyer et al. 2021",
    cost="O(n^2 d) at worst for the graph; then O(b n)",
    exact="on the graph; with all neighbours (n <= 2,000 by default) as published",
    good_for="dense regions without their repeats",
    weights="Each sample counts that many times among those that are represented.",
    checks={"neighbors": NEIGHBORS, "trade_off": number(0.0, 1e6)},
    processes=True,
)
def graphcut(
    task: Task, *, neighbors: int | None = None, trade_off: float = 0.5
) -> Iterator[Choice]:
    """Keep samples similar to all and dissimilar to one another (graph cut).

    Greedily maximises the sum of the cosines (or 0) between all samples and the kept ones, less
    `trade_off` times that among the kept ones. It is monotone up to a trade-off of 0.5, and
    greedy selection then comes to within 1 - 1/e of the optimum.

    Parameters
    ----------
    neighbors
        Two samples have a similarity when either is among so many nearest others of the other, and
        else 0; None for all up to 2,000 samples, else 32.
    trade_off
        From 0 (density alone) on; above 0.5 repeats cost more than they bring.

    Returns
    -------
    Selection
        ``order`` is that of selection, and smaller budgets are nested. ``scores``: of kept samples
        what each added, of the others what they would add.
    """
    similarity, indices = nearest(task, check_neighbors(neighbors, task.n))
    own = self_similarity(task.x, task.threads)
    edges = edges_to(indices, np.maximum(similarity, 0.0), own, symmetric=True)
    weights = np.ones(task.n) if task.weights is None else task.weights
    gains = edges.sums(edges.value * weights[edges.source]) - trade_off * own
    for j in task.selected.tolist():
        _keep(gains, edges, j, trade_off)
    order: list[int] = []
    won: list[float] = []
    rungs: dict[int, Choice] = {}
    settings = {"neighbors": indices.shape[1], "trade_off": trade_off}
    first, last = len(task.selected), max(task.counts)
    with counted(last - first) as progress:
        for count in range(first + 1, last + 1):
            j = int(np.argmax(gains))
            order.append(j)
            won.append(float(gains[j]))
            _keep(gains, edges, j, trade_off)
            progress.advance(1)
            if count in task.counts:
                scores, chosen = gains.copy(), np.array(order)
                scores[chosen] = won
                rungs[count] = Choice(chosen, scores, settings)
    for count in task.counts:
        yield rungs[count]


def _keep(gains: NDArray[np.float64], edges: Edges, j: int, trade_off: float) -> None:
    """Take a sample out, and what it has in common with the others off their gains."""
    where = edges.of(j)
    gains[edges.source[where]] -= 2.0 * trade_off * edges.value[where]
    gains[j] = -np.inf

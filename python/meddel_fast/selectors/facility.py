"""Facility location: the samples that represent all others best."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meddel_fast import _core
from meddel_fast.arrays import resolve_threads
from meddel_fast.selectors.base import random_keys
from meddel_fast.selectors.exp_log import log
from meddel_fast.selectors.neighbor_graph import Edges, check_neighbors, edges_to, nearest
from meddel_fast.selectors.options import NEIGHBORS, choice, number
from meddel_fast.selectors.plan import Choice, Task, scores_by_rank
from meddel_fast.selectors.selector import selector
from meddel_fast.selectors.unit_rows import self_similarity

EXACT = "on the graph; with all neighbours (n <= 2,000 by default) as published"
WEIGHTS = "Each sample counts that many times among those that are represented."


@selector(
    paper="Mirzasoleiman et al. 2015; Minoux 1978 (lazy greedy)",
    cost="O(n^2 d) at worst for the graph; then about O(n k + b k log n)",
    exact=EXACT,
    good_for="the typical of every kind: kept samples stand for all others",
    weights=WEIGHTS,
    checks={
        "neighbors": NEIGHBORS,
        "greedy": choice("lazy", "stochastic"),
        "epsilon": number(1e-9, 1.0),
    },
    processes=True,
    only={"epsilon": ("greedy", "stochastic")},
)
def facility(
    task: Task,
    *,
    neighbors: int | None = None,
    greedy: str = "lazy",
    epsilon: float = 0.1,
) -> Iterator[Choice]:
    """Keep the samples that represent all others best (facility location).

    Greedily maximises the sum over all samples of the highest cosine (or 0) to a kept one, to
    within 1 - 1/e of the optimum.

    Parameters
    ----------
    neighbors
        Samples know so many of their nearest others and have similarity 0 to the rest; None for
        all others up to 2,000 samples, else 32.
    greedy
        "lazy": the best sample each time, as by plain greedy selection; gains only fall, so most
        need not be worked out again. "stochastic": the best of n / b ln(1 / `epsilon`) drawn at
        random, b the number to choose; its work does not grow with b.
    epsilon
        Of "stochastic": what it may lose of the optimum, on average.

    Returns
    -------
    Selection
        ``order`` is that of selection, and smaller budgets are nested (not by "stochastic").
        ``scores``: of kept samples what each added to the sum, of the others what they would add;
        by "stochastic" len .. 1 for kept ones. ``settings["value"]`` is the sum.
        ``cluster`` is the kept sample that represents each (-1: none does).
    """
    similarity, indices = nearest(task, check_neighbors(neighbors, task.n))
    own = self_similarity(task.x, task.threads)
    edges = edges_to(indices, np.maximum(similarity, 0.0), own)
    settings = {"neighbors": indices.shape[1], "greedy": greedy}
    if greedy == "lazy":
        states = climb(task, edges)
    else:
        settings["epsilon"] = epsilon
        states = (_draw(task, edges, count, epsilon) for count in task.counts)
    for state in states:
        value = float(np.cumsum(task.weighted(state.best))[-1])
        yield Choice(state.order, state.scores, settings | {"value": value}, medoid=state.by)


class State(NamedTuple):
    """A choice, and how well it represents each sample.

    `best` is s_ij of the kept j that represents sample i best (at least 0), `by` which one: the
    first kept among equals, or -1.
    """

    order: NDArray[np.int64]
    scores: NDArray[np.float64]
    best: NDArray[np.float64]
    by: NDArray[np.int64]


def climb(task: Task, edges: Edges, hops: int = 1) -> Iterator[State]:
    """Keep the sample of the highest gain, again and again (lazy greedy).

    With two hops a sample is represented along two edges, too, as well as their product says.
    """
    counts = sorted(set(task.counts))
    selected, threads = task.selected.tolist(), resolve_threads(task.threads)
    order, won, found = _core.facility(*edges, task.weights, selected, counts, hops, threads)
    rungs: dict[int, State] = {}
    for count, (scores, best, by) in zip(counts, found, strict=True):
        chosen = order[: count - len(task.selected)]
        scores[chosen] = won[: len(chosen)]
        rungs[count] = State(chosen, scores, best, by)
    for count in task.counts:
        yield rungs[count]


def _draw(task: Task, edges: Edges, count: int, epsilon: float) -> State:
    """Keep the best of some samples drawn at random, again and again (stochastic greedy)."""
    left = np.setdiff1d(np.arange(task.n), task.selected)
    steps = count - len(task.selected)
    size = math.ceil(len(left) / steps * float(log(np.array(1.0 / epsilon)))) or 1
    draws = random_keys(size * steps, task.seed).reshape(steps, size)
    order, _, (state,) = _core.stochastic_facility(
        *edges, task.weights, task.selected.tolist(), left.tolist(), draws
    )
    gains, best, by = state
    return State(order, scores_by_rank(order, gains), best, by)

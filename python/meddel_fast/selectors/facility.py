"""Facility location: the samples that represent all others best."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meddel_fast.common.progress import counted
from meddel_fast.selectors.base import random_keys
from meddel_fast.selectors.exp_log import log
from meddel_fast.selectors.neighbor_graph import Edges, check_neighbors, edges_to, nearest
from meddel_fast.selectors.options import NEIGHBORS, choice, number
from meddel_fast.selectors.plan import Choice, Task, scores_by_rank
from meddel_fast.selectors.selector import selector
from meddel_fast.selectors.unit_rows import UnitRows

EXACT = "on the graph; with all neighbours (n <= 2,000 by default) as published"
WEIGHTS = "Each sample counts that many times among those that are represented."


class Coverage:
    """Sum over samples i of w_i max(0, s_ij of the kept j that represents i best).

    Parameters
    ----------
    edges
        For each j the samples i that it can represent, and s_ij; all other s are 0.
    weights : shape (n,), or None
        w; all 1 when None.
    """

    def __init__(self, edges: Edges, weights: NDArray[np.float64] | None) -> None:
        n = len(edges.start) - 1
        self.edges, self._weights = edges, weights
        self.best = np.zeros(n)  # s_ij of the kept j that represents i best
        self.by = np.full(n, -1, dtype=np.int64)  # which j; the first kept among equals

    def add(self, j: int) -> None:
        """Keep a sample."""
        where = self.edges.of(j)
        rows, value = self.edges.source[where], self.edges.value[where]
        better = (value > self.best[rows]) | (self.by[rows] < 0)
        self.best[rows[better]] = value[better]
        self.by[rows[better]] = j

    def gain(self, j: int) -> float:
        """Return how much the sum would rise with j; 0 for a kept one."""
        where = self.edges.of(j)
        terms = self._terms(self.edges.source[where], self.edges.value[where])
        return float(np.cumsum(terms)[-1])  # one after the other, like :meth:`gains`

    def gains(self) -> NDArray[np.float64]:
        """Return :meth:`gain` of all samples."""
        return self.edges.sums(self._terms(self.edges.source, self.edges.value))

    def _terms(self, rows: NDArray[np.int64], value: NDArray[np.float64]) -> NDArray[np.float64]:
        terms = np.maximum(value - self.best[rows], 0.0)
        return terms if self._weights is None else terms * self._weights[rows]


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
    own = UnitRows(task.x, task.threads).self_similarity()
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
    """A choice, and how well it represents each sample, see :class:`Coverage`."""

    order: NDArray[np.int64]
    scores: NDArray[np.float64]
    best: NDArray[np.float64]
    by: NDArray[np.int64]


def climb(task: Task, edges: Edges) -> Iterator[State]:
    """Keep the sample of the highest gain, again and again (lazy greedy).

    A gain of any time before bounds the gain now: each of its terms only falls, and sums of equally
    many smaller terms, added in the same order, are not larger when rounded either. So the first
    sample whose gain is fresh and still the highest is the one that plain greedy selection takes.
    """
    coverage = Coverage(edges, task.weights)
    for j in task.selected.tolist():
        coverage.add(j)
    free = np.ones(task.n, dtype=bool)
    free[task.selected] = False
    gains = coverage.gains()
    entries = [(-gains[j], j) for j in np.flatnonzero(free).tolist()]
    heapq.heapify(entries)
    fresh = np.zeros(task.n, dtype=np.int64)
    order: list[int] = []
    won: list[float] = []
    rungs: dict[int, State] = {}
    steps = max(task.counts) - len(task.selected)
    with counted(steps) as progress:
        for step in range(steps):
            while fresh[entries[0][1]] < step:
                j = entries[0][1]
                fresh[j] = step
                heapq.heapreplace(entries, (-coverage.gain(j), j))
            negative, j = heapq.heappop(entries)
            order.append(j)
            won.append(-negative)
            coverage.add(j)
            progress.advance(1)
            count = len(task.selected) + step + 1
            if count in task.counts:
                scores, chosen = coverage.gains(), np.array(order)
                scores[chosen] = won
                rungs[count] = State(chosen, scores, coverage.best.copy(), coverage.by.copy())
    for count in task.counts:
        yield rungs[count]


def _draw(task: Task, edges: Edges, count: int, epsilon: float) -> State:
    """Keep the best of some samples drawn at random, again and again (stochastic greedy)."""
    coverage = Coverage(edges, task.weights)
    for j in task.selected.tolist():
        coverage.add(j)
    left = np.setdiff1d(np.arange(task.n), task.selected)
    steps = count - len(task.selected)
    size = math.ceil(len(left) / steps * float(log(np.array(1.0 / epsilon)))) or 1
    draws = random_keys(size * steps, task.seed).reshape(steps, size)
    order = np.zeros(steps, dtype=np.int64)
    for step in range(steps):
        places = (draws[step] * len(left)).astype(np.int64)
        drawn = np.unique(left[places]).tolist()
        order[step] = max(drawn, key=coverage.gain)  # the first, and lowest, of equals
        coverage.add(int(order[step]))
        place = places[left[places] == order[step]][0]
        left[place] = left[-1]
        left = left[:-1]
    return State(order, scores_by_rank(order, coverage.gains()), coverage.best, coverage.by)

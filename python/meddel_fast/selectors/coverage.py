"""Coverage of a neighbour graph: few samples within a step or two of all others, class by class."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from meddel_fast.arrays import check_int, resolve_threads
from meddel_fast.selectors import options
from meddel_fast.selectors.edge_files import edges_in_files
from meddel_fast.selectors.facility import WEIGHTS, State, climb
from meddel_fast.selectors.neighbor_graph import Edges, check_neighbors, edges_to, nearest
from meddel_fast.selectors.plan import Choice, Task, scores_by_rank
from meddel_fast.selectors.selector import selector
from meddel_fast.selectors.unit_rows import self_similarity

NEIGHBORS = 10
"""Neighbours of each sample: two steps reach up to 110."""

# Bytes a sample: of the greedy loop, of what it tells of each budget, of what each thread needs.
_SAMPLE, _BUDGET, _THREAD = 96, 24, 8
_EDGE = 160  # bytes an edge at the peak, where the graph is in memory
_PART = 1024  # rows that are looked at together, at least, where it is not
_FIXED, _WORK = 3_200_000, 256  # bytes beside these, and beside each


@selector(
    paper="Bae et al. 2024 (generalised coverage); Yehuda et al. 2022 (ProbCover)",
    cost="O(n^2 d) at worst for the graph; then about O((n + b log n) k^2)",
    exact="the greedy rule as published, on the graph",
    good_for="small budgets: the dense regions of every class, each covered once",
    weights=WEIGHTS,
    per_sample={"labels": "iuU"},
    checks={
        "neighbors": options.NEIGHBORS,
        "hops": lambda name, value, n: check_int(name, value, 1, 2),
        "kernel": options.choice("similarity", "top-hat"),
    },
    processes=True,
    adds=("value", "covered"),
)
def coverage(
    task: Task,
    *,
    labels: Any = None,
    neighbors: int | None = None,
    hops: int = 2,
    kernel: str = "similarity",
) -> Iterator[Choice]:
    """Keep samples that cover the others over one or two steps of a neighbour graph.

    Greedily maximises the generalised coverage of Bae, Noh and Sutherland (2024, arXiv
    2407.12212): the sum over all samples of the highest kernel value to a kept one. With the
    kernel "top-hat" that is the number of samples covered, as by ProbCover (Yehuda et al. 2022,
    arXiv 2205.11514). Where these papers have a radius, here a sample is covered by its nearest
    others and, over two steps, by theirs: dense and thin regions count alike. It comes to within
    1 - 1/e of the optimum (in each class).

    Parameters
    ----------
    labels : int or str, shape (n,), optional
        Classes: each is covered by its own samples, on a graph of its own, and gets as many of the
        budget as the others (what a small class cannot use, and what does not divide, goes to the
        others by rising name).
    neighbors
        How many nearest others each sample has an edge to (in its class); None for 10, or all if
        there are fewer.
    hops
        Steps over which a sample is covered: 1 or 2. One step with "similarity" is
        :func:`~meddel_fast.selectors.facility.facility` with as many neighbours.
    kernel
        "similarity": a sample is covered as well as its cosine (or 0) to the kept one says, over
        two steps as well as the product of both says, by the best of all ways. "top-hat": covered
        or not, over steps of a cosine above 0.

    Returns
    -------
    Selection
        ``order`` is that of selection, with labels in turn by class, and smaller budgets are
        nested. ``scores``: of kept samples what each added to the sum, of the others what they
        would add; with labels len .. 1 for kept ones. ``settings["value"]`` is the sum,
        ``settings["covered"]`` the number of samples with a value above 0. ``cluster`` is the kept
        sample that covers each best (-1: none does).

    Notes
    -----
    The edges of the second step are not held but found each time. A graph that `memory` does not
    hold goes to temporary files, which are larger than it: 16 bytes an edge, and as many again
    while they are made.
    """
    if neighbors is None:
        neighbors = min(NEIGHBORS, max(1, task.n - 1))
    neighbors = check_neighbors(neighbors, task.n)
    label = np.zeros(task.n, np.int64)
    about = {"neighbors": neighbors, "hops": hops, "kernel": kernel}
    if labels is not None:
        names, label = np.unique(labels, return_inverse=True)
        about["classes"], label = len(names), label.reshape(-1)
    parts = _parts(task, label)
    for part in parts:
        with _graph(part.task, neighbors, kernel) as edges:
            part.states.extend(climb(part.task, edges, hops))
    for place, count in enumerate(task.counts):
        yield _joined(task, count, place, parts, about, classes=labels is not None)


class _Part(NamedTuple):
    """A class: its samples, how many of them are selected already, and what is chosen."""

    samples: NDArray[np.int64]
    held: int
    task: Task
    states: list[State]


def _parts(task: Task, label: NDArray[np.int64]) -> list[_Part]:
    sizes = np.bincount(label)
    held = np.bincount(label[task.selected], minlength=len(sizes))
    seats = np.array([even_seats(sizes, held, count) for count in task.counts])
    parts = []
    for code in range(len(sizes)):
        samples = np.flatnonzero(label == code)
        inside = task.selected[label[task.selected] == code]
        part = Task(
            task.x if len(sizes) == 1 else task.x[samples],
            seats[:, code].tolist(),
            np.searchsorted(samples, inside),
            None if task.weights is None else task.weights[samples],
            task.seed,
            task.threads,
        )
        parts.append(_Part(samples, int(held[code]), part, []))
    return parts


def even_seats(sizes: NDArray[np.int64], held: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Divide a budget among classes in turn, one seat each, as long as they have samples.

    What they hold already comes first. A larger budget never takes a seat away.
    """
    seat = np.concatenate([np.arange(size) for size in sizes])
    code = np.repeat(np.arange(len(sizes)), sizes)
    turn = np.lexsort((code, seat, seat >= held[code]))
    return np.bincount(code[turn[:count]], minlength=len(sizes))


def _joined(
    task: Task, count: int, place: int, parts: list[_Part], about: dict[str, Any], *, classes: bool
) -> Choice:
    gains, best = np.empty(task.n), np.empty(task.n)
    by = np.empty(task.n, np.int64)
    orders, turns = [], []
    for part in parts:
        state = part.states[place]
        gains[part.samples], best[part.samples] = state.scores, state.best
        by[part.samples] = np.where(state.best > 0, part.samples[state.by], -1)
        orders.append(part.samples[state.order])
        turns.append(part.held + np.arange(len(state.order)))
    order = np.concatenate(orders)[np.argsort(np.concatenate(turns), kind="stable")]
    value = float(np.cumsum(task.weighted(best))[-1])
    scores = scores_by_rank(order, gains) if classes else gains
    covered = int(np.count_nonzero(best))
    return Choice(order, scores, about | {"value": value, "covered": covered}, medoid=by)


@contextmanager
def _graph(task: Task, neighbors: int, kernel: str) -> Iterator[Edges]:
    """Yield the edges that lead to each sample, in memory or in files, as the budget says."""
    neighbors = min(neighbors, max(1, task.n - 1))
    fits = _fits(task, neighbors)
    own = self_similarity(task.x, task.threads)
    if kernel == "top-hat":
        own = np.ones(task.n)

    def value(cosines: NDArray[np.float64]) -> NDArray[np.float64]:
        above = np.maximum(cosines, 0.0)
        return np.sign(above) if kernel == "top-hat" else above

    if fits:
        similarity, indices = nearest(task, neighbors)
        yield edges_to(indices, value(similarity), own)
    else:
        with edges_in_files(task, neighbors, value, own) as edges:
            yield edges


def _fits(task: Task, neighbors: int) -> bool:
    """Whether the budget holds the graph beside the rest, which it has to."""
    if task.memory is None:
        return True
    held = _SAMPLE + _BUDGET * len(set(task.counts)) + _THREAD * resolve_threads(task.threads)
    n, d = task.x.shape
    wide = 8 * (_FIXED + _PART * (12 * d + 2 * (d + _WORK)))  # an eighth is for parts of rows
    least = max(n * held, min(wide, n * (held + _EDGE * (neighbors + 1))))
    if task.memory < least:
        raise ValueError(
            f"memory must be at least {least} bytes for the coverage of {n} samples, "
            f"got {task.memory}"
        )
    return bool(task.memory >= n * (held + _EDGE * (neighbors + 1)))

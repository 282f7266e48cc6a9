"""What a selector's plan is given, what it gives back, and what plans share.

A method is a *plan*: a function of a :class:`Task` and options of its own that yields a
:class:`Choice` for each count. :mod:`~meddel_fast.selectors.selector` makes the public function.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.selectors.base import random_keys
from meddel_fast.selectors.exp_log import log
from meddel_fast.sharded.memory import check_memory
from meddel_fast.sharded.spread import Spread
from meddel_fast.stores.store import Store


class Task:
    """What a plan works on.

    Attributes
    ----------
    x : shape (n, d)
        The samples that may be kept, checked.
    n
        Their number.
    counts
        How many to keep, for each choice that is wanted; above m, at most n.
    selected : int64, shape (m,)
        Samples kept already.
    weights : float64, shape (n,), or None
        Preferences.
    seed, threads
        As in the public functions.
    """

    def __init__(
        self,
        x: Any,
        counts: Sequence[int],
        selected: NDArray[np.int64],
        weights: NDArray[np.float64] | None,
        seed: int,
        threads: int | None,
    ) -> None:
        self.x, self.n, self.counts = x, len(x), list(counts)
        self.selected, self.weights = selected, weights
        self.seed, self.threads = seed, threads

    def weighted(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the values times the weights, if there are any."""
        return values if self.weights is None else values * self.weights

    @property
    def memory(self) -> int | None:
        """The budget in bytes where the rows are in a store or spread, else None."""
        return check_memory(self.x.memory) if isinstance(self.x, Store | Spread) else None

    def holds(self, size: int) -> bool:
        """Whether half of the budget, if there is one, holds `size` bytes."""
        return self.memory is None or size <= self.memory // 2

    def without_selected(self, order: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return `order` less the samples kept already."""
        return order[~np.isin(order, self.selected)] if len(self.selected) else order


@dataclass(frozen=True, eq=False)
class Choice:
    """What a plan makes of one count; fields that it leaves out are filled in.

    `order` holds the count - m samples kept beside the selected ones, most wanted first. The others
    are those of :class:`~meddel_fast.selectors.Selection`, over the task's n samples; `medoid` is
    the kept sample that stands for each (-1: none does), its ``cluster`` there.
    """

    order: NDArray[np.int64]
    scores: NDArray[np.float64]
    settings: dict[str, Any]
    reason: NDArray[np.str_] | None = None
    duplicate_of: NDArray[np.int64] | None = None
    similarity: NDArray[np.float64] | None = None
    distance: NDArray[np.float64] | None = None
    cluster: NDArray[np.int64] | None = None
    medoid: NDArray[np.int64] | None = None


def ranked(
    task: Task, scores: NDArray[np.float64], settings: dict[str, Any], **fields: Any
) -> Iterator[Choice]:
    """Yield the choices of a method that ranks samples once for all budgets; ties by index."""
    order = task.without_selected(np.argsort(-scores, kind="stable"))
    for count in task.counts:
        yield Choice(order[: count - len(task.selected)], scores, settings, **fields)


def scores_by_rank(order: NDArray[np.int64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return len(order) .. 1 for the samples of `order`, for the rest `others` less their highest.

    For methods whose own values, at the time of each choice, do not fall along the order.
    """
    rest = np.isfinite(others)
    rest[order] = False
    scores = np.zeros(len(others))
    scores[rest] = others[rest] - np.max(others[rest], initial=-np.inf)
    scores[order] = np.arange(len(order), 0, -1)
    return scores


def weighted_keys(task: Task) -> NDArray[np.float64]:
    """Return a random key for each sample; the highest keys are a draw without replacement.

    u in [0, 1) without weights. With weights w it is log(u) / w: the first of the order is sample i
    with the probability w_i / sum(w), and so on among the rest (Efraimidis & Spirakis 2006).
    """
    keys = random_keys(task.n, task.seed)
    if task.weights is None:
        return keys
    return log(keys + 2.0**-54) / task.weights  # a key may be 0


def among(value: NDArray[Any], pool: NDArray[np.int64], n: int, empty: Any) -> NDArray[Any]:
    """Return the values of some samples among all n, `empty` for the others."""
    out = np.full(n, empty, dtype=value.dtype)
    out[pool] = value
    return out

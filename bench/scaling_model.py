"""What the operations on parts send and read, worked out from their algorithms (docs/scale.md).

Each function takes a :class:`Case` and what only the data decides (:class:`Facts`: iterations,
rounds, roots), and gives bytes that all ranks together send, or the passes over the rows. Nothing
is fitted: ``scaling.py`` holds them against what it counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from meddel_fast.sharded.parts import BLOCK, Parts, block_bounds
from meddel_fast.stores.shards import Shard
from meddel_fast.stores.store import Store


class Case(NamedTuple):
    """Rows, columns, bytes of an element, workers, and clusters or centres."""

    n: int
    d: int
    item: int
    workers: int
    k: int

    @property
    def row(self) -> int:
        """Bytes of a row."""
        return self.d * self.item


class Facts(NamedTuple):
    """What only the data decides.

    Attributes
    ----------
    iterations
        Of k-means.
    rounds, asked, offered
        Of k-center: how often all ranks looked for the largest bounds, how many rows they asked for
        then altogether, and among how many they chose.
    seeded
        Of k-means: rows read for the seeds, by all ranks.
    roots, dropped
        Of components: those with more than one member, and the rows that they cover.
    whole
        Of deduplicate with labels: whether each rank compares whole clusters, as it does where
        there is room for their rows.
    """

    iterations: int = 0
    rounds: int = 0
    asked: int = 0
    offered: int = 0
    seeded: int = 0
    roots: int = 0
    dropped: int = 0
    whole: bool = False


class Plan(NamedTuple):
    """How an operation cuts the rows: those of a part, whether own ones stay, all ranks' parts."""

    step: int
    stays: bool
    tiles: list[int]  # rows of each
    tries: int = 1  # a plan with room for whole clusters is tried first


# Bytes sent, by all ranks together.


def setting_up(case: Case) -> int:
    """Lengths, types, whether rows stay and how many fit: before each operation."""
    kind = f"{case.d} columns of {'float16' if case.item == 2 else 'float32'}"
    return case.workers * (case.workers - 1) * (8 + len(kind) + 1 + 8)


def semdedup_sent(case: Case, facts: Facts) -> int:
    """Each part once to all others; then what is found, by the one that has the cluster or all."""
    others = case.workers - 1
    found = 16 * case.n * (1 if facts.whole else case.workers)
    refused = 0 if facts.whole else case.workers * others * (1 + 8)  # a plan without room
    return setting_up(case) + refused + others * (case.n * case.row + found)


def greedy_sent(case: Case, facts: Facts) -> int:
    """Each part once to all others, with what is known of its rows."""
    del facts
    return setting_up(case) + (case.workers - 1) * case.n * (case.row + 16)


def components_sent(case: Case, facts: Facts) -> int:
    """Each part once, first copies, each rank's roots of all rows, rows of roots, cosines."""
    others = case.workers - 1
    by_row = case.n * (case.row + 8 + 8 * case.workers + 8)
    return setting_up(case) + others * (by_row + facts.roots * case.row)


def kmeans_sent(case: Case, facts: Facts) -> int:
    """Of each seed its row and the blocks' sums; of each iteration the clusters' sums; labels."""
    n, k, workers = case.n, case.k, case.workers
    bounds = block_bounds(n, workers)
    blocks = sum(-(-(b - a) // BLOCK) for a, b in pairwise(bounds))
    seeds = k * case.row + (k - 1) * (8 * blocks + 8)
    changed = (facts.iterations + 1) * workers * k
    sums = facts.iterations * workers * (8 * k * case.d + 8 * k)
    return setting_up(case) + (workers - 1) * (seeds + changed + sums + 8 * blocks + 16 * n)


def kcenter_sent(case: Case, facts: Facts) -> int:
    """Of each round the largest bounds of each rank, and the rows that all choose among."""
    bounds = case.workers * 16 * (facts.asked + facts.rounds) + 8 * facts.asked
    rows = (1 + facts.offered) * case.row
    return setting_up(case) + (case.workers - 1) * (bounds + rows + 8 * case.n)


def meddel_sent(case: Case, facts: Facts) -> int:
    """k-means, the mean of all rows, redundancy inside clusters, each with its setting up."""
    mean = kmeans_sent(case._replace(k=1), Facts(iterations=1))
    spread = setting_up(case) - case.workers * (case.workers - 1)  # budgets, but no plan
    return spread + kmeans_sent(case, facts) + mean + semdedup_sent(case, facts)


SENT: dict[str, Callable[[Case, Facts], int]] = {
    "semdedup": semdedup_sent,
    "greedy": greedy_sent,
    "components": components_sent,
    "k-means": kmeans_sent,
    "k-center": kcenter_sent,
    "meddel": meddel_sent,
}


# Passes over the rows: rows read by all ranks together, divided by n.


def pairs_of_parts(plan: Plan) -> float:
    """Rows read where each part is looked at with each other one, by the owner of one of both."""
    total = 0
    for b, later in enumerate(plan.tiles):
        for a in range(b):
            total += later if (a + b) % 2 == 0 else plan.tiles[a]
    return total / sum(plan.tiles)


def semdedup_passes(case: Case, plan: Plan, facts: Facts) -> float:
    """To check and measure, and to send; else also within parts and part against part."""
    del case
    if plan.stays:
        return 1.0
    return 2.0 if facts.whole else 3.0 + pairs_of_parts(plan)


def greedy_passes(case: Case, plan: Plan, facts: Facts) -> float:
    """To check and measure, to settle, and all later parts for each part."""
    del facts
    if plan.stays:
        return 1.0
    ends = np.cumsum(plan.tiles)
    later = sum(
        rows
        for start in range(0, case.n, plan.step)
        for rows, end in zip(plan.tiles, ends, strict=True)
        if end > min(case.n, start + plan.step)
    )
    return 2.0 + later / case.n


def components_passes(case: Case, plan: Plan, facts: Facts) -> float:
    """As semdedup, once more for copies; rows of roots and of those that they cover."""
    more = 0.0 if plan.stays else 1.0 + (facts.roots + facts.dropped) / case.n
    return semdedup_passes(case, plan, facts) + more


def kcenter_passes(case: Case, plan: Plan, facts: Facts) -> float:
    """To check and measure, with the first centre, once for distances; the rows asked for.

    What lies between two of these within a page is read along, and not counted here.
    """
    if plan.stays:
        return 1.0
    return 3.0 + (1 + facts.asked) / case.n


def kmeans_passes(case: Case, plan: Plan, facts: Facts) -> float:
    """Those of the seeds, of which the first checks and measures; two of an iteration."""
    return facts.seeded / case.n + (0.0 if plan.stays else 2.0 * facts.iterations + 1.0)


PASSES: dict[str, Callable[[Case, Plan, Facts], float]] = {
    "semdedup": semdedup_passes,
    "greedy": greedy_passes,
    "components": components_passes,
    "k-means": kmeans_passes,
    "k-center": kcenter_passes,
}


# How rows are cut, by the code itself.


class _Unread(Shard):
    """So many rows, none of which is ever read."""

    def __init__(self, case: Case) -> None:
        self.name, self.rows, self.width = "unread", case.n, case.d
        self.dtype = np.dtype(np.float16 if case.item == 2 else np.float32)

    def read(self, spans: Any) -> list[NDArray[Any]]:
        del spans
        raise AssertionError("a plan reads no rows")


class _Alike:
    """A group all of whose processes say the same as this one."""

    rank, sent = 0, 0

    def __init__(self, size: int) -> None:
        self.size = size

    def allgather(self, array: NDArray[Any]) -> list[NDArray[Any]]:
        return [array] * self.size

    def broadcast(self, array: NDArray[Any] | None, root: int) -> NDArray[Any]:
        del root
        assert array is not None
        return array


class _PlannedError(Exception):
    """Carries the parts out of an operation that is about to read them."""


def planned(work: Callable[..., Any], case: Case, memory: int) -> Plan:
    """Return how an operation cuts so many rows within a budget, without reading any.

    Raises
    ------
    ValueError
        The budget is too small, as the operation says.
    """

    plan, tries = Parts.plan, 0

    def stop(parts: Parts, **kept: Any) -> int:
        nonlocal tries
        tries += 1
        plan(parts, **kept)
        rows = [tile.stop - tile.start for tile in parts.tiles]
        raise _PlannedError(parts.step, parts.stays, rows, tries)

    Parts.plan = stop  # type: ignore[method-assign,assignment]
    try:
        work(Store([_Unread(case)]), case, memory=memory, group=_Alike(case.workers))
    except _PlannedError as found:
        return Plan(*found.args)
    finally:
        Parts.plan = plan  # type: ignore[method-assign]
    raise AssertionError("the operation made no plan")


def least_memory(work: Callable[..., Any], case: Case, wanted: Callable[[Plan], bool]) -> int:
    """Return the least budget of a worker, within 2 %, with which the plan is as wanted."""
    low, high = 1 << 20, 1 << 50

    def enough(memory: int) -> bool:
        try:
            return wanted(planned(work, case, memory))
        except ValueError:
            return False

    while high > 1.02 * low:
        middle = math.isqrt(low * high)
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high

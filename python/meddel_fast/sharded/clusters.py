"""Whole clusters on one process each, where samples of the same cluster alone are compared.

Part against part, a cluster is cut into as many pieces as there are parts: on many processes into
so small ones that screens and groups have little to leave out. Here each process takes the rows of
its clusters out of the parts as these go by, and compares a cluster in one piece. All rows are sent
once, as part against part; what is found of a sample is sent by one process instead of all.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.common.progress import counted
from meddel_fast.sharded.checkpoint import Checkpoint
from meddel_fast.sharded.parts import WORK, Float, Int, Parts

_BESIDE = 32  # bytes a gathered row: its sample and place, what is found of it
_LARGE = 4096  # clusters that are dealt one by one, largest first; smaller ones go round
_UNEVEN = 2.0  # times its share of all pairs that a process may have to compare
_TURNS = 16  # about as many times what is found may be saved

Decide = Callable[[NDArray[Any], Int, Float, Int], tuple[Float, Int]]


class Clusters:
    """Which process compares which samples.

    Parameters
    ----------
    labels
        Of all samples.
    size
        How many processes there are.

    Attributes
    ----------
    turn : int32, shape (n,)
        When a sample's cluster is compared: clusters take turns, the same ones for any number of
        processes.
    owner : int32, shape (n,)
        The process that compares it.
    even : bool
        Whether no process has much more to do than others.
    """

    def __init__(self, labels: Int, size: int) -> None:
        _, which, counts = np.unique(labels, return_inverse=True, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        pairs = counts.astype(np.float64) ** 2
        owner = np.empty(len(counts), np.int32)
        owner[order] = np.arange(len(counts)) % size
        loads = [(0.0, rank) for rank in range(size)]
        for cluster in order[:_LARGE].tolist():
            load, rank = heapq.heappop(loads)
            owner[cluster] = rank
            heapq.heappush(loads, (load + float(pairs[cluster]), rank))
        turn = np.empty(len(counts), np.int32)
        turn[order] = np.arange(len(counts)) % _TURNS
        most = np.bincount(owner, pairs, minlength=size).max()
        self.even = bool(most <= _UNEVEN * pairs.sum() / size)
        self.turn, self.owner = turn[which], owner[which]

    def most(self, size: int) -> int:
        """Return how many rows a process has at most."""
        return int(np.bincount(self.owner, minlength=size).max())


def plan_clusters(parts: Parts, labels: Int | None, **kept: Any) -> Clusters | None:
    """Cut the rows into parts; with room for whole clusters on each process, where there is.

    Returns None where there is not, or one process would have most to do, or is alone.

    Raises
    ------
    ValueError
        As :meth:`Parts.plan`: the budget is too small either way.
    """
    size = parts.group.size
    clusters = None if labels is None or size == 1 else Clusters(labels, size)
    if clusters is not None and clusters.even:
        row = parts.store.row_bytes + parts.d + WORK + _BESIDE
        room = {**kept, "beside": kept.get("beside", 0) + clusters.most(size) * row}
        room["everywhere"] = kept["everywhere"] + 8  # turn and owner
        try:
            parts.plan(**room)
            return clusters
        except ValueError:  # on all processes alike
            pass
    parts.plan(**kept)
    return None


def decide_in_clusters(
    parts: Parts, clusters: Clusters, places: Int, floor: float, keeper: Checkpoint, decide: Decide
) -> tuple[Float, Int]:
    """Return similarity and neighbor of all samples, decided on cluster by cluster.

    Parameters
    ----------
    places
        Where the samples stand in their order.
    floor
        Similarity of those of which nothing is found.
    keeper
        Holds what was found in so many turns.
    decide
        Of some rows in the order of their places, with their samples, and what is known of them:
        their similarity and neighbor.
    """
    similarity, neighbor = np.full(parts.n, floor), np.full(parts.n, -1, np.int64)
    state = keeper.begin()
    done = 0
    if state is not None and "turns" in state.told:
        done = int(state.told["turns"])
        similarity, neighbor = (
            parts.all_of(state.own[name]) for name in ("similarity", "neighbor")
        )
    elif state is not None:
        keeper.tell("its state is of another way to compare: begun anew")
    turns = _TURNS if keeper.on else 1
    turn = clusters.turn % turns
    mine = np.flatnonzero((clusters.owner == parts.group.rank) & (turn >= done))
    order = np.lexsort((places[mine], turn[mine]))
    at = np.empty(len(mine), np.int64)
    at[order] = np.arange(len(mine))
    with counted(2 * parts.n) as progress:
        rows = np.empty((len(mine), parts.d), parts.store.dtype)
        for tile in parts.tiles:
            progress.step(tile.stop - tile.start)
            sent = parts.broadcast(tile)
            first, end = np.searchsorted(mine, [tile.start, tile.stop])
            rows[at[first:end]] = sent[mine[first:end] - tile.start]
            del sent
        mine = mine[order]
        for now in range(done, turns):
            first, end = np.searchsorted(turn[mine], [now, now + 1])
            its = mine[first:end]
            if len(its):
                similarity[its], neighbor[its] = decide(
                    rows[first:end], its, similarity[its], neighbor[its]
                )
            samples = np.flatnonzero(turn == now)
            progress.step(len(samples))
            owners = clusters.owner[samples].astype(np.int64)
            own = samples[owners == parts.group.rank]
            similarity[samples] = parts.join(owners, similarity[own])
            neighbor[samples] = parts.join(owners, neighbor[own])
            if keeper.due():
                here = slice(parts.own.start, parts.own.stop)
                keeper.save(
                    {"turns": now + 1},
                    own={"similarity": similarity[here], "neighbor": neighbor[here]},
                )
    return similarity, neighbor

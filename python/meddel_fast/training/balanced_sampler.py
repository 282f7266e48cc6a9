"""Batches balanced over a tree of clusters, for those who do not want to cut their pool.

No torch here: what a ``DataLoader`` takes as a sampler is whatever has a length and gives indices.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.arrays import check_int
from meddel_fast.selectors.base import random_keys
from meddel_fast.selectors.hierarchy import HierarchyResult

Int = NDArray[np.int64]


class BalancedSampler:
    """Indices of samples, drawn evenly from the clusters of a tree, level by level.

    An epoch's draws are divided evenly among the coarsest clusters, what each gets among those
    inside it, and so on down to samples, as :func:`meddel_fast.selectors.hierarchical` divides a
    budget; and they are strewn evenly over the epoch, so that each batch is balanced as well.
    Members of a lowest cluster are drawn at random, each as often as the others or once more.
    (Chen et al. 2025, arXiv 2503.18709, train on batches that are drawn evenly from the clusters of
    such a tree; how draws are strewn is this package's own.)

    Goes to a ``DataLoader`` as ``sampler=``, or as the ``sampler`` of a ``BatchSampler``.

    Parameters
    ----------
    hierarchy
        The tree, of :func:`meddel_fast.selectors.build_hierarchy`. ``hierarchy[rows]`` has some of
        the samples only; indices are then places in `rows`.
    length
        Samples that an epoch draws, of all ranks together; by default as many as there are.
    repeats
        How often an epoch draws a sample at most. Clusters whose samples do not suffice get less
        than the others. Without a limit (None) a straggler that has a coarse cluster for itself
        comes as often as all samples of another together.
    seed
        Of all that is drawn; each epoch's draws are others.
    rank, world_size
        Which part of the draws is this process's: of each `world_size` one. By default those of
        ``torch.distributed`` where that has been started, else 0 of 1.

    Raises
    ------
    TypeError, ValueError
        An argument is out of range, or `repeats` of all samples come to less than `length`; the
        message names it.

    Notes
    -----
    Every rank draws equally many, ``ceil(length / world_size)``; what these come to beyond `length`
    (fewer than `world_size`) are the epoch's first draws again. An epoch takes O(levels (n +
    length) log(n + length)) to plan when its first index is asked for, on every rank alike.
    """

    def __init__(
        self,
        hierarchy: HierarchyResult,
        *,
        length: int | None = None,
        repeats: int | None = 4,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        if not isinstance(hierarchy, HierarchyResult):
            raise TypeError(f"hierarchy must be a HierarchyResult, got {type(hierarchy).__name__}")
        if hierarchy.n == 0:
            raise ValueError("hierarchy must have samples in it, got none")
        if (rank is None) != (world_size is None):
            raise ValueError("rank and world_size must be given together, got one of them")
        own_rank, own_size = _of_the_job() if rank is None else (rank, world_size)
        self.world_size = check_int("world_size", own_size, 1)
        self.rank = check_int("rank", own_rank, 0, self.world_size - 1)
        self.repeats = None if repeats is None else check_int("repeats", repeats, 1)
        most = None if self.repeats is None else self.repeats * hierarchy.n
        why = "" if most is None else f" ({hierarchy.n} samples, each {repeats} times)"
        wanted = hierarchy.n if length is None else length
        self.length = check_int("length", wanted, 1, most, why)
        self.seed = check_int("seed", seed, 0, 2**32 - 1)
        self.epoch = 0
        self._tree, self._tree_sha256 = hierarchy, _sha256(hierarchy)
        self._begin = self._drawn = 0

    def __len__(self) -> int:
        """Return how many samples an epoch draws on this rank."""
        return -(-self.length // self.world_size)

    def __iter__(self) -> Iterator[int]:
        """Yield the epoch's indices, from where a loaded state left off if there is one."""
        begin, self._begin = self._begin, 0
        places = np.arange(self.rank, len(self) * self.world_size, self.world_size) % self.length
        own = self.draws()[places]
        self._drawn = begin
        for index in own[begin:].tolist():
            self._drawn += 1
            yield index
        self._drawn = 0

    def set_epoch(self, epoch: int) -> None:
        """Draw what is this epoch's, 0 or more, from now on."""
        epoch = check_int("epoch", epoch, 0, 2**32 - 1)
        if epoch != self.epoch:
            self.epoch, self._begin, self._drawn = epoch, 0, 0

    def state_dict(self, drawn: int | None = None) -> dict[str, Any]:
        """Return what :meth:`load_state_dict` goes on from.

        Parameters
        ----------
        drawn
            How many samples of this epoch this rank has used; by default those that it handed out.
            A ``DataLoader`` with workers reads ahead of what it gives: say then what was used.
        """
        used = self._drawn if drawn is None else check_int("drawn", drawn, 0, len(self))
        return {
            "seed": self.seed,
            "length": self.length,
            "repeats": self.repeats,
            "hierarchy_sha256": self._tree_sha256,
            "epoch": self.epoch,
            "drawn": used * self.world_size,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state, of as many ranks or of others; the next iteration does.

        Raises
        ------
        ValueError
            It is of other settings or of another tree, or its draws do not divide among the ranks.
        """
        own = self.state_dict()
        for name in ("seed", "length", "repeats", "hierarchy_sha256"):
            if state[name] != own[name]:
                raise ValueError(f"{name} must be the state's, {state[name]!r}, got {own[name]!r}")
        drawn = check_int("drawn", state["drawn"], 0, len(self) * self.world_size)
        if drawn % self.world_size:
            raise ValueError(
                f"drawn must divide among {self.world_size} ranks, got {drawn} by all together"
            )
        self.epoch = check_int("epoch", state["epoch"], 0, 2**32 - 1)
        self._begin = self._drawn = drawn // self.world_size

    def draws(self) -> Int:
        """Return all that the epoch draws, of all ranks, int64 of shape (length,), in its order."""
        tree, seed = self._tree, (self.seed << 32) + self.epoch
        keys = random_keys(tree.n + sum(tree.levels) + self.length * len(tree.levels), seed)
        parents = (*tree.assignments[1:], np.zeros(tree.levels[-1], np.int64))
        starts = tree.n + np.cumsum((0, *tree.levels))
        counts = [np.array([self.length])]
        for level, parent, start in zip(
            range(len(parents))[::-1], parents[::-1], starts[-2::-1], strict=True
        ):
            size = np.bincount(tree.labels(level), minlength=tree.levels[level])
            room = np.minimum(size * (self.repeats or self.length), self.length)
            counts.append(shares(counts[-1], room, parent, keys[start : start + len(parent)]))
        counts.reverse()
        cluster = np.repeat(np.arange(tree.levels[0]), counts[0])
        turn = np.arange(self.length) - np.repeat(np.cumsum(counts[0]) - counts[0], counts[0])
        found = _members(tree.assignments[0], keys[: tree.n], cluster, turn)
        place = starts[-1]
        for count, parent in zip(counts[:-1], parents, strict=True):
            when = (turn + keys[place : place + self.length]) / count[cluster]
            place += self.length
            above = parent[cluster]
            order = np.lexsort((when, above))
            found, cluster = found[order], above[order]
            turn = np.arange(self.length) - np.searchsorted(cluster, cluster)
        return found


def shares(total: Int, room: Int, parent: Int, keys: NDArray[np.float64]) -> Int:
    """Divide each parent's total evenly among its children, none of which gets more than its room.

    min(room, t) for the t at which these come to the total; t as a whole number, and one more for
    those of the lowest keys. A child without room gets nothing.

    Parameters
    ----------
    total : int64, shape (p,)
        Not more than the room of all children, for each parent.
    room, parent : int64, shape (k,)
    keys : float64, shape (k,)
    """
    order = np.lexsort((room, parent))
    first = np.searchsorted(parent[order], parent[order])
    number = np.bincount(parent, minlength=len(total))
    before = np.cumsum(room[order]) - room[order]
    before -= before[first]
    left = number[parent[order]] - (np.arange(len(order)) - first)
    full = np.empty(len(room), bool)  # as t is at least its room
    full[order] = before + left * room[order] <= total[parent[order]]
    rest = total - np.bincount(parent, np.where(full, room, 0), len(total)).astype(np.int64)
    others = np.maximum(number - np.bincount(parent[full], minlength=len(total)), 1)
    ranked = np.lexsort((keys, full, parent))
    place = np.empty(len(room), np.int64)
    place[ranked] = np.arange(len(room)) - first
    more = place < (rest % others)[parent]
    return np.where(full, room, (rest // others)[parent] + more)


def _members(label: Int, keys: NDArray[np.float64], cluster: Int, turn: Int) -> Int:
    """Return the samples whose turns these are in their clusters, in the order of their keys."""
    order = np.lexsort((keys, label))
    size = np.bincount(label)
    found: Int = order[(np.cumsum(size) - size)[cluster] + turn % size[cluster]]
    return found


def _sha256(tree: HierarchyResult) -> str:
    """Return what tells a tree from others, as 64 hex digits."""
    digest = hashlib.sha256()
    for assignment in tree.assignments:
        digest.update(f"{assignment.shape}".encode())
        digest.update(assignment.astype("<i8").tobytes())
    return digest.hexdigest()


def _of_the_job() -> tuple[int, int]:
    """Return this process's rank and the number of ranks, as torch has them."""
    distributed = getattr(sys.modules.get("torch"), "distributed", None)
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()

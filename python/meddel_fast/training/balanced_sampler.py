"""Batches balanced over a tree of clusters, for those who do not want to cut their pool.

No torch here: what a ``DataLoader`` takes as a sampler is whatever has a length and gives indices.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from meddel_fast.arrays import check_int
from meddel_fast.selectors.base import random_keys
from meddel_fast.selectors.hierarchy import HierarchyResult

Int = NDArray[np.int64]

_AT_ONCE = 4096  # indices that are worked out together


class BalancedSampler:
    """Indices of samples, drawn evenly from the clusters of a tree, level by level.

    The coarsest clusters take turns: in each round every one of them comes once, in a new random
    order. A cluster whose turn it is passes it on to the cluster inside it that has waited longest,
    down to a sample. Whatever stretch of the stream is looked at, the turns of two clusters of the
    coarsest level differ by 2 at most, and among the clusters inside one, or the samples of a
    lowest one, by 1. A sample comes again once all others of its lowest cluster have come. (Chen et
    al. 2025, arXiv 2503.18709, train on batches drawn evenly from the clusters of such a tree; the
    turns are this package's own.)

    Goes to a ``DataLoader`` as ``sampler=``, or as the ``sampler`` of a ``BatchSampler``.

    Parameters
    ----------
    hierarchy
        The tree, of :func:`meddel_fast.selectors.build_hierarchy`. ``hierarchy[rows]`` has some of
        the samples only; indices are then places in `rows`.
    length
        Samples that an epoch draws, of all ranks together; by default as many as there are.
    seed
        Of all that is drawn.
    rank, world_size
        Which part of the stream to draw: of each `world_size` draws one. By default those of
        ``torch.distributed`` where that has been started, else 0 of 1.

    Raises
    ------
    TypeError, ValueError
        An argument is out of range; the message names it.

    Notes
    -----
    The stream goes on from epoch to epoch: epoch e begins at its draw ``e * length``. Every rank
    draws equally many, ``ceil(length / world_size)``; what these come to beyond `length` (fewer
    than `world_size`) are the first draws of the next epoch. Any draw is found from its place
    alone, in O(levels); 16 bytes a sample are held.
    """

    def __init__(
        self,
        hierarchy: HierarchyResult,
        *,
        length: int | None = None,
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
        self.length = hierarchy.n if length is None else check_int("length", length, 1)
        self.seed = check_int("seed", seed, 0, 2**32 - 1)
        self.epoch = 0
        self._tree_sha256 = _sha256(hierarchy)
        self._levels = _levels(hierarchy, self.seed)
        self._begin = self._drawn = 0

    def __len__(self) -> int:
        """Return how many samples an epoch draws on this rank."""
        return -(-self.length // self.world_size)

    def __iter__(self) -> Iterator[int]:
        """Yield the epoch's indices, from where a loaded state left off if there is one."""
        begin, self._begin = self._begin, 0
        self._drawn = begin
        for first in range(begin, len(self), _AT_ONCE):
            draws = np.arange(first, min(len(self), first + _AT_ONCE))
            places = self.epoch * self.length + draws * self.world_size + self.rank
            for index in self.draw(places).tolist():
                self._drawn += 1
                yield index
        self._drawn = 0

    def set_epoch(self, epoch: int) -> None:
        """Draw the part of the stream that is this epoch's, 0 or more, from now on."""
        epoch = check_int("epoch", epoch, 0)
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
            "hierarchy_sha256": self._tree_sha256,
            "epoch": self.epoch,
            "drawn": used * self.world_size,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state, of as many ranks or of others; the next iteration does.

        Raises
        ------
        ValueError
            It is of another seed, length or tree, or its draws do not divide among the ranks.
        """
        own = self.state_dict()
        for name in ("seed", "length", "hierarchy_sha256"):
            if state[name] != own[name]:
                raise ValueError(f"{name} must be the state's, {state[name]!r}, got {own[name]!r}")
        most = len(self) * self.world_size
        drawn = check_int("drawn", state["drawn"], 0, most)
        if drawn % self.world_size:
            raise ValueError(
                f"drawn must divide among {self.world_size} ranks, got {drawn} by all together"
            )
        self.epoch = check_int("epoch", state["epoch"], 0)
        self._begin = self._drawn = drawn // self.world_size

    def draw(self, places: Int) -> Int:
        """Return the samples at some places, 0 or more, of the endless stream."""
        roots = self._levels[0].size[0]
        turn, slot = np.divmod(places, roots)
        rounds, which = np.unique(turn, return_inverse=True)
        order = np.stack([self._order_of_round(number) for number in rounds.tolist()])
        found: Int = order[which, slot]
        for level in self._levels[1:]:
            turn, slot = np.divmod(turn, level.size[found])
            found = level.members[level.start[found] + slot]
        return found

    def _order_of_round(self, number: int) -> Int:
        """Return the coarsest clusters in the order of their turns in a round."""
        clusters = self._levels[0].members
        keys = random_keys(len(clusters), (self.seed << 32) + number + 1)
        return clusters[np.argsort(keys, kind="stable")]


class _Level(NamedTuple):
    """What is inside each cluster of a level: `size` of `members` from `start` on."""

    members: Int
    start: Int
    size: Int


def _levels(tree: HierarchyResult, seed: int) -> list[_Level]:
    """Return what is inside the root, the coarsest clusters, and so on, in random orders.

    Of a tree of which samples have been taken out, clusters that are left empty get no turns.
    """
    keys = random_keys(tree.n + sum(tree.levels), seed)
    levels, some, start = list[_Level](), np.arange(tree.n), 0
    sizes = (tree.n, *tree.levels)
    above = (*tree.assignments, np.zeros(tree.levels[-1], np.int64))
    parents = (*tree.levels, 1)
    for size, parent, clusters in zip(sizes, above, parents, strict=True):
        own = keys[start : start + size]
        members = some[np.lexsort((own[some], parent[some]))]
        inside = np.bincount(parent[some], minlength=clusters)
        levels.append(_Level(members, np.cumsum(inside) - inside, inside))
        some, start = np.flatnonzero(inside), start + size
    return levels[::-1]


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

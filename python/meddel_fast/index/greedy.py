"""What an arrival and a removal do to the kept set of greedy deduplication.

The state is two arrays by position, the order of arrival: ``cover``, a sample's representative
(itself when it is kept, :data:`REMOVED` when it has left), and ``similarity``, the cosine to it
(NaN for kept samples). It is always that of ``deduplicate(rule="greedy")`` of the samples that are
there, in order of arrival.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast import ops
from meddel_fast.index.candidates import Pairs

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

REMOVED = -1
_OPEN = -2  # while it is not known that a sample is covered
CHUNK = 4096  # new rows compared with one another at a time: at most 8 million pairs, 200 MB
_AHEAD = 256  # samples whose later neighbours are looked up together


def admit(
    x: NDArray[Any],
    positions: Ints,
    old: Pairs,
    threshold: float,
    threads: int,
    tell: Callable[[int], None],
) -> tuple[Ints, Floats]:
    """Decide on new samples, given their pairs with the kept ones.

    Parameters
    ----------
    x : shape (n, d)
        The new samples, in order of arrival.
    positions : int64, shape (n,)
        Their positions, rising.
    old
        Their similar pairs with samples that are kept.
    threshold, threads
        As for :func:`meddel_fast.similar_pairs`.
    tell
        Called with how many have been decided on.

    Returns
    -------
    cover : int64, shape (n,)
        Positions.
    similarity : float64, shape (n,)
    """
    n = len(x)
    cover, best = np.full(n, _OPEN), np.full(n, -np.inf)
    _improve(cover, best, old.row, old.position, old.similarity)
    kept = np.empty(0, np.int64)
    for a in range(0, n, CHUNK):
        part = slice(a, min(n, a + CHUNK))
        if len(kept):
            i, j, found = ops.similar_pairs(x[part], x[kept], threshold=threshold, threads=threads)
            _improve(cover, best, a + i, positions[kept[j]], found)
        i, j, found = ops.similar_pairs(x[part], threshold=threshold, threads=threads)
        _sweep(cover[part], best[part], positions[part], i, j, found)
        kept = np.concatenate([kept, a + np.flatnonzero(cover[part] == _OPEN)])
        tell(part.stop)
    cover[kept], best[kept] = positions[kept], np.nan
    return cover, best


def _improve(cover: Ints, best: Floats, row: Ints, position: Ints, similarity: Floats) -> None:
    """Let each row have the most similar of these covers, the first of equals."""
    order = np.lexsort((position, -similarity, row))
    row, position, similarity = row[order], position[order], similarity[order]
    top = np.flatnonzero(np.diff(row, prepend=-1))
    row, position, similarity = row[top], position[top], similarity[top]
    # Covers come in order of arrival from one call to the next: an equal one is a later one.
    better = similarity > best[row]
    cover[row[better]], best[row[better]] = position[better], similarity[better]


def _sweep(
    cover: Ints, best: Floats, positions: Ints, i: Ints, j: Ints, similarity: Floats
) -> None:
    """Let samples that nothing covers cover later ones; pairs (i < j) are sorted."""
    earlier, begin = np.unique(i, return_index=True)
    for row, a, b in zip(earlier, begin, np.append(begin, len(i))[1:], strict=True):
        if cover[row] != _OPEN:
            continue
        better = similarity[a:b] > best[j[a:b]]
        later = j[a:b][better]
        cover[later], best[later] = positions[row], similarity[a:b][better]


class Removal:
    """Takes samples out and lets what follows from it follow, in order of arrival.

    A sample that only removed ones covered is kept again; a later kept one that is similar to it is
    then covered, and what only that one covered may be kept again, and so on. Only samples that
    such a change can reach are looked at.

    Parameters
    ----------
    cover, similarity : shape (n,)
        The state, which is changed.
    covers
        Gives the pairs of samples (by place in the list of positions) with kept ones.
    neighbours
        The same with all that have not left.
    """

    def __init__(
        self,
        cover: Ints,
        similarity: Floats,
        covers: Callable[[Ints], Pairs],
        neighbours: Callable[[Ints], Pairs],
    ) -> None:
        self._cover, self._similarity = cover, similarity
        self._find_covers, self._find_neighbours = covers, neighbours
        self._pending: list[int] = []  # a heap of those to decide on again
        self._queued: set[int] = set()
        self._covers: dict[int, dict[int, float]] = {}  # of pending ones, once looked up
        self._later: dict[int, list[tuple[int, float]]] = {}

    def run(self, removed: Ints) -> None:
        """Take out the samples at these positions, which have not left yet."""
        kept = removed[self._cover[removed] == removed]
        self._cover[removed], self._similarity[removed] = REMOVED, np.nan
        for follower in np.flatnonzero(np.isin(self._cover, kept)):
            self._queue(int(follower))
        while self._pending:
            position = heapq.heappop(self._pending)
            if position not in self._covers:
                self._look_up(position)
            self._queued.remove(position)
            self._decide(position, self._valid(position))
            del self._covers[position]

    def _queue(self, position: int) -> None:
        if position not in self._queued:
            self._queued.add(position)
            heapq.heappush(self._pending, position)

    def _look_up(self, position: int) -> None:
        """Look up what kept samples cover this one and the others that wait."""
        asked = [position, *(p for p in self._pending if p not in self._covers)]
        for p in asked:
            self._covers[p] = {}
        pairs = self._find_covers(np.array(asked))
        for row, cover, similarity in zip(*(a.tolist() for a in pairs[:3]), strict=True):
            if cover < asked[row]:
                self._covers[asked[row]][cover] = similarity

    def _valid(self, position: int) -> dict[int, float]:
        """Those that cover a sample and are kept now."""
        return {c: s for c, s in self._covers[position].items() if self._cover[c] == c}

    def _decide(self, position: int, covers: dict[int, float]) -> None:
        was_kept = self._cover[position] == position
        if covers:
            best = max(covers, key=lambda c: (covers[c], -c))
            self._cover[position], self._similarity[position] = best, covers[best]
            if was_kept:
                for follower in np.flatnonzero(self._cover == position):
                    self._queue(int(follower))
        elif not was_kept:
            self._cover[position], self._similarity[position] = position, np.nan
            self._keep(position)

    def _keep(self, position: int) -> None:
        """Let a sample that is kept from now on cover later ones."""
        if position not in self._later:
            self._look_ahead(position)
        for later, similarity in self._later.pop(position):
            if later in self._covers:
                self._covers[later][position] = similarity
            elif later in self._queued:
                continue  # it will be looked up
            elif self._cover[later] == later:
                self._covers[later] = {position: similarity}
                self._queue(later)
            elif (similarity, -position) > (self._similarity[later], -self._cover[later]):
                self._cover[later], self._similarity[later] = position, similarity

    def _look_ahead(self, position: int) -> None:
        """Look up the later neighbours of a sample, and of those likely to be kept next."""
        next_ = (
            p
            for p in heapq.nsmallest(16 * _AHEAD, self._pending)
            if p in self._covers and p not in self._later and not self._valid(p)
        )
        asked = [position, *(p for p, _ in zip(next_, range(_AHEAD - 1), strict=False))]
        for p in asked:
            self._later[p] = []
        pairs = self._find_neighbours(np.array(asked))
        for row, later, similarity in zip(*(a.tolist() for a in pairs[:3]), strict=True):
            if later > asked[row]:
                self._later[asked[row]].append((later, similarity))

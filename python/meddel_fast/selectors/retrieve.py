"""Retrieval: what a pool has that is like some curated or labelled samples."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from meddel_fast import ops
from meddel_fast.selectors import options, seeds
from meddel_fast.selectors.base import random_keys, to_numpy
from meddel_fast.selectors.clusters import Clusters, cluster_rows
from meddel_fast.selectors.plan import Choice, Task, scores_by_rank
from meddel_fast.selectors.selector import selector
from meddel_fast.selectors.strata import rank_within

_DEPTH = 16  # rounds: so often every sample could be in a list
_ENTRIES, _ENTRY = 1 << 22, 64  # neighbours of seeds that are held together, and bytes of each


@selector(
    paper="Oquab et al. 2024 (DINOv2)",
    cost="O(n m d) at worst for m seeds, k-means by cluster; with dedup O(b^2 d) at worst",
    good_for="more of what some curated or labelled samples show, and not of others",
    checks={
        "like": seeds.rows,
        "unlike": seeds.rows,
        "mode": options.choice("sample", "cluster"),
        "each": options.count(),
        "dedup": options.number(-1.0, 1.0),
        "strength": options.number(0.0, 1e6),
        "pick": options.choice("random", "near"),
        "min_seeds": options.count(),
        **options.CLUSTERS,
    },
    sets=("like", "unlike"),
    adds=("filled", "copies", "pushed"),
    only={
        "strength": ("unlike", None),
        **dict.fromkeys(("pick", "min_seeds", *options.CLUSTERS), ("mode", "cluster")),
    },
)
def retrieve(
    task: Task,
    *,
    like: Any,
    unlike: Any = None,
    mode: str = "sample",
    each: int | None = None,
    dedup: float | None = None,
    strength: float = 1.0,
    pick: str = "random",
    min_seeds: int = 1,
    clusters: int | None = None,
    max_iterations: int = 100,
) -> Iterator[Choice]:
    """Keep what is most similar to each of some seeds, or in the same clusters (DINOv2).

    By "sample", for many seeds: the nearest sample of each seed, then the second nearest of each,
    and so on; one that is near to several counts once. By "cluster", for few seeds: samples of the
    clusters in which seeds lie, the first of each such cluster, then the second of each, and so
    on. In a round what is more similar to its seed comes first, or what is in the cluster with
    more seeds; then the lower index.

    Parameters
    ----------
    like : shape (m, d)
        Embeddings of the seeds, made as those of x were. Rows of x may serve: ``like=x[rows],
        selected=rows``.
    unlike : shape (u, d), optional
        Embeddings of what is not wanted. A sample is pushed away, behind all others, when its score
        is not above 0: by a `strength` of 1 when it is nearer to one of these than to any seed.
    mode
        "sample" or "cluster".
    each
        How many rounds there are: so many samples for each seed (4 or 32 in the paper), or of each
        cluster (10,000). None: as many as the budget takes, for seeds at most 16 n / m.
    dedup
        A sample is left out when its cosine to one that is kept already is at or above this.
    strength
        Of `unlike`, from 0 (none) on.
    pick
        In a cluster: "random", or what is "near" to a seed first.
    min_seeds
        Clusters with fewer seeds are passed over (4 in the paper).
    clusters
        Of the spherical k-means; None for
        :func:`~meddel_fast.selectors.clusters.default_clusters` (100,000 in the paper).
    max_iterations
        At most this many iterations of k-means.

    Returns
    -------
    Selection
        ``scores`` are len .. 1 for kept samples; of the others, less the highest of these, the
        highest cosine to a seed less `strength` times that to one of `unlike` (at least 0).
        ``distance`` is 1 - the cosine to the nearest seed, ``cluster`` which one that is, or the
        cluster (counted on from class to class where the budget is split).

    Notes
    -----
    Where that comes to fewer than the budget, what is left is kept in this order: by score; what
    `dedup` left out; what was pushed away, by score. ``settings`` count each (``filled``,
    ``copies``, ``pushed``), and the seeds of which not even the first sample is kept
    (``unserved``); a warning tells of them. Where the budget is split, each part warns by itself,
    and ``unserved`` is not counted.
    """
    seeds.check_width(task, like=like, unlike=unlike)
    near, seed = seeds.highest(task, like)
    score, eligible = near, np.arange(task.n)
    if unlike is not None:
        score = near - strength * np.maximum(seeds.highest(task, unlike)[0], 0.0)
        eligible = np.flatnonzero(score > 0.0)
    about: dict[str, Any] = {"seeds": len(like), "mode": mode, "each": each, "dedup": dedup}
    about |= {"strength": strength} if unlike is not None else {}
    if mode == "sample":
        lists: _Nearest | _Members = _Nearest(task, like, eligible)
        group = seed
    else:
        found = cluster_rows(task.x, clusters, max_iterations, task.seed, task.threads)
        about |= {"pick": pick, "min_seeds": min_seeds, **found.settings}
        key = random_keys(task.n, task.seed) if pick == "random" else score
        lists, group = _Members(task, like, eligible, found, key, min_seeds), found.label
    sweep = _sweep(task, lists, each, dedup, _rest(task, eligible, score))
    pushed = _rest(task, np.setdiff1d(np.arange(task.n), eligible), score)
    for count in task.counts:
        order, copies, told = _first(sweep, pushed, count - len(task.selected))
        kept = np.concatenate([task.selected, order])
        told["unserved"] = lists.unserved(np.concatenate([kept, copies]))
        _tell(count, len(like), told)
        scores = scores_by_rank(order, score)
        fields = {} if dedup is None else _fates(task, kept, copies)
        yield Choice(order, scores, about | told, distance=1.0 - near, cluster=group, **fields)


def _rest(task: Task, samples: NDArray[np.int64], score: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return samples by falling score, then rising index, without those selected already."""
    return task.without_selected(samples[np.argsort(-score[samples], kind="stable")])


def _entries(task: Task) -> int:
    """Return how many neighbours may be held at a time."""
    return _ENTRIES if task.memory is None else min(_ENTRIES, task.memory // _ENTRY // 4)


class _Nearest:
    """The samples nearest to each seed: round r has the r-th nearest of all of them."""

    def __init__(self, task: Task, like: Any, eligible: NDArray[np.int64]) -> None:
        self._task, self._like, self._eligible = task, like, eligible
        self.width = len(like)
        self.rounds = max(1, min(len(eligible), math.ceil(_DEPTH * len(eligible) / self.width)))
        self._first = np.full(self.width, -1)

    def order(self, rounds: int) -> NDArray[np.int64]:
        """Return the samples of the first rounds, each once, as they are retrieved."""
        x, eligible = self._task.x, self._eligible
        if len(eligible) == 0:
            return eligible
        turn = np.full(self._task.n, rounds)  # the first in which a seed has the sample
        best = np.full(self._task.n, -np.inf)  # by what cosine
        step = max(1, _entries(self._task) // rounds)
        for start in range(0, self.width, step):
            found = ops.topk_similarity(
                self._like[start : start + step],
                x if len(eligible) == self._task.n else x[eligible],
                k=rounds,
                memory=self._task.memory,
                threads=self._task.threads,
            )
            samples = eligible[to_numpy(found.indices)]
            self._first[start : start + step] = samples[:, 0]
            before = turn.copy()
            np.minimum.at(turn, samples, np.broadcast_to(np.arange(rounds), samples.shape))
            best[turn < before] = -np.inf
            newest = turn[samples] == np.arange(rounds)
            np.maximum.at(best, samples[newest], to_numpy(found.similarity)[newest])
        there = np.flatnonzero(turn < rounds)
        return there[np.lexsort((there, -best[there], turn[there]))]

    def unserved(self, there: NDArray[np.int64]) -> int:
        """Return the number of seeds whose nearest sample is not among these."""
        return int(np.count_nonzero(~np.isin(self._first, there)))


class _Members:
    """The samples of the clusters that seeds lie in: round r has the r-th of each cluster."""

    def __init__(
        self,
        task: Task,
        like: Any,
        eligible: NDArray[np.int64],
        found: Clusters,
        key: NDArray[np.float64],
        min_seeds: int,
    ) -> None:
        place = ops.topk_similarity(like, found.centroids, k=1, threads=task.threads)
        self._seeds = to_numpy(place.indices)[:, 0]
        self._label = found.label
        number = np.bincount(self._seeds, minlength=len(found.centroids))
        first = np.isin(eligible, task.selected)
        turn = rank_within(found.label[eligible], np.where(first, np.inf, key[eligible]))
        many = number[found.label[eligible]]
        inside = many >= min_seeds
        order = np.lexsort((eligible[inside], -many[inside], turn[inside]))
        self._samples, self._turn = eligible[inside][order], turn[inside][order]
        self.width = max(1, int(np.count_nonzero(number >= min_seeds)))
        self.rounds = int(np.max(self._turn, initial=0)) + 1

    def order(self, rounds: int) -> NDArray[np.int64]:
        """Return the samples of the first rounds, as they are retrieved."""
        return self._samples[: np.searchsorted(self._turn, rounds)]

    def unserved(self, there: NDArray[np.int64]) -> int:
        """Return the number of seeds in whose cluster is none of these."""
        return int(np.count_nonzero(~np.isin(self._seeds, self._label[there])))


class _Swept(NamedTuple):
    """Samples in the order in which they are wanted, the first `listed` by seeds or clusters.

    `keep`: no near copy of an earlier one that is kept.
    """

    order: NDArray[np.int64]
    listed: int
    keep: NDArray[np.bool_]


def _sweep(
    task: Task,
    lists: _Nearest | _Members,
    each: int | None,
    dedup: float | None,
    rest: NDArray[np.int64],
) -> _Swept:
    """Go down the order until there is enough to keep for the largest budget, or all is seen.

    Whether a sample is a copy depends on those before it alone, so not on how far that goes.
    """
    need = max(task.counts) - len(task.selected)
    limit = min(lists.rounds, each or lists.rounds)
    rounds, more = min(limit, math.ceil(2 * need / lists.width)), 0
    keep = np.zeros(0, dtype=bool)
    while True:
        order = task.without_selected(lists.order(rounds))
        listed = len(order)
        if listed == len(rest):  # all are in lists already
            rounds = limit
        if rounds == limit:
            left = rest[~np.isin(rest, order)]
            order = np.concatenate([order, left[:more]])
        known = len(keep)
        keep = np.concatenate([keep, _no_copies(task, order[:known][keep], order[known:], dedup)])
        lacking = need - int(np.count_nonzero(keep))
        if lacking <= 0 or (rounds == limit and more >= len(left)):
            return _Swept(order, listed, keep)
        if rounds == limit:
            more = 2 * more + lacking
        rounds = min(limit, 2 * rounds)


def _no_copies(
    task: Task, kept: NDArray[np.int64], new: NDArray[np.int64], dedup: float | None
) -> NDArray[np.bool_]:
    """Return which of the next samples are no near copies of those kept, or of one another."""
    keep = np.ones(len(new), dtype=bool)
    if dedup is None or len(new) == 0:
        return keep
    kept = np.concatenate([task.selected, kept])
    if len(kept):
        keep = _nearest(task, new, kept)[0] < dedup
    left = np.flatnonzero(keep)
    if len(left):
        found = ops.deduplicate(task.x[new[left]], dedup, rule="greedy", threads=task.threads)
        keep[left] = to_numpy(found.keep)
    return keep


def _nearest(
    task: Task, samples: NDArray[np.int64], kept: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the highest cosine of each sample to a kept one, and which: the first of equals."""
    found = ops.topk_similarity(
        task.x[samples], task.x[kept], k=1, memory=task.memory, threads=task.threads
    )
    return to_numpy(found.similarity)[:, 0], kept[to_numpy(found.indices)[:, 0]]


def _fates(
    task: Task, kept: NDArray[np.int64], copies: NDArray[np.int64]
) -> dict[str, NDArray[Any]]:
    """Return what a choice says of copies that were passed over."""
    reason, of = np.full(task.n, "budget", dtype="<U10"), np.full(task.n, -1)
    similarity = np.full(task.n, np.nan)
    if len(copies):
        reason[copies] = "duplicate"
        similarity[copies], of[copies] = _nearest(task, copies, kept)
    return {"reason": reason, "duplicate_of": of, "similarity": similarity}


def _first(
    swept: _Swept, pushed: NDArray[np.int64], need: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], dict[str, int]]:
    """Return what is kept, the copies that were passed over, and how much was not as asked for."""
    good = np.flatnonzero(swept.keep)
    end = int(good[need - 1]) + 1 if len(good) >= need else len(swept.order)
    copies = swept.order[:end][~swept.keep[:end]]
    good = good[:need]
    used = min(len(copies), need - len(good))
    order = np.concatenate([swept.order[good], copies[:used], pushed])[:need]
    told = {
        "filled": int(np.count_nonzero(good >= swept.listed)),
        "copies": used,
        "pushed": need - len(good) - used,
    }
    return order, copies[used:], told


def _tell(count: int, number: int, told: dict[str, int]) -> None:
    """Warn of what was kept though it was not retrieved, and of seeds without a sample."""
    words = {
        "filled": "in no list of a seed or cluster",
        "copies": "near copies",
        "pushed": "pushed away",
    }
    kept = ", ".join(f"{told[name]} {text}" for name, text in words.items() if told[name])
    parts = [f"of {count} samples {kept}"] if kept else []
    if told["unserved"]:
        parts.append(f"nothing for {told['unserved']} of {number} seeds")
    if parts:
        warnings.warn(f"retrieve: kept {'; '.join(parts)}", UserWarning, stacklevel=1)

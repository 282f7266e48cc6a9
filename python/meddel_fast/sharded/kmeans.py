"""k-means on parts.

Sums run over blocks of 1,024 rows in the order of the whole set, so that parts begin at blocks, and
the processes add to them one after the other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast import _core
from meddel_fast.arrays import KMeansResult, check_int, check_rows
from meddel_fast.common.progress import counted, metered
from meddel_fast.reference import squared_norm
from meddel_fast.sharded.group import Group
from meddel_fast.sharded.parts import BLOCK, Float, Parts, Settings
from meddel_fast.sharded.seeding import HELD, Seeding, code_bytes

_HELD = 64  # bytes an own row: <x, x>, label, distance, weight, and those that follow them
Floats = NDArray[np.float32]


@metered
def kmeans(
    x: Any,
    k: int,
    *,
    spherical: bool = True,
    max_iterations: int = 100,
    seed: int = 0,
    init: Any | None = None,
    memory: int | str | None = None,
    group: Group | None = None,
    threads: int | None = None,
) -> KMeansResult:
    """Do :func:`meddel_fast.kmeans` on parts; each process of a group returns all of it.

    Rows that do not stay in memory are read twice an iteration, and for the seeds some ten times
    altogether (k = 1,000) where the budget has room for their codes, d + 144 bytes a row beside
    what it takes else. With less room, a row without codes is read once a seed.
    """
    settings = Settings.check(x, memory, group, threads)
    max_iterations = check_int("max_iterations", max_iterations, 0)
    seed = check_int("seed", seed, 0)
    parts = Parts("x", x, settings)
    k = check_int("k", k, 1, parts.n, " (the rows of x)")
    if any(bound % BLOCK for bound in parts.bounds if bound < parts.n):
        lengths = np.diff(parts.bounds).tolist()
        raise ValueError(f"x must have a multiple of {BLOCK} rows on each rank, got {lengths}")
    given = None if init is None else check_rows("init", init, settings.threads)
    if given is not None and (given.n, given.d) != (k, parts.d):
        raise ValueError(f"init must have shape {(k, parts.d)}, got {(given.n, given.d)}")
    kept = {"held": _HELD, "everywhere": 16, "beside": 24 * k * parts.d}
    if given is not None:
        parts.plan(**kept)
        centroids, squares = given.floats(), parts.survey()
    else:
        uniforms = np.random.default_rng(seed).random(k)
        room = parts.plan(
            held=HELD, everywhere=0, beside=12 * k * parts.d, wanted=code_bytes(parts)
        )
        squares, rows = Seeding(parts, uniforms, room, spherical=bool(spherical)).run()
        centroids = _floats(parts, rows)
        if not parts.stays:
            parts.plan(**kept)
    return _Lloyd(parts, k, bool(spherical), squares).run(centroids, max_iterations)


class _Lloyd:
    def __init__(self, parts: Parts, k: int, spherical: bool, squares: Float) -> None:
        self._parts, self._k, self._spherical = parts, k, spherical
        self._squares = squares
        self._labels = np.full(len(parts.own), -1, np.int64)
        self._distances = np.empty(len(parts.own))
        self._sums = np.zeros((k, parts.d))

    def run(self, centroids: Floats, max_iterations: int) -> KMeansResult:
        """Go on from the first centroids."""
        iterations, converged = 0, False
        with counted((max_iterations + 1) * self._parts.n) as progress:
            while True:
                progress.step(self._parts.n)
                changed = self._assign(centroids)
                converged = iterations > 0 and not changed.any()
                if converged or iterations == max_iterations:
                    break
                centroids = self._update(centroids, changed)
                iterations += 1
        inertia = float(np.cumsum(self._parts.all_of(_block_sums(self._distances)))[-1])
        labels, distances = map(self._parts.all_of, (self._labels, self._distances))
        return KMeansResult(labels, centroids, distances, inertia, iterations, converged)

    def _assign(self, centroids: Floats) -> NDArray[np.bool_]:
        """Find each row's nearest centroid; return the clusters that rows have left or joined."""
        changed = np.zeros(self._k, np.bool_)
        for tile, rows in self._parts.stream(self._parts.own_tiles):
            here = self._parts.mine(tile)
            labels, _, distances, *_ = _core.kmeans(
                rows, centroids, 0, self._spherical, self._parts.settings.threads
            )
            moved = labels != self._labels[here]
            before = self._labels[here][moved]
            changed[before[before >= 0]] = True
            changed[labels[moved]] = True
            self._labels[here], self._distances[here] = labels, distances
        return np.any(self._parts.group.allgather(changed), axis=0)  # type: ignore[no-any-return]

    def _update(self, centroids: Floats, changed: NDArray[np.bool_]) -> Floats:
        """Make the centroids of the changed clusters anew, and of those without members."""
        counts = np.bincount(self._labels, minlength=self._k)
        counts = np.sum(self._parts.group.allgather(counts), axis=0)
        self._add_up(changed)
        mean = np.zeros_like(self._sums[changed])
        divisors = counts[changed].astype(np.float64)
        if self._spherical:
            divisors = np.sqrt(squared_norm(self._sums[changed]))
        np.divide(self._sums[changed], divisors[:, None], out=mean, where=divisors[:, None] > 0)
        out = centroids.copy()
        out[changed] = mean.astype(np.float32)
        empty = np.flatnonzero(counts == 0)
        if len(empty):
            out[empty] = self._farthest(len(empty), out[empty])
        return out

    def _add_up(self, wanted: NDArray[np.bool_]) -> None:
        """Sum up the members of some clusters; in turn, as the order of the sums is fixed."""
        parts = self._parts
        self._sums[wanted] = 0.0
        for rank in range(parts.group.size):
            if rank == parts.group.rank:
                needed = [t for t in parts.own_tiles if wanted[self._labels[parts.mine(t)]].any()]
                for tile, rows in parts.stream(needed):
                    here = parts.mine(tile)
                    norms = np.sqrt(self._squares[here]) if self._spherical else None
                    self._sums = _core.add_members(
                        rows, self._labels[here], norms, wanted.tolist(), self._sums,
                        parts.settings.threads,
                    )  # fmt: skip
            self._sums = parts.group.broadcast(
                self._sums if rank == parts.group.rank else None, rank
            )

    def _farthest(self, count: int, out: Floats) -> Floats:
        """Fill in the rows that are farthest from their centroids, for clusters without members."""
        parts = self._parts
        order = np.argsort(-self._distances, kind="stable")[:count]
        distances = np.concatenate(parts.group.allgather(self._distances[order]))
        samples = np.concatenate(parts.group.allgather(order + parts.own.start))
        best = samples[np.lexsort((samples, -distances))[:count]]
        rows = _floats(parts, parts.fetch(best)).astype(np.float64)
        if self._spherical:
            norms = np.sqrt(squared_norm(rows))[:, None]
            rows = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
        out[: len(best)] = rows.astype(np.float32)
        return out


def _floats(parts: Parts, rows: NDArray[Any]) -> Floats:
    if parts.store.bfloat16:
        return (rows.astype(np.uint32) << 16).view(np.float32)
    return rows.astype(np.float32)


def _block_sums(values: Float) -> Float:
    """Sum each block of rows, one value after the other (a cumulative sum does not reorder)."""
    whole = len(values) // BLOCK * BLOCK
    sums = np.cumsum(values[:whole].reshape(-1, BLOCK), axis=1)[:, -1]
    if whole == len(values):
        return sums
    return np.append(sums, np.cumsum(values[whole:])[-1])

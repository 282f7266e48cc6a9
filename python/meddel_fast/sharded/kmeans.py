"""k-means on parts.

Sums run over blocks of 1,024 rows in the order of the whole set, so that parts begin at blocks, and
the processes add to them one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast import _core
from meddel_fast.arrays import (
    Job,
    KMeansResult,
    Rows,
    check_float,
    check_init,
    check_int,
    check_rows,
    check_weights,
    most_rows,
    split_centroids,
)
from meddel_fast.common.progress import counted, metered
from meddel_fast.reference import squared_norm
from meddel_fast.sharded.checkpoint import Checkpoint
from meddel_fast.sharded.fingerprint import Fingerprint
from meddel_fast.sharded.group import Group
from meddel_fast.sharded.parts import BLOCK, WORK, Float, Int, Parts, Settings
from meddel_fast.sharded.records import State
from meddel_fast.sharded.seeding import HELD, Seeding, block_sums, code_bytes

_HELD = 64  # bytes an own row: <x, x>, label, distance, weight, and those that follow them
_SORTED = 48  # bytes a row while the second step of a split is planned: orders, copies of both
Floats = NDArray[np.float32]


@metered
def kmeans(
    x: Any,
    k: int,
    *,
    spherical: bool = True,
    max_iterations: int = 100,
    tol: float = 0.0,
    seed: int = 0,
    init: Any = "k-means++",
    sample_weight: Any | None = None,
    memory: int | str | None = None,
    group: Group | None = None,
    checkpoint: Any | None = None,
    threads: int | None = None,
) -> KMeansResult:
    """Do :func:`meddel_fast.kmeans` on parts; each process of a group returns all of it.

    A checkpoint holds the centroids of an iteration, and a hash of the labels before it. Labels are
    found again by the assignment that comes next anyhow.

    Rows that do not stay in memory are read twice an iteration, and for the seeds some ten times
    altogether (k = 1,000) where the budget has room for their codes, d + 144 bytes a row beside
    what it takes else. With less room, a row without codes is read once a seed. A split reads them
    once, and those that its steps look at. Weights are those of all rows, on each process.
    """
    settings = Settings.check(x, memory, group, threads)
    max_iterations = check_int("max_iterations", max_iterations, 0)
    tol = check_float("tol", tol, 0.0, float(np.finfo("d").max))
    seed = check_int("seed", seed, 0)
    drawn = check_init(init)
    parts = Parts("x", x, settings)
    k = check_int("k", k, 1, parts.n, " (the rows of x)")
    if any(bound % BLOCK for bound in parts.bounds if bound < parts.n):
        lengths = np.diff(parts.bounds).tolist()
        raise ValueError(f"x must have a multiple of {BLOCK} rows on each rank, got {lengths}")
    weights = check_weights("sample_weight", sample_weight, parts.n)
    given = None if drawn else check_rows("init", init, settings.threads)
    if given is not None and (given.n, given.d) != (k, parts.d):
        raise ValueError(f"init must have shape {(k, parts.d)}, got {(given.n, given.d)}")
    kept: dict[str, Any] = {"held": _HELD, "everywhere": 16, "beside": 24 * k * parts.d}
    if weights is not None:
        kept["held"] += 16
        kept["everywhere"] += 8
    if drawn == "split":
        kept["everywhere"] += _SORTED
        rows_of_job = min(most_rows(k), parts.n)
        kept["beside"] += rows_of_job * (3 * parts.store.row_bytes + parts.d + WORK)
    options = {
        "k": k, "spherical": bool(spherical), "max_iterations": max_iterations, "tol": tol,
        "seed": seed, "init": drawn if given is None else given.floats(), "sample_weight": weights,
    }  # fmt: skip
    keeper = Checkpoint(checkpoint, "kmeans", options, settings.group, parts)
    state, seeds = None, np.empty((0, parts.d))
    if drawn != "k-means++" or keeper.expected:
        parts.plan(**kept)
        squares = parts.survey()
        state = keeper.begin()
    if drawn == "k-means++" and state is None:
        uniforms = np.random.default_rng(seed).random(k)
        room = parts.plan(
            held=HELD + (0 if weights is None else 8),
            everywhere=0 if weights is None else 8,
            beside=12 * k * parts.d,
            wanted=code_bytes(parts),
        )
        squares, seeds = Seeding(parts, uniforms, room, weights, spherical=bool(spherical)).run()
        if not keeper.expected:
            keeper.begin()
        if not parts.stays:
            parts.plan(**kept)
    run = _Lloyd(parts, k, bool(spherical), weights, squares, keeper)
    if state is not None:
        return run.go_on(state, max_iterations, tol)
    if given is not None:
        centroids = given.floats()
    elif drawn == "split":
        centroids = split_centroids(parts.n, k, seed, weights, run.clusters, run.nearest)
    else:
        centroids = _floats(parts, seeds)
    return run.run(centroids, max_iterations, tol)


class _Lloyd:
    def __init__(
        self,
        parts: Parts,
        k: int,
        spherical: bool,
        weights: Float | None,
        squares: Float,
        keeper: Checkpoint,
    ) -> None:
        self._parts, self._k, self._spherical = parts, k, spherical
        self._all_weights = weights
        own = slice(parts.own.start, parts.own.stop)
        self._weights = None if weights is None else weights[own]
        self._squares, self._keeper = squares, keeper
        self._distances = np.empty(len(parts.own))
        self._forget()

    def _forget(self) -> None:
        self._labels = np.full(len(self._parts.own), -1, np.int64)

    def _weighted(self, values: Float) -> Float:
        return values if self._weights is None else self._weights * values

    def clusters(self, jobs: Iterator[Job]) -> Iterator[Floats]:
        """Return the centroids of a split's jobs, each of which is one process's."""
        parts, threads = self._parts, self._parts.settings.threads
        made: list[Floats] = [np.empty((0, parts.d), np.float32)]
        sizes: list[int] = []
        for number, job in enumerate(jobs):
            rows = parts.fetch(job.rows)
            sizes.append(len(job.uniforms))
            if number % parts.group.size != parts.group.rank:
                continue
            weights = None if self._all_weights is None else self._all_weights[job.rows]
            seeds = _core.kmeans_plus_plus(
                rows, self._spherical, job.uniforms.tolist(), threads, weights
            )
            first = _floats(parts, rows[seeds])
            found = _core.kmeans(rows, first, job.updates, 0.0, self._spherical, weights, threads)
            made.append(found[1])
        left = parts.group.allgather(np.concatenate(made))
        for number, size in enumerate(sizes):
            rank = number % parts.group.size
            yield left[rank][:size]
            left[rank] = left[rank][size:]

    def nearest(self, centroids: Floats) -> tuple[Int, Float]:
        """Return the nearest centroid of all rows, and the distance to it, for a split."""
        self._assign(centroids)
        labels, distances = map(self._parts.all_of, (self._labels, self._distances))
        self._forget()
        return labels, distances

    def go_on(self, state: State, max_iterations: int, tol: float) -> KMeansResult:
        """Go on from an earlier call's state."""
        told = {name: state.told[name] for name in ("iterations", "converged", "labels", "enough")}
        return self.run(state.common["centroids"], max_iterations, tol, **told)

    def run(
        self,
        centroids: Floats,
        max_iterations: int,
        tol: float,
        *,
        iterations: int = 0,
        converged: bool = False,
        labels: str = "",
        enough: float | None = None,
    ) -> KMeansResult:
        """Go on from the centroids after some iterations; `labels` is a hash of those before."""
        if enough is None:
            enough = tol * self._mean_variance() if tol else 0.0
        width = self._parts.d + (self._weights is not None)  # the last has the sum of the weights
        self._sums = np.zeros((self._k, width))

        def save() -> None:
            if self._keeper.due():
                told = {
                    "iterations": iterations, "converged": converged, "enough": enough,
                    "labels": self._hash_of_labels() if iterations else "",
                }  # fmt: skip
                self._keeper.save(told, common={"centroids": centroids})

        if iterations == 0:
            save()  # what the seeding has found
        with counted((max_iterations + 1) * self._parts.n) as progress:
            progress.advance(iterations * self._parts.n)
            while True:
                progress.step(self._parts.n)
                changed = self._assign(centroids)
                if labels:
                    converged |= self._hash_of_labels() == labels
                    labels = ""
                else:
                    converged |= iterations > 0 and not changed.any()
                if converged or iterations == max_iterations:
                    break
                before, centroids = centroids, self._update(centroids, changed)
                shift = squared_norm(centroids.astype(np.float64) - before.astype(np.float64))
                converged = tol > 0.0 and float(np.cumsum(shift)[-1]) <= enough
                iterations += 1
                save()
        inertia = self._sum(self._weighted(self._distances))
        labels_of_all, distances = map(self._parts.all_of, (self._labels, self._distances))
        self._keeper.end()
        return KMeansResult(labels_of_all, centroids, distances, inertia, iterations, converged)

    def _hash_of_labels(self) -> str:
        """Return a hash of the labels of all rows."""
        print_ = Fingerprint()
        print_.add(self._labels[:, None], self._parts.own.start)
        return f"{print_.of_all(self._parts.group):016x}"

    def _sum(self, values: Float) -> float:
        """Add up a value an own row, over all processes."""
        return float(np.cumsum(self._parts.all_of(block_sums(values)))[-1])

    def _mean_variance(self) -> float:
        """Return that of the features, as reference.py states."""
        parts = self._parts
        labels = np.zeros(len(parts.own), np.int64)
        mean = self._add_up(labels, np.ones(1, np.bool_), np.zeros((1, parts.d)), None) / parts.n
        squares = (self._squares > 0).astype(np.float64) if self._spherical else self._squares
        spread = self._sum(squares) / parts.n - float(squared_norm(mean)[0])
        return max(0.0, spread / parts.d)

    def _assign(self, centroids: Floats) -> NDArray[np.bool_]:
        """Find each row's nearest centroid; return the clusters that rows have left or joined."""
        changed = np.zeros(self._k, np.bool_)
        for tile, rows in self._parts.stream(self._parts.own_tiles):
            here = self._parts.mine(tile)
            labels, _, distances, *_ = _core.kmeans(
                rows, centroids, 0, 0.0, self._spherical, None, self._parts.settings.threads
            )
            moved = labels != self._labels[here]
            before = self._labels[here][moved]
            changed[before[before >= 0]] = True
            changed[labels[moved]] = True
            self._labels[here], self._distances[here] = labels, distances
        return np.any(self._parts.group.allgather(changed), axis=0)  # type: ignore[no-any-return]

    def _update(self, centroids: Floats, changed: NDArray[np.bool_]) -> Floats:
        """Make the centroids of the changed clusters anew, and of those without weight."""
        parts = self._parts
        self._sums[changed] = 0.0
        self._sums = self._add_up(self._labels, changed, self._sums, self._weights)
        if self._weights is None:
            counts = np.bincount(self._labels, minlength=self._k)
            mass = np.sum(parts.group.allgather(counts), axis=0).astype(np.float64)
        else:
            mass = self._sums[:, -1]
        sums = self._sums[changed, : parts.d]
        divisors = np.sqrt(squared_norm(sums)) if self._spherical else mass[changed]
        mean = np.zeros_like(sums)
        np.divide(sums, divisors[:, None], out=mean, where=divisors[:, None] > 0)
        out = centroids.copy()
        out[changed] = mean.astype(np.float32)
        empty = np.flatnonzero(mass == 0)
        if len(empty):
            out[empty] = self._farthest(len(empty), out[empty])
        return out

    def _add_up(
        self, labels: Int, wanted: NDArray[np.bool_], sums: Float, weights: Float | None
    ) -> Float:
        """Add members to the sums of some clusters; in turn, as the order of sums is fixed."""
        parts = self._parts
        for rank in range(parts.group.size):
            if rank == parts.group.rank:
                needed = [t for t in parts.own_tiles if wanted[labels[parts.mine(t)]].any()]
                for tile, rows in parts.stream(needed):
                    here = parts.mine(tile)
                    norms = np.sqrt(self._squares[here]) if self._spherical else None
                    sums = _core.add_members(
                        rows, labels[here], norms, None if weights is None else weights[here],
                        wanted.tolist(), sums, parts.settings.threads,
                    )  # fmt: skip
            sums = parts.group.broadcast(sums if rank == parts.group.rank else None, rank)
        return sums

    def _farthest(self, count: int, out: Floats) -> Floats:
        """Fill in the rows that are farthest from their centroids, for clusters without members."""
        parts = self._parts
        far = self._distances
        if self._weights is not None:
            far = np.where(self._weights > 0, far, -1.0)
        order = np.argsort(-far, kind="stable")[:count]
        distances = np.concatenate(parts.group.allgather(far[order]))
        samples = np.concatenate(parts.group.allgather(order + parts.own.start))
        best = samples[np.lexsort((samples, -distances))[:count]]
        rows = _floats(parts, parts.fetch(best)).astype(np.float64)
        if self._spherical:
            norms = np.sqrt(squared_norm(rows))[:, None]
            rows = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
        out[: len(best)] = rows.astype(np.float32)
        return out


def _floats(parts: Parts, rows: NDArray[Any]) -> Floats:
    return Rows(rows, False, parts.store.bfloat16).floats()

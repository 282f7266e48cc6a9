"""FAISS's flat indices and k-means: ``IndexFlatL2``, ``IndexFlatIP``, ``Kmeans``, ``normalize_L2``.

Searches are exact: the order is that of the fp64 truth, ties go to the lowest index (FAISS: by
inner product often to the highest), and only what is returned is rounded to float32 as FAISS does.
Rows and queries are arrays of any numbers, and may be none; they are taken as float32, as there.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from meddel_fast import ops
from meddel_fast.arrays import check_float, check_int
from meddel_fast.compat._faiss_index import (
    METRIC_INNER_PRODUCT,
    METRIC_L2,
    Floats,
    IndexFlat,
    IndexFlatIP,
    IndexFlatL2,
    Int,
    checked,
)
from meddel_fast.compat._search import inner_of_pairs

__all__ = [
    "METRIC_INNER_PRODUCT",
    "METRIC_L2",
    "ClusteringInitMethod_KMEANS_PLUS_PLUS",
    "ClusteringInitMethod_RANDOM",
    "ClusteringParameters",
    "IndexFlat",
    "IndexFlatIP",
    "IndexFlatL2",
    "Kmeans",
    "normalize_L2",
]

ClusteringInitMethod_RANDOM, ClusteringInitMethod_KMEANS_PLUS_PLUS = 0, 1


@dataclass
class ClusteringParameters:
    """What :class:`Kmeans` is told.

    Attributes
    ----------
    niter : int
        Steps; fewer if a step no longer lowers the objective.
    nredo : int
        Runs, of which that of the lowest objective stays.
    spherical : bool
        Centroids have length 1, rows are assigned by inner product.
    seed : int
        Of the first run; one more for each other.
    max_points_per_centroid : int, optional
        Train on at most so many rows a centroid, drawn at random; default: on all (FAISS: 256).
    min_points_per_centroid : int, optional
        Warn of fewer; default: do not (FAISS: 39).
    int_centroids : bool
        Round centroids to whole numbers in each step.
    frozen_centroids : bool
        Given centroids stay as they are, the others move.
    init_method : int
        ``ClusteringInitMethod_KMEANS_PLUS_PLUS`` (FAISS: random), or
        ``ClusteringInitMethod_RANDOM``: any rows.
    early_stop_threshold : float
        Stop when a step lowers the objective by this share of it or less; below 0: never.
    verbose, update_index, check_input_data_for_NaNs, decode_block_size, use_faster_subsampling, \
use_super_kmeans, afkmc2_chain_length
        Taken for FAISS's sake; they change nothing. NaN is always refused.
    """

    niter: int = 25
    nredo: int = 1
    verbose: bool = False
    spherical: bool = False
    int_centroids: bool = False
    update_index: bool = False
    frozen_centroids: bool = False
    min_points_per_centroid: int | None = None
    max_points_per_centroid: int | None = None
    seed: int = 1234
    decode_block_size: int = 32768
    check_input_data_for_NaNs: bool = True  # noqa: N815
    use_faster_subsampling: bool = False
    init_method: int = ClusteringInitMethod_KMEANS_PLUS_PLUS
    afkmc2_chain_length: int = 50
    early_stop_threshold: float = 0.0
    use_super_kmeans: bool = False

    def __post_init__(self) -> None:
        """Check what can be."""
        check_int("niter", self.niter, 0)
        check_int("nredo", self.nredo, 1)
        check_int("seed", self.seed, 0)
        for name in ("min_points_per_centroid", "max_points_per_centroid"):
            if getattr(self, name) is not None:
                check_int(name, getattr(self, name), 1)
        check_float("early_stop_threshold", self.early_stop_threshold, -np.inf, np.inf)
        known = ClusteringInitMethod_RANDOM, ClusteringInitMethod_KMEANS_PLUS_PLUS
        if self.init_method not in known:
            raise ValueError(
                f"init_method must be random (0) or k-means++ (1), got {self.init_method}"
            )


class _Trained(NamedTuple):
    """A run of k-means; its steps are not known before they are asked for."""

    centroids: Floats
    objective: float
    rows: Floats
    start: Floats
    given: Floats
    stats: list[dict[str, Any]] | None


class Kmeans:
    """k-means that keeps its centroids in an index.

    Started from the same centroids it takes Lloyd's steps as FAISS does, by exact distances and
    fp64 sums, on all rows unless told otherwise. Where no centroids are given k-means++ draws them
    (FAISS: random rows). A cluster that lost its members takes the row that is farthest from its
    centroid (FAISS: splits a large one).

    Parameters
    ----------
    d, k : int
        Width of the rows, number of clusters.
    gpu : bool or int
        Taken for FAISS's sake; the result is the same on every device, the CPU works it out.
    **parameters
        As of :class:`ClusteringParameters`. ``progressive_dim_steps`` is not here.

    Attributes
    ----------
    centroids : float32 array of shape (k, d), or None before :meth:`train`
    obj : float64 array of shape (iterations,), or None before :meth:`train`
        Objective at the assignment of each step: sum of squared distances, or of inner products.
        Worked out when it is first asked for, from the rows, which must not have changed.
    iteration_stats : list of dict, or None before :meth:`train`
        Likewise; of each step: "obj", "time" and "time_search" (seconds, from the start of the
        run), "imbalance_factor" (1: all clusters have one size), "nsplit" (always 0).
    index : IndexFlat
        Of the centroids.
    cp : ClusteringParameters
    """

    def __init__(self, d: int, k: int, *, gpu: bool | int = False, **parameters: Any) -> None:
        known = {field.name for field in fields(ClusteringParameters)}
        if unknown := sorted(set(parameters) - known):
            raise TypeError(
                f"Kmeans has no parameters {unknown}, but gpu, {', '.join(sorted(known))}"
            )
        self.d = check_int("d", d, 1)
        self.gpu, self.cp = gpu, ClusteringParameters(**parameters)
        self.index = IndexFlatIP(d) if self.cp.spherical else IndexFlatL2(d)
        self.reset(k)

    def reset(self, k: int | None = None) -> None:
        """Forget the last clustering; the next may have another number of centroids."""
        if k is not None:
            self.k = check_int("k", k, 1)
        self.centroids: Floats | None = None
        self._trained: _Trained | None = None

    @property
    def obj(self) -> NDArray[np.float64] | None:
        """See the attributes."""
        stats = self.iteration_stats
        return None if stats is None else np.array([step["obj"] for step in stats])

    @property
    def iteration_stats(self) -> list[dict[str, Any]] | None:
        """See the attributes."""
        if (done := self._trained) is None:
            return None
        if done.stats is None:
            centroids, stats = self._run(done.rows, done.start, done.given)
            if not np.array_equal(centroids, done.centroids):
                raise RuntimeError("the rows have changed since train: their objective is lost")
            self._trained = done = done._replace(stats=stats, rows=done.rows[:0])
        return done.stats

    def train(self, x: Any, weights: None = None, init_centroids: Any | None = None) -> float:
        """Cluster rows.

        Parameters
        ----------
        x : array of shape (n, d)
            Rows, at least k. Spherical ones are taken to have length 1.
        weights
            Must be None.
        init_centroids : array of shape (at most k, d), optional
            Where to start; those that are missing are drawn.

        Returns
        -------
        float
            The last objective, 0 without a step.

        Raises
        ------
        TypeError, ValueError
            For rows of wrong type or shape, not finite or fewer than k.
        """
        if weights is not None:
            raise ValueError("weights must be None: rows weigh the same here")
        rows = self._some(checked(x, self.d))
        given = np.zeros((0, self.d), np.float32)
        if init_centroids is not None:
            given = checked(init_centroids, self.d)
            check_int("the rows of init_centroids", len(given), 0, self.k, " (k)")
        runs = 1 if len(given) == self.k else self.cp.nredo
        trained = [self._train(rows, given, self.cp.seed + run) for run in range(runs)]
        sign = -1.0 if self.cp.spherical else 1.0
        self._trained = min(trained, key=lambda one: sign * one.objective)
        self.centroids = self._trained.centroids
        self.index.reset()
        self.index.add(self.centroids)
        return self._trained.objective

    def _train(self, rows: Floats, given: Floats, seed: int) -> _Trained:
        start = self._start(rows, given, seed)
        steps = self.cp.niter
        if self.cp.int_centroids or self.cp.frozen_centroids or self.cp.early_stop_threshold != 0:
            centroids, stats = self._run(rows, start, given)
            objective = stats[-1]["obj"] if stats else 0.0
            return _Trained(centroids, objective, rows, start, given, stats)
        if steps == 0:
            return _Trained(start, 0.0, rows, start, given, [])
        # The objective is that of the assignment of the last step, before its centroids move.
        before = self._step(rows, start, steps - 1)
        last = before if before.converged else self._step(rows, before.centroids, 1)
        return _Trained(last.centroids, self._objective(rows, before), rows, start, given, None)

    def assign(self, x: Any) -> tuple[Floats, Int]:
        """Return the value and the index of the nearest centroid of each row, shapes (n,)."""
        if self.centroids is None:
            raise ValueError("train must be called before assign")
        self.index.reset()
        self.index.add(self.centroids)
        value, index = self.index.search(x, 1)
        return value[:, 0], index[:, 0]

    def _some(self, rows: Floats) -> Floats:
        """Return the rows to train on."""
        check_int("k", self.k, 1, len(rows), " (the rows of x)")
        least, most = self.cp.min_points_per_centroid, self.cp.max_points_per_centroid
        if least is not None and len(rows) < self.k * least:
            warnings.warn(
                f"{len(rows)} rows for {self.k} centroids: min_points_per_centroid asks for "
                f"{self.k * least}", stacklevel=3,
            )  # fmt: skip
        if most is None or len(rows) <= self.k * most:
            return rows
        rng = np.random.default_rng(self.cp.seed)
        return rows[np.sort(rng.choice(len(rows), self.k * most, replace=False))]

    def _run(
        self, rows: Floats, start: Floats, given: Floats
    ) -> tuple[Floats, list[dict[str, Any]]]:
        """Take Lloyd's steps one by one, with the objective of each."""
        began = time.monotonic()
        centroids = np.rint(start) if self.cp.int_centroids else start
        state = self._step(rows, centroids, 0)
        stats: list[dict[str, Any]] = []
        settled = False
        while len(stats) < self.cp.niter:
            counts = np.bincount(state.labels, minlength=self.k)
            passed = time.monotonic() - began
            stats.append({
                "obj": self._objective(rows, state), "time": passed, "time_search": passed,
                "imbalance_factor": float(self.k * (counts**2).sum() / len(rows) ** 2), "nsplit": 0,
            })  # fmt: skip
            if settled or self._stalls(stats):
                break
            state = self._step(rows, centroids, 1)
            moved = state.centroids
            if self.cp.frozen_centroids or self.cp.int_centroids:
                moved = np.rint(moved) if self.cp.int_centroids else moved.copy()
                if self.cp.frozen_centroids:
                    moved[: len(given)] = given
                state = self._step(rows, moved, 0)
            settled = self.cp.early_stop_threshold >= 0 and np.array_equal(moved, centroids)
            centroids = moved
        return centroids, stats

    def _objective(self, rows: Floats, state: Any) -> float:
        return float(len(rows) - state.inertia if self.cp.spherical else state.inertia)

    def _stalls(self, stats: list[dict[str, Any]]) -> bool:
        if len(stats) < 2 or self.cp.early_stop_threshold <= 0:
            return False
        before, now = stats[-2]["obj"], stats[-1]["obj"]
        gain = now - before if self.cp.spherical else before - now
        return bool(gain <= self.cp.early_stop_threshold * abs(before))

    def _start(self, rows: Floats, given: Floats, seed: int) -> Floats:
        missing = self.k - len(given)
        if not missing:
            return given
        if self.cp.init_method == ClusteringInitMethod_RANDOM or len(given):
            rng = np.random.default_rng(seed)
            drawn = rows[rng.choice(len(rows), missing, replace=False)]
            return np.concatenate([given, drawn])
        first = ops.kmeans(rows, self.k, spherical=self.cp.spherical, max_iterations=0, seed=seed)
        return np.asarray(first.centroids)

    def _step(self, rows: Floats, centroids: Floats, steps: int) -> Any:
        return ops.kmeans(
            rows, self.k, spherical=self.cp.spherical, max_iterations=steps, init=centroids
        )


def normalize_L2(x: Floats) -> None:  # noqa: N802
    """Scale rows to length 1, in place; rows of zeros stay.

    Parameters
    ----------
    x : float32 array of shape (n, d), C-contiguous

    Raises
    ------
    TypeError, ValueError
        For another type, shape or order.
    """
    if not isinstance(x, np.ndarray) or x.dtype != np.float32:
        raise TypeError(f"x must be a float32 array, got {getattr(x, 'dtype', type(x).__name__)}")
    if x.ndim != 2 or not x.flags.c_contiguous:
        raise ValueError(f"x must be 2-d and C-contiguous, got shape {x.shape}")
    own = np.arange(len(x))
    norms = np.sqrt(inner_of_pairs(x, x, own, own))[:, None]
    np.divide(x, norms, out=x, where=norms > 0, casting="same_kind")

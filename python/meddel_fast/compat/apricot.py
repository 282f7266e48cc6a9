"""apricot's ``FacilityLocationSelection``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.arrays import check_choice, check_int
from meddel_fast.compat._lazy import Coverage, lazy_greedy

Float = NDArray[np.float64]
Int = NDArray[np.int64]

METRICS = ("euclidean", "cosine", "corr", "correlation", "precomputed")
OPTIMIZERS = ("lazy", "naive", "two-stage")  # which are to select the same

_HELD_BYTES = 1 << 31  # of similarities; beyond that rows are worked out when asked for
_BLOCK_BYTES = 1 << 26


class FacilityLocationSelection:
    """Select the samples whose highest similarities to all samples have the greatest sum.

    Greedy, ties to the lowest index. Similarities and sums are in fp64 as in apricot; they are held
    as an (n, n) matrix up to 2 GiB (16,384 samples), and beyond that worked out row by row, where
    the last bit of a row may depend on how many are worked out together.

    Parameters
    ----------
    n_samples : int
        How many to select.
    metric : {"euclidean", "cosine", "corr", "correlation", "precomputed"}
        What similarity is: the largest squared distance less the squared distance; the square of
        the cosine or of the correlation; or X itself is the symmetric matrix of them.
    initial_subset : list or array, optional
        Samples that are selected already: indices, or a mask.
    optimizer : {"lazy", "naive", "two-stage"}
        Here all make the greedy choice, by a lazy algorithm that is exact. In apricot 0.6.1 "lazy",
        its default, does not where rows are repeated. apricot's others are not here.
    optimizer_kwds, n_neighbors, reservoir
        Must be empty or None: what apricot takes them for is not here.
    max_reservoir_size, n_jobs, random_state, verbose
        Taken for apricot's sake; they change nothing.

    Attributes
    ----------
    ranking : int64 array of shape (n_samples,), or None before :meth:`fit`
        The selected samples in order.
    gains : float64 array of shape (n_samples,), or None before :meth:`fit`
        What each added to the sum.

    Raises
    ------
    TypeError, ValueError
        For a value out of range or of those not supported.
    """

    def __init__(
        self,
        n_samples: int,
        metric: str = "euclidean",
        initial_subset: Any | None = None,
        optimizer: str = "lazy",
        optimizer_kwds: dict[str, Any] | None = None,
        n_neighbors: int | None = None,
        reservoir: Any | None = None,
        max_reservoir_size: int = 1000,
        n_jobs: int = 1,
        random_state: Any | None = None,
        verbose: bool = False,
    ) -> None:
        self.n_samples = check_int("n_samples", n_samples, 1)
        self.metric = check_choice("metric", metric, METRICS)
        self.optimizer = check_choice("optimizer", optimizer, OPTIMIZERS)
        for name, value in (("n_neighbors", n_neighbors), ("reservoir", reservoir)):
            if value is not None:
                raise ValueError(f"{name} must be None, got {value!r}")
        if optimizer_kwds:
            raise ValueError(f"optimizer_kwds must be empty, got {optimizer_kwds!r}")
        self.initial_subset = initial_subset
        self.ranking: Int | None = None
        self.gains: Float | None = None

    def fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, sample_cost: Any = None
    ) -> FacilityLocationSelection:
        """Select samples.

        Parameters
        ----------
        X : array of shape (n, d), or (n, n) when precomputed
            Samples, or their similarities, which must not be negative (or all must be).
        y, sample_weight
            Not looked at.
        sample_cost
            Must be None.

        Returns
        -------
        FacilityLocationSelection
            Itself.

        Raises
        ------
        ValueError
            For X of wrong shape, not finite or too short, or an initial subset out of range.
        """
        x = _checked(X)
        n = len(x)
        if sample_cost is not None:
            raise ValueError("sample_cost must be None")
        before = _subset(self.initial_subset, n)
        if self.n_samples > n - len(before):
            raise ValueError(
                f"n_samples must be at most {n - len(before)} (the rows of X that are not "
                f"selected already), got {self.n_samples}"
            )
        coverage = Coverage(_Similarity(x, self.metric).rows, n)
        for sample in before:
            coverage.take(int(sample))
        left = np.setdiff1d(np.arange(n), before)
        self.ranking, self.gains = lazy_greedy(coverage, left, self.n_samples)
        return self

    def transform(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Return the selected rows of X, and of y and sample_weight where given."""
        if self.ranking is None:
            raise ValueError("fit must be called before transform")
        if sample_weight is not None:
            labels = None if y is None else y[self.ranking]
            return X[self.ranking], labels, sample_weight[self.ranking]
        return X[self.ranking] if y is None else (X[self.ranking], y[self.ranking])

    def fit_transform(
        self, X: Any, y: Any = None, sample_weight: Any = None, sample_cost: Any = None
    ) -> Any:
        """Select samples and return them: :meth:`fit`, then :meth:`transform`."""
        fitted = self.fit(X, y, sample_weight, sample_cost)
        return fitted.transform(X, y, sample_weight)


class _Similarity:
    """Similarities of samples, some rows of the matrix at a time."""

    def __init__(self, x: Float, metric: str) -> None:
        self._squared = metric == "euclidean"
        if metric in ("corr", "correlation"):
            x = x - x.mean(axis=1, keepdims=True)
        if metric in ("corr", "correlation", "cosine"):
            norms = np.linalg.norm(x, axis=1, keepdims=True)
            x = np.divide(x, norms, out=np.zeros_like(x), where=norms > 0)
        self._x = x
        self._norms = np.einsum("ij,ij->i", x, x)
        n = len(x)
        self._held = _check_similarities(x) if metric == "precomputed" else None
        self._highest = 0.0
        if metric == "precomputed":
            return
        blocks = np.array_split(np.arange(n), max(1, 8 * n * n // _BLOCK_BYTES))
        if 8 * n * n <= _HELD_BYTES:
            held = np.empty((n, n))
            for block in blocks:
                held[block] = self._worked_out(block)
            self._held = np.subtract(held.max(), held, out=held) if self._squared else held
        elif self._squared:
            self._highest = max(float(self._worked_out(block).max()) for block in blocks)

    def rows(self, samples: Int) -> Float:
        if self._held is not None:
            return self._held[samples]
        found = self._worked_out(samples)
        return self._highest - found if self._squared else found

    def _worked_out(self, samples: Int) -> Float:
        """Squared distances, or squared cosines."""
        product: Float = self._x[samples] @ self._x.T
        if not self._squared:
            return np.square(product, out=product)
        product *= -2.0
        product += self._norms[samples][:, None]
        product += self._norms
        np.maximum(product, 0.0, out=product)
        product[np.arange(len(samples)), samples] = 0.0
        return product


def _checked(x: Any) -> Float:
    array = np.asarray(x, dtype=np.float64)
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"X must be a 2-d array with rows and columns, got shape {array.shape}")
    if not np.isfinite(array).all():
        row = int(np.argmin(np.isfinite(array).all(axis=1)))
        raise ValueError(f"X must be finite, got NaN or infinity in row {row}")
    return array


def _check_similarities(x: Float) -> Float:
    if x.shape[0] != x.shape[1]:
        raise ValueError(f"X must be square when precomputed, got shape {x.shape}")
    if x.min() < 0.0 < x.max():
        raise ValueError("X cannot contain negative values or must be entirely negative values")
    return x


def _subset(given: Sequence[int] | Any | None, n: int) -> Int:
    """Return the indices of an initial subset."""
    array = np.asarray([] if given is None else given)
    if array.ndim != 1:
        raise ValueError(f"initial_subset must be 1-d, got shape {array.shape}")
    if array.dtype == bool:
        array = np.flatnonzero(array)
    if len(array) and not 0 <= array.min() <= array.max() < n:
        raise ValueError(f"initial_subset must be rows of X, 0 to {n - 1}")
    return array.astype(np.int64)

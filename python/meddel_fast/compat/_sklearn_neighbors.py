"""scikit-learn's ``NearestNeighbors`` on exact search."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast import ops
from meddel_fast.arrays import check_choice, check_float
from meddel_fast.common.extras import needs
from meddel_fast.compat._search import Found, Search
from meddel_fast.ops import iter_similar_pairs

with needs("compat"):
    from sklearn.base import BaseEstimator
    from sklearn.utils.validation import check_is_fitted, validate_data

with needs("compat"):  # which scikit-learn brings
    from scipy.sparse import csr_matrix

Float = NDArray[np.float64]
Int = NDArray[np.int64]

_METRICS = ("euclidean", "l2", "minkowski", "cosine")


class NearestNeighbors(BaseEstimator):  # type: ignore[misc]
    """Neighbours by Euclidean distance or by cosine.

    Parameters
    ----------
    n_neighbors : int
        How many :meth:`kneighbors` finds.
    radius : float
        How far :meth:`radius_neighbors` looks, itself included.
    metric : {"minkowski", "euclidean", "l2", "cosine"}
        The first three are the same (p is 2); cosine distance is 1 - cosine, not less than 0.
    algorithm, leaf_size, p, metric_params, n_jobs
        Taken for scikit-learn's sake; they change nothing, but p must be 2, metric_params empty.

    Attributes
    ----------
    n_samples_fit_, n_features_in_ : int
    effective_metric_ : str
    """

    def __init__(
        self,
        *,
        n_neighbors: int = 5,
        radius: float = 1.0,
        algorithm: str = "auto",
        leaf_size: int = 30,
        metric: str = "minkowski",
        p: float = 2,
        metric_params: dict[str, Any] | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.radius = radius
        self.algorithm = algorithm
        self.leaf_size = leaf_size
        self.metric = metric
        self.p = p
        self.metric_params = metric_params
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any = None) -> NearestNeighbors:
        """Take the samples to be searched, an array of shape (n_samples, n_features)."""
        check_choice("metric", self.metric, _METRICS)
        if self.metric == "minkowski" and self.p != 2:
            raise ValueError(f"p must be 2, got {self.p}")
        if self.metric_params:
            raise ValueError(f"metric_params must be empty, got {self.metric_params}")
        x = validate_data(self, X, dtype=[np.float64, np.float32])
        self._fit_X, self._narrowed = narrow(x), x.dtype == np.float64
        self.n_samples_fit_ = len(self._fit_X)
        self.effective_metric_ = "cosine" if self.metric == "cosine" else "euclidean"
        cosine = self.metric == "cosine"
        self._search = None if cosine else Search(self._fit_X, squared_distance=True)
        return self

    def kneighbors(
        self, X: Any = None, n_neighbors: int | None = None, return_distance: bool = True
    ) -> Any:
        """Find the nearest samples.

        Parameters
        ----------
        X : array of shape (n_queries, n_features), optional
            Queries; the fitted samples, each without itself, when not given.
        n_neighbors : int, optional
            How many; default: the estimator's.
        return_distance : bool
            Whether distances are wanted.

        Returns
        -------
        distances : array of shape (n_queries, n_neighbors)
            Rising; only if wanted. float64, but float32 for cosines of float32 samples and queries.
        indices : int64 array of shape (n_queries, n_neighbors)
        """
        check_is_fitted(self)
        own = X is None
        most = self.n_samples_fit_ - own
        k = self.n_neighbors if n_neighbors is None else n_neighbors
        if not isinstance(k, numbers.Integral) or not 1 <= k <= most:
            raise ValueError(f"n_neighbors must be an int from 1 to {most}, got {k!r}")
        queries, kind = self._queries(X)
        if self._search is None:
            found = ops.topk_similarity(queries, None if own else self._fit_X, int(k))
            distance, index = np.maximum(0.0, 1.0 - found.similarity), found.indices
        else:
            distance, index = self._search.top(queries, int(k) + own)
            if own:
                distance, index = _without_own(distance, index)
            distance = np.sqrt(distance)
        return (distance.astype(kind), index) if return_distance else index

    def kneighbors_graph(
        self, X: Any = None, n_neighbors: int | None = None, mode: str = "connectivity"
    ) -> Any:
        """Return the neighbours as a sparse matrix of shape (n_queries, n_samples_fit).

        Of ones, or of distances where `mode` is "distance".
        """
        check_choice("mode", mode, ("connectivity", "distance"))
        distance, index = self.kneighbors(X, n_neighbors)
        return self._graph(list(distance), list(index), mode)

    def radius_neighbors_graph(
        self, X: Any = None, radius: float | None = None, mode: str = "connectivity",
        sort_results: bool = False,
    ) -> Any:  # fmt: skip
        """Return all within a radius as :meth:`kneighbors_graph` returns neighbours."""
        check_choice("mode", mode, ("connectivity", "distance"))
        distance, index = self.radius_neighbors(X, radius, sort_results=sort_results)
        return self._graph(list(distance), list(index), mode)

    def _graph(self, distances: list[Any], indices: list[Any], mode: str) -> Any:
        limits = np.concatenate([[0], np.cumsum([len(index) for index in indices])])
        value = np.concatenate(distances)
        shape = len(indices), self.n_samples_fit_
        ones = np.ones(len(value)) if mode == "connectivity" else value
        return csr_matrix((ones, np.concatenate(indices), limits), shape=shape)

    def radius_neighbors(
        self,
        X: Any = None,
        radius: float | None = None,
        return_distance: bool = True,
        sort_results: bool = False,
    ) -> Any:
        """Find all samples within a radius.

        Parameters
        ----------
        X : array of shape (n_queries, n_features), optional
            Queries; the fitted samples, each without itself, when not given.
        radius : float, optional
            Default: the estimator's; may be infinite.
        return_distance : bool
            Whether distances are wanted.
        sort_results : bool
            Nearest first; else by index.

        Returns
        -------
        distances, indices : object arrays of shape (n_queries,)
            An array a query, as many as there are; distances only if wanted.
        """
        check_is_fitted(self)
        if sort_results and not return_distance:
            raise ValueError("return_distance must be True if sort_results is True")
        own = X is None
        limit = check_float("radius", self.radius if radius is None else radius, 0.0, np.inf)
        queries, kind = self._queries(X)
        found = self._within(queries, limit)
        distances, indices = [], []
        for i in range(len(found.limits) - 1):
            part = slice(found.limits[i], found.limits[i + 1])
            index, distance = found.rows[part], found.value[part]
            keep = (distance <= limit) & ((index != i) | (not own))
            index, distance = index[keep], distance[keep]
            order = np.argsort(distance, kind="stable") if sort_results else slice(None)
            distances.append(distance[order].astype(kind))
            indices.append(index[order])
        if not return_distance:
            return _ragged(indices)
        return _ragged(distances), _ragged(indices)

    def _queries(self, X: Any) -> tuple[NDArray[np.float32], type]:
        """Return queries, and the type that scikit-learn gives distances from them."""
        wide = self._narrowed
        queries = self._fit_X
        if X is not None:
            x = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
            queries, wide = narrow(x), wide or x.dtype == np.float64
        return queries, np.float64 if wide or self.metric != "cosine" else np.float32

    def _within(self, queries: NDArray[np.float32], radius: float) -> Found:
        """Find all at the radius or nearer, and perhaps some that are beyond it by rounding."""
        if self._search is not None:
            beyond = float(np.nextafter(radius * radius * (1.0 + 1e-15), np.inf))
            found = self._search.within(queries, beyond)
            return found._replace(value=np.sqrt(found.value))
        lowest = float(np.clip(1.0 - radius - 1e-15, -1.0, 1.0))
        chunks = list(iter_similar_pairs(queries, self._fit_X, threshold=lowest))
        counts = sum(np.bincount(chunk.i, minlength=len(queries)) for chunk in chunks)
        similarity = np.concatenate([chunk.similarity for chunk in chunks])
        index = np.concatenate([chunk.j for chunk in chunks])
        limits = np.concatenate([[0], np.cumsum(counts)])
        return Found(limits, index, np.maximum(0.0, 1.0 - similarity))


def narrow(x: NDArray[Any]) -> NDArray[np.float32]:
    """Round samples to float32; refuse those that it cannot hold."""
    with np.errstate(over="ignore"):
        narrow = x.astype(np.float32)
    if not np.isfinite(narrow).all():
        row = int(np.argmin(np.isfinite(narrow).all(axis=1)))
        raise ValueError(f"X must be finite in fp32, got NaN or infinity in row {row}")
    return narrow


def _without_own(distance: Float, index: Int) -> tuple[Float, Int]:
    """Drop each query itself; the last one where more copies of it came first."""
    other = index != np.arange(len(index))[:, None]
    other[other.all(axis=1), -1] = False
    shape = len(index), index.shape[1] - 1
    return distance[other].reshape(shape), index[other].reshape(shape)


def _ragged(parts: list[Any]) -> NDArray[Any]:
    out = np.empty(len(parts), dtype=object)
    out[:] = parts
    return out

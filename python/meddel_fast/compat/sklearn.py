"""scikit-learn estimators: ``KMeans``, ``NearestNeighbors``, and ``KCenterSelector`` of samples.

All take what scikit-learn's validation takes, round float64 to float32 (values beyond it are
refused) and are exact for the rounded values, ties to the lowest index. Needs scikit-learn 1.6.
"""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast import ops
from meddel_fast.arrays import check_choice, check_float, check_int
from meddel_fast.compat._search import Found, Search
from meddel_fast.extras import needs
from meddel_fast.pair_stream import iter_similar_pairs
from meddel_fast.selectors.base import check_budget

with needs("compat"):
    from sklearn.base import BaseEstimator, ClusterMixin, TransformerMixin
    from sklearn.metrics.pairwise import euclidean_distances
    from sklearn.utils import TransformerTags, _safe_indexing, check_random_state
    from sklearn.utils.validation import check_is_fitted, validate_data

Float = NDArray[np.float64]
Int = NDArray[np.int64]

_METRICS = ("euclidean", "l2", "minkowski", "cosine")
_LARGEST = float(np.finfo("d").max)


class KMeans(TransformerMixin, ClusterMixin, BaseEstimator):  # type: ignore[misc]
    """Lloyd's k-means by Euclidean distance.

    Parameters
    ----------
    n_clusters : int
        Number of clusters.
    init : "k-means++" or array of shape (n_clusters, n_features)
        First centres.
    n_init : int or "auto"
        Runs, of which that of the lowest inertia stays; "auto" is one.
    max_iter : int
        Steps of a run at most; it ends when labels stop changing.
    random_state : int, RandomState or None
        Of k-means++, whose draws are not scikit-learn's.
    tol, verbose, copy_x, algorithm
        Taken for scikit-learn's sake; they change nothing.

    Attributes
    ----------
    cluster_centers_ : array of shape (n_clusters, n_features), of X's type
    labels_ : int32 array of shape (n_samples,)
    inertia_ : float
    n_iter_ : int
    n_features_in_ : int
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Any = "k-means++",
        n_init: int | str = "auto",
        max_iter: int = 300,
        tol: float = 1e-4,
        verbose: int = 0,
        random_state: Any = None,
        copy_x: bool = True,
        algorithm: str = "lloyd",
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.verbose = verbose
        self.random_state = random_state
        self.copy_x = copy_x
        self.algorithm = algorithm

    def fit(self, X: Any, y: Any = None) -> KMeans:
        """Cluster samples, an array of shape (n_samples, n_features)."""
        x = validate_data(self, X, dtype=[np.float64, np.float32])
        k = check_int("n_clusters", self.n_clusters, 1, len(x), " (n_samples)")
        given = None if isinstance(self.init, str) else np.asarray(self.init)
        if given is None:
            check_choice("init", self.init, ("k-means++",))
        runs = 1 if self.n_init == "auto" or given is not None else self.n_init
        draws = check_random_state(self.random_state)
        best = None
        for _ in range(check_int("n_init", runs, 1)):
            found = ops.kmeans(
                x, k, spherical=False, init=given, seed=int(draws.randint(2**31 - 1)),
                max_iterations=check_int("max_iter", self.max_iter, 1),
            )  # fmt: skip
            if best is None or found.inertia < best.inertia:
                best = found
        assert best is not None
        self.cluster_centers_ = best.centroids.astype(x.dtype)
        self.labels_ = best.labels.astype(np.int32)
        self.inertia_, self.n_iter_ = float(best.inertia), max(1, int(best.iterations))
        self._n_features_out = k
        return self

    def predict(self, X: Any) -> NDArray[np.int32]:
        """Return the nearest centre of each sample, shape (n_samples,)."""
        _, index = self._nearest(X)
        return index[:, 0].astype(np.int32)

    def transform(self, X: Any) -> NDArray[Any]:
        """Return the distances to all centres, shape (n_samples, n_clusters).

        These are scikit-learn's own, right to rounding.
        """
        check_is_fitted(self)
        x = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        distances: NDArray[Any] = euclidean_distances(x, self.cluster_centers_)
        return distances

    def score(self, X: Any, y: Any = None) -> float:
        """Return minus the sum of squared distances to the nearest centres."""
        value, _ = self._nearest(X)
        return -float(value.sum())

    def _nearest(self, X: Any) -> tuple[Float, Int]:
        check_is_fitted(self)
        x = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return Search(_narrow(self.cluster_centers_), squared_distance=True).top(_narrow(x), 1)


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
        Taken for scikit-learn's sake; they change nothing, but p must be 2.

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
        self._fit_X = _narrow(validate_data(self, X, dtype=[np.float64, np.float32]))
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
        distances : float64 array of shape (n_queries, n_neighbors)
            Rising; only if wanted.
        indices : int64 array of shape (n_queries, n_neighbors)
        """
        check_is_fitted(self)
        own = X is None
        most = self.n_samples_fit_ - own
        k = self.n_neighbors if n_neighbors is None else n_neighbors
        if not isinstance(k, numbers.Integral) or not 1 <= k <= most:
            raise ValueError(f"n_neighbors must be an int from 1 to {most}, got {k!r}")
        queries = self._fit_X if own else self._queries(X)
        if self._search is None:
            found = ops.topk_similarity(queries, None if own else self._fit_X, int(k))
            distance, index = np.maximum(0.0, 1.0 - found.similarity), found.indices
        else:
            distance, index = self._search.top(queries, int(k) + own)
            if own:
                distance, index = _without_own(distance, index)
            distance = np.sqrt(distance)
        return (distance, index) if return_distance else index

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
            Default: the estimator's.
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
        limit = check_float("radius", self.radius if radius is None else radius, 0.0, _LARGEST)
        found = self._within(self._fit_X if own else self._queries(X), limit)
        distances, indices = [], []
        for i in range(len(found.limits) - 1):
            part = slice(found.limits[i], found.limits[i + 1])
            index, distance = found.rows[part], found.value[part]
            keep = (distance <= limit) & ((index != i) | (not own))
            index, distance = index[keep], distance[keep]
            order = np.argsort(distance, kind="stable") if sort_results else slice(None)
            distances.append(distance[order])
            indices.append(index[order])
        if not return_distance:
            return _ragged(indices)
        return _ragged(distances), _ragged(indices)

    def _queries(self, X: Any) -> NDArray[np.float32]:
        return _narrow(validate_data(self, X, dtype=[np.float64, np.float32], reset=False))

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


class KCenterSelector(BaseEstimator):  # type: ignore[misc]
    """Select samples, each the farthest from all selected before.

    scikit-learn's own selectors choose columns, and its transformers give a row for each row. This
    one chooses rows, so it is neither; where a pipeline must drop rows use :meth:`fit_resample`,
    which imbalanced-learn's pipelines call.

    Parameters
    ----------
    n_samples : int or float
        How many (int), or which share (float), to select.
    metric : {"euclidean", "cosine"}
        As of :func:`meddel_fast.kcenter_greedy`.
    start : int
        The first one selected.

    Attributes
    ----------
    indices_ : int64 array of shape (selected,)
        Selected samples, in order.
    radii_ : float64 array of shape (selected,)
        Distance of each, when selected, to those before it.
    radius_ : float
        Largest distance of a sample to the nearest selected one.
    n_features_in_ : int
    """

    def __init__(
        self, n_samples: int | float = 0.5, *, metric: str = "euclidean", start: int = 0
    ) -> None:
        self.n_samples = n_samples
        self.metric = metric
        self.start = start

    def fit(self, X: Any, y: Any = None) -> KCenterSelector:
        """Select among the rows of X, an array of shape (n_samples, n_features)."""
        x = validate_data(self, X, dtype=[np.float64, np.float32])
        count = check_budget(self.n_samples, len(x))
        found = ops.kcenter_greedy(x, count, metric=self.metric, start=self.start)
        self.indices_, self.radii_ = found.indices, found.radii
        self.radius_ = float(found.distances.max())
        self._n_samples_fit = len(x)
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags = TransformerTags()  # it has a transform, of its own kind
        return tags

    def get_support(self, indices: bool = False) -> NDArray[Any]:
        """Return the mask of the selected samples, or their indices, rising."""
        check_is_fitted(self)
        if indices:
            return np.sort(self.indices_)
        mask = np.zeros(self._n_samples_fit, dtype=bool)
        mask[self.indices_] = True
        return mask

    def transform(self, X: Any) -> Any:
        """Return the selected rows of X, which must have as many rows as at :meth:`fit`.

        As an array, as scikit-learn's validation gives it.
        """
        check_is_fitted(self)
        x = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        if len(x) != self._n_samples_fit:
            raise ValueError(f"X must have {self._n_samples_fit} rows as at fit, got {len(x)}")
        return x[self.get_support(indices=True)]

    def fit_transform(self, X: Any, y: Any = None) -> Any:
        """Select rows and return them."""
        return self.fit(X).transform(X)

    def fit_resample(self, X: Any, y: Any) -> tuple[Any, Any]:
        """Select rows and return them with their labels, as what came (frames, lists)."""
        support = self.fit(X).get_support(indices=True)
        return _safe_indexing(X, support), _safe_indexing(y, support)


def _narrow(x: NDArray[Any]) -> NDArray[np.float32]:
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

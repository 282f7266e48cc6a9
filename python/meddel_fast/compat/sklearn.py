"""scikit-learn estimators: ``KMeans``, ``NearestNeighbors``, and ``KCenterSelector`` of samples.

All take what scikit-learn's validation takes, round float64 to float32 (values beyond it are
refused) and are exact for the rounded values, ties to the lowest index. Needs scikit-learn 1.6.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast import ops
from meddel_fast.arrays import check_budget, check_choice, check_float, check_int
from meddel_fast.common.extras import needs
from meddel_fast.compat._search import Search
from meddel_fast.compat._sklearn_neighbors import NearestNeighbors, narrow

with needs("compat"):
    from sklearn.base import (
        BaseEstimator,
        ClassNamePrefixFeaturesOutMixin,
        ClusterMixin,
        TransformerMixin,
    )
    from sklearn.metrics.pairwise import euclidean_distances
    from sklearn.utils import TransformerTags, _safe_indexing, check_random_state
    from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

__all__ = ["KCenterSelector", "KMeans", "NearestNeighbors"]

Float = NDArray[np.float64]
Int = NDArray[np.int64]


class KMeans(
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]
    TransformerMixin,  # type: ignore[misc]
    ClusterMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):  # fmt: skip
    """Lloyd's k-means by Euclidean distance.

    Parameters
    ----------
    n_clusters : int
        Number of clusters.
    init : "k-means++", "random", callable, or array of shape (n_clusters, n_features)
        First centres: drawn, any samples, what the callable makes of (X, n_clusters, random_state),
        or given.
    n_init : int or "auto"
        Runs, of which that of the lowest inertia stays; "auto" is one.
    max_iter : int
        Steps of a run at most.
    tol : float
        A run ends when labels stop changing, or when the squared shifts of the centres sum up to at
        most `tol` times the mean variance of the features.
    random_state : int, RandomState or None
        Of the draws, which are not scikit-learn's.
    verbose, copy_x, algorithm
        Taken for scikit-learn's sake; they change nothing.

    Attributes
    ----------
    cluster_centers_ : array of shape (n_clusters, n_features), of X's type
    labels_ : int32 array of shape (n_samples,)
    inertia_ : float
    n_iter_ : int
        Updates made. scikit-learn counts a step that changes no label, too.
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

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> KMeans:
        """Cluster samples.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
        y
            Not looked at.
        sample_weight : array of shape (n_samples,), optional
            How much each counts for centres, inertia and draws: 0, or 1e-100 to 1e100.
        """
        x = validate_data(self, X, dtype=[np.float64, np.float32])
        weights = _check_sample_weight(sample_weight, x, dtype=np.float64, ensure_non_negative=True)
        k = check_int("n_clusters", self.n_clusters, 1, len(x), " (n_samples)")
        steps = check_int("max_iter", self.max_iter, 1)
        tol = check_float("tol", self.tol, 0.0, float(np.finfo("d").max))
        if isinstance(self.init, str):
            check_choice("init", self.init, ("k-means++", "random"))
        drawn = isinstance(self.init, str) or callable(self.init)
        runs = self.n_init if drawn and self.n_init != "auto" else 1
        draws = check_random_state(self.random_state)
        best: Any = None
        for _ in range(check_int("n_init", runs, 1)):
            init = self._first(x, k, draws)
            found = ops.kmeans(
                x, k, spherical=False, init="k-means++" if init is None else init,
                seed=int(draws.randint(2**31 - 1)), max_iterations=steps, tol=tol,
                sample_weight=weights,
            )  # fmt: skip
            if best is None or found.inertia < best.inertia:
                best = found
        self.cluster_centers_ = best.centroids.astype(x.dtype)
        self.labels_ = best.labels.astype(np.int32)
        self.inertia_, self.n_iter_ = float(best.inertia), max(1, int(best.iterations))
        self._n_features_out = k
        return self

    def _first(self, x: NDArray[Any], k: int, draws: Any) -> NDArray[Any] | None:
        """Return the first centres; None where k-means++ is to draw them."""
        if isinstance(self.init, str):
            random = self.init == "random"
            return x[draws.choice(len(x), k, replace=False)] if random else None
        return np.asarray(self.init(x, k, random_state=draws) if callable(self.init) else self.init)

    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> NDArray[np.int32]:
        """Cluster samples and return their labels."""
        labels: NDArray[np.int32] = self.fit(X, sample_weight=sample_weight).labels_
        return labels

    def fit_transform(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Cluster samples and return their distances to all centres."""
        return self.fit(X, sample_weight=sample_weight).transform(X)

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

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return minus the (weighted) sum of squared distances to the nearest centres."""
        value, _ = self._nearest(X)
        weights = _check_sample_weight(sample_weight, value, dtype=np.float64)
        return -float((value[:, 0] * weights).sum())

    def _nearest(self, X: Any) -> tuple[Float, Int]:
        check_is_fitted(self)
        x = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return Search(narrow(self.cluster_centers_), squared_distance=True).top(narrow(x), 1)


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

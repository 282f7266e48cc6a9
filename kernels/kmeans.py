"""Lloyd's k-means, every bit of which is fixed.

Public: :func:`kmeans`. Assignment is a search for the nearest centroid
(:mod:`~meddel_fast.kernels.nearest`), from the second on with the last centroid's score as the bar;
sums run in the contract's order (:mod:`~meddel_fast.kernels.cluster_sums`).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from meddel_fast.kernels import confirm
from meddel_fast.kernels.cluster_sums import block_sums, cluster_sums, cluster_weights
from meddel_fast.kernels.nearest import nearest
from meddel_fast.kernels.prepared import DEFAULT, Prepared, Tuning, prepare
from meddel_fast.kernels.rows import Rows
from meddel_fast.kernels.screen import Screen


def kmeans(
    x: Rows,
    squares: Tensor,
    centroids: Tensor,
    max_iterations: int,
    *,
    spherical: bool,
    tol: float = 0.0,
    weights: Tensor | None = None,
    tuning: Tuning = DEFAULT,
) -> tuple[Tensor, Tensor, Tensor, float, int, bool]:
    """Cluster rows from given centroids.

    Parameters
    ----------
    x : Rows
    squares : fp64 tensor (n,)
        Their squared norms.
    centroids : fp32 tensor (k, d)
    max_iterations : int
    spherical : bool
        By cosine, with centroids of norm 1, or by squared distance.
    tol : float
        Shifts that end it, all together, as a share of the mean variance.
    weights : fp64 tensor (n,), optional

    Returns
    -------
    labels : int64 tensor (n,)
    centroids : fp32 tensor (k, d)
    distances : fp64 tensor (n,)
    inertia : float
    iterations : int
    converged : bool
    """
    lloyd = _Lloyd(x, squares, spherical, weights, tuning)
    enough = tol * lloyd.mean_variance() if tol else 0.0
    labels, distances = lloyd.assign(centroids, None)
    iterations, converged = 0, False
    while iterations < max_iterations and not converged:
        before, centroids = centroids, lloyd.update(labels, distances, len(centroids))
        previous = labels
        labels, distances = lloyd.assign(centroids, previous)
        converged = bool(torch.equal(previous, labels))
        converged |= tol > 0.0 and squared_shift(before, centroids) <= enough
        iterations += 1
    inertia = _sum(distances if weights is None else weights * distances)
    return labels, centroids, distances, inertia, iterations, converged


class _Lloyd:
    """Rows and what is known of them throughout."""

    def __init__(
        self, x: Rows, squares: Tensor, spherical: bool, weights: Tensor | None, tuning: Tuning
    ) -> None:
        self._x, self._squares, self._weights = x, squares, weights
        self._spherical, self._tuning = spherical, tuning
        self._screens: list[Screen] = []
        self._side: Prepared | None = None

    def assign(self, centroids: Tensor, guess: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return labels and distances; `guess` has the labels of the assignment before."""
        across = Rows(centroids, self._x.device)
        squares = confirm.squared_norms(across)
        if self._side is None:
            self._screens, (self._side, columns) = prepare(
                [self._x, across],
                [self._squares, squares],
                cosine=self._spherical,
                tuning=self._tuning,
            )
        else:
            columns = self._columns(across, squares)
        bar = None
        if guess is not None:
            p = torch.arange(self._side.n, device=self._x.device)
            q = guess[self._side.order]
            bar = self._side.scores(columns, p, q, cosine=self._spherical)
        score, label = nearest(
            self._screens,
            self._side,
            columns,
            1,
            cosine=self._spherical,
            bar=bar,
            tuning=self._tuning,
        )
        best = score[:, 0]
        return label[:, 0], confirm.distances(best, cosine=self._spherical)

    def _columns(self, centroids: Rows, squares: Tensor) -> Prepared:
        norms = confirm.roots(squares)
        own = torch.arange(centroids.n, device=centroids.device)
        return Prepared(
            centroids,
            squares,
            own,
            torch.zeros_like(own),
            None,
            [screen.encode(centroids, norms) for screen in self._screens],
        )

    def update(self, labels: Tensor, distances: Tensor, k: int) -> Tensor:
        """Return the means of the clusters, rounded to fp32 once."""
        norms = confirm.roots(self._squares) if self._spherical else None
        total = cluster_sums(self._x, labels, k, norms, self._weights)
        if self._weights is None:
            mass = torch.bincount(labels, minlength=k)
        else:
            mass = cluster_weights(self._weights, labels, k)
        if self._spherical:
            size = confirm.roots(squared_norms_of_sums(total))[:, None]
            means = torch.where(size > 0, total / size, 0.0)
        else:
            means = total / torch.where(mass > 0, mass, 1)[:, None]
        empty = torch.nonzero(mass == 0)[:, 0]
        if len(empty):
            if self._weights is not None:
                distances = torch.where(self._weights > 0, distances, -1.0)
            # (Adding 0 makes a negative zero positive: they are equal, but sorts may differ.)
            farthest = torch.sort(distances + 0.0, descending=True, stable=True).indices
            taken = farthest[: len(empty)]
            rows = self._x.take(taken).to(torch.float64)
            if norms is not None:
                size = norms[taken][:, None]
                rows = torch.where(size > 0, rows / size, 0.0)
            means[empty] = rows
        return means.to(torch.float32)

    def mean_variance(self) -> float:
        """Return that of the features, as reference.py states."""
        x, squares = self._x, self._squares
        norms = None
        if self._spherical:
            norms, squares = confirm.roots(squares), (squares > 0).to(torch.float64)
        one = torch.zeros(x.n, dtype=torch.int64, device=x.device)
        mean = cluster_sums(x, one, 1, norms) / x.n
        spread = _sum(squares) / x.n - float(squared_norms_of_sums(mean)[0])
        return max(0.0, spread / x.d)


def _sum(values: Tensor) -> float:
    """Return the sum of a value a row, by blocks."""
    return float(np.cumsum(block_sums(values).cpu().numpy())[-1])


def squared_shift(before: Tensor, after: Tensor) -> float:
    """Return the sum, in order, of the squared distances between rows."""
    shift = after.to(torch.float64) - before.to(torch.float64)
    return float(np.cumsum(squared_norms_of_sums(shift).cpu().numpy())[-1])


def squared_norms_of_sums(v: Tensor) -> Tensor:
    """Return ``<v_i, v_i>`` of fp64 rows in the contract's lanes.

    Products of full fp64 numbers are not exact: multiplying and adding stay two operations.
    """
    v = torch.nn.functional.pad(v, (0, -v.shape[1] % 8))
    lanes = torch.zeros((len(v), 8), dtype=torch.float64, device=v.device)
    for first in range(0, v.shape[1], 8):
        lanes = lanes + v[:, first : first + 8] * v[:, first : first + 8]
    fours = lanes[:, :4] + lanes[:, 4:]
    twos = fours[:, :2] + fours[:, 2:]
    return twos[:, 0] + twos[:, 1]

"""Lloyd's k-means and its k-means++ seeding, every bit of which is fixed.

Public: :func:`kmeans`, :func:`kmeans_plus_plus`. Assignment is a search for the nearest centroid
(:mod:`~meddel_fast.kernels.nearest`), from the second on with the last centroid's score as the bar;
sums run in the contract's order (:mod:`~meddel_fast.kernels.cluster_sums`).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from meddel_fast.kernels import confirm
from meddel_fast.kernels.cluster_sums import block_sums, cluster_sums
from meddel_fast.kernels.nearest import nearest
from meddel_fast.kernels.prepared import DEFAULT, Prepared, Tuning, prepare
from meddel_fast.kernels.rows import BLOCK_ROWS, Rows
from meddel_fast.kernels.screen import Screen


def kmeans(
    x: Rows,
    squares: Tensor,
    centroids: Tensor,
    max_iterations: int,
    *,
    spherical: bool,
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

    Returns
    -------
    labels : int64 tensor (n,)
    centroids : fp32 tensor (k, d)
    distances : fp64 tensor (n,)
    inertia : float
    iterations : int
    converged : bool
    """
    lloyd = _Lloyd(x, squares, spherical, tuning)
    labels, distances = lloyd.assign(centroids, None)
    iterations, converged = 0, False
    while iterations < max_iterations and not converged:
        centroids = lloyd.update(labels, distances, len(centroids))
        previous = labels
        labels, distances = lloyd.assign(centroids, previous)
        converged = bool(torch.equal(previous, labels))
        iterations += 1
    inertia = float(np.cumsum(block_sums(distances).cpu().numpy())[-1])
    return labels, centroids, distances, inertia, iterations, converged


class _Lloyd:
    """Rows and what is known of them throughout."""

    def __init__(self, x: Rows, squares: Tensor, spherical: bool, tuning: Tuning) -> None:
        self._x, self._squares = x, squares
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
        total = cluster_sums(self._x, labels, k, norms)
        count = torch.bincount(labels, minlength=k)
        if self._spherical:
            size = confirm.roots(squared_norms_of_sums(total))[:, None]
            means = torch.where(size > 0, total / size, 0.0)
        else:
            means = total / count.clamp(min=1)[:, None]
        empty = torch.nonzero(count == 0)[:, 0]
        if len(empty):
            # (Adding 0 makes a negative zero positive: they are equal, but sorts may differ.)
            farthest = torch.sort(distances + 0.0, descending=True, stable=True).indices
            taken = farthest[: len(empty)]
            rows = self._x.take(taken).to(torch.float64)
            if norms is not None:
                size = norms[taken][:, None]
                rows = torch.where(size > 0, rows / size, 0.0)
            means[empty] = rows
        return means.to(torch.float32)


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


def kmeans_plus_plus(
    x: Rows, squares: Tensor, uniforms: NDArray[np.float64], *, spherical: bool
) -> list[int]:
    """Return the rows that k-means++ draws, one per uniform in [0, 1), as reference.py states."""
    weight = torch.full((x.n,), float("inf"), dtype=torch.float64, device=x.device)
    chosen = [min(int(uniforms[0] * x.n), x.n - 1)]
    while True:
        seed = chosen[-1]
        row = x.take(torch.tensor([seed], device=x.device))
        score = confirm.scores(
            confirm.with_each(x, row), squares, squares[seed].expand(x.n), cosine=spherical
        )
        weight = torch.minimum(weight, confirm.distances(score, cosine=spherical))
        weight[seed] = 0.0
        if len(chosen) == len(uniforms):
            return chosen
        blocks = np.cumsum(block_sums(weight).cpu().numpy())
        if blocks[-1] == 0.0:  # only copies of the seeds are left
            chosen.append(min(set(range(len(chosen) + 1)) - set(chosen)))
        else:
            chosen.append(_draw(weight, blocks, uniforms[len(chosen)]))


def _draw(weight: Tensor, blocks: NDArray[np.float64], uniform: float) -> int:
    """Return the row where the running sum of weights exceeds the uniform's share."""
    target = min(uniform * blocks[-1], np.nextafter(blocks[-1], 0.0))
    block = int(np.argmax(blocks > target))
    rows = weight[block * BLOCK_ROWS : (block + 1) * BLOCK_ROWS].cpu().numpy()
    before = blocks[block - 1] if block else 0.0
    beyond = np.cumsum(np.concatenate([[before], rows]))[1:] > target
    # Rounding may leave the block's own running sum short of the target: the last possible row.
    last = int(np.flatnonzero(rows)[-1])
    return block * BLOCK_ROWS + (int(np.argmax(beyond)) if beyond.any() else last)

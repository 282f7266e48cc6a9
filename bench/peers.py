"""The common ways to do what meddel_fast does, restated plainly, and libraries that do it.

All take fp32 rows. Those for cosines take unit rows: scaling them is not part of what is measured.
A library that is not installed skips its rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Int = NDArray[np.int64]
BLOCK = 1024


def unit(x: Floats) -> Floats:
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    return np.divide(x, norms, out=np.zeros_like(x), where=norms > 0)


def _torch(x: Floats) -> tuple[Any, Any]:
    torch = pytest.importorskip("torch")
    return torch, torch.from_numpy(x)


def _flat_index(x: Floats) -> Any:
    index = pytest.importorskip("faiss").IndexFlatIP(x.shape[1])
    index.add(x)
    return index


# All pairs at or above a threshold: (i, j) with i < j.


def numpy_pairs(x: Floats, threshold: float) -> tuple[Int, Int]:
    """OpenBLAS products of the upper half, a block of rows at a time."""
    found = []
    for begin in range(0, len(x), BLOCK):
        near = x[begin : begin + BLOCK] @ x[begin:].T >= threshold
        i, j = np.nonzero(near)
        found.append(np.stack([i, j])[:, i < j] + begin)
    i, j = np.concatenate(found, axis=1)
    return i, j


def torch_pairs(x: Floats, threshold: float) -> tuple[Int, Int]:
    torch, rows = _torch(x)
    found = []
    for begin in range(0, len(x), BLOCK):
        near = (rows[begin : begin + BLOCK] @ rows[begin:].T >= threshold).nonzero()
        found.append(near[near[:, 0] < near[:, 1]] + begin)
    i, j = torch.cat(found).numpy().T
    return i, j


def faiss_pairs(x: Floats, threshold: float) -> tuple[Int, Int]:
    limits, _, j = _flat_index(x).range_search(x, float(np.nextafter(np.float32(threshold), 0)))
    i = np.repeat(np.arange(len(x)), np.diff(limits.astype(np.int64)))
    return i[i < j], j[i < j]


def sklearn_pairs(x: Floats, threshold: float) -> tuple[Int, Int]:
    neighbors = pytest.importorskip("sklearn.neighbors")
    index = neighbors.NearestNeighbors(algorithm="brute", n_jobs=None).fit(x)
    lists = index.radius_neighbors(
        x, radius=float(np.sqrt(2 - 2 * threshold)), return_distance=False
    )
    i, j = np.repeat(np.arange(len(x)), [len(row) for row in lists]), np.concatenate(lists)
    return i[i < j], j[i < j]


# Highest cosine to an earlier sample of the cluster, 0 where there is none that is positive.


def semdedup_redundancy(x: Floats, labels: Int) -> Floats:
    """As published with SemDeDup: a full matrix a cluster, its upper triangle, the maximum."""
    torch, rows = _torch(x)
    out = np.zeros(len(x), np.float32)
    for cluster in np.unique(labels):
        members = np.flatnonzero(labels == cluster)
        mine = rows[torch.from_numpy(members)]
        similarity = torch.triu(mine @ mine.T, diagonal=1)
        out[members] = torch.max(similarity, dim=0)[0].numpy()
    return out


def numpy_redundancy(x: Floats, labels: Int) -> Floats:
    """The same in blocks of the half that is needed."""
    out = np.zeros(len(x), np.float32)
    for cluster in np.unique(labels):
        members = np.flatnonzero(labels == cluster)
        mine = x[members]
        for begin in range(0, len(mine), BLOCK):
            block = mine[: begin + BLOCK] @ mine[begin : begin + BLOCK].T
            block[begin:] = np.triu(block[begin:], 1)
            out[members[begin : begin + BLOCK]] = np.maximum(block.max(axis=0), 0)
    return out


# The k most similar rows of the same set: cosines, falling.


def numpy_topk(x: Floats, k: int) -> Floats:
    out = np.empty((len(x), k), np.float32)
    for begin in range(0, len(x), BLOCK):
        similarity = x[begin : begin + BLOCK] @ x.T
        own = np.arange(len(similarity))
        similarity[own, begin + own] = -np.inf
        best = np.argpartition(similarity, -k, axis=1)[:, -k:] if k > 1 else None
        best = similarity.argmax(axis=1)[:, None] if best is None else best
        out[begin : begin + BLOCK] = -np.sort(-np.take_along_axis(similarity, best, 1), axis=1)
    return out


def torch_topk(x: Floats, k: int) -> Floats:
    _, rows = _torch(x)
    out = []
    for begin in range(0, len(x), BLOCK):
        similarity = rows[begin : begin + BLOCK] @ rows.T
        similarity.diagonal(begin).fill_(-np.inf)
        out.append(similarity.topk(k, dim=1).values.numpy())
    return np.concatenate(out)


def faiss_topk(x: Floats, k: int) -> Floats:
    """Finds the row itself too, which is left out by taking one more and dropping it."""
    similarity, index = _flat_index(x).search(x, k + 1)
    other = index != np.arange(len(x))[:, None]
    other[other.all(axis=1), -1] = False  # more copies of a row than k: it may not find itself
    return similarity[other].reshape(len(x), k)


def sklearn_topk(x: Floats, k: int) -> Floats:
    neighbors = pytest.importorskip("sklearn.neighbors")
    index = neighbors.NearestNeighbors(n_neighbors=k, algorithm="brute").fit(x)
    distance, _ = index.kneighbors()
    return (1 - distance**2 / 2).astype(np.float32)


# Greedy k-center, Euclidean: the centres.


def numpy_centres(x: Floats, k: int) -> Int:
    """One product with the matrix, one minimum and one argmax a centre."""
    squares = np.einsum("ij,ij->i", x, x)
    nearest = np.full(len(x), np.inf, np.float32)
    distance = np.empty_like(nearest)
    centres = np.zeros(k, np.int64)
    for c in range(1, k):
        last = centres[c - 1]
        np.dot(x, x[last], out=distance)
        distance *= -2
        distance += squares
        distance += squares[last]
        np.minimum(nearest, distance, out=nearest)
        centres[c] = nearest.argmax()
    return centres


def torch_centres(x: Floats, k: int) -> Int:
    """The loop found in DeepCore, anomalib and their like: differences to one centre at a time."""
    torch, rows = _torch(x)
    nearest = torch.full((len(x),), np.inf)
    centres = [0]
    while len(centres) < k:
        distance = torch.linalg.norm(rows - rows[centres[-1]], dim=1)
        nearest = torch.minimum(nearest, distance)
        centres.append(int(nearest.argmax()))
    return np.array(centres)


def skmatter_centres(x: Floats, k: int) -> Int:
    module = pytest.importorskip("skmatter.sample_selection")
    return np.asarray(module.FPS(n_to_select=k, initialize=0).fit(x).selected_idx_)


def skmatter_voronoi_centres(x: Floats, k: int) -> Int:
    module = pytest.importorskip("skmatter.sample_selection")
    return np.asarray(module.VoronoiFPS(n_to_select=k, initialize=0).fit(x).selected_idx_)


# k-means. Assignment: index of the centroid (unit rows) of highest cosine.


def numpy_assign(x: Floats, centroids: Floats) -> Int:
    blocks = range(0, len(x), BLOCK)
    return np.concatenate([(x[b : b + BLOCK] @ centroids.T).argmax(axis=1) for b in blocks])


def torch_assign(x: Floats, centroids: Floats) -> Int:
    torch, rows = _torch(x)
    other = torch.from_numpy(centroids).T
    blocks = range(0, len(x), BLOCK)
    return torch.cat([(rows[b : b + BLOCK] @ other).argmax(dim=1) for b in blocks]).numpy()


def faiss_assign(x: Floats, centroids: Floats) -> Int:
    return _flat_index(centroids).search(x, 1)[1][:, 0]


def sklearn_assign(x: Floats, centroids: Floats) -> Int:
    metrics = pytest.importorskip("sklearn.metrics")
    return metrics.pairwise_distances_argmin(x, centroids)


# Lloyd's iterations from given centroids: the inertia.


def sklearn_kmeans(x: Floats, init: Floats, iterations: int) -> float:
    cluster = pytest.importorskip("sklearn.cluster")
    model = cluster.KMeans(len(init), init=init, n_init=1, max_iter=iterations, tol=0)
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it did not converge
        return float(model.fit(x).inertia_)


def faiss_kmeans(x: Floats, init: Floats, iterations: int) -> float:
    faiss = pytest.importorskip("faiss")
    model = faiss.Kmeans(x.shape[1], len(init), niter=iterations, max_points_per_centroid=len(x))
    model.train(x, init_centroids=init)
    return float(model.index.search(x, 1)[0].sum())

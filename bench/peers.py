"""The common ways to do what meddel_fast does, restated plainly, and libraries that do it.

All take fp32 rows. Those for cosines take unit rows: scaling them is not part of what is measured.
A library that is not installed skips its rows.
"""

from __future__ import annotations

import contextlib
import importlib
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

Floats = NDArray[np.float32]
Int = NDArray[np.int64]
BLOCK = 1024
LIBRARIES = (
    "torch", "faiss", "sklearn.cluster", "sklearn.neighbors", "skmatter.sample_selection",
    "fpsample", "superkmeans",
)  # fmt: skip
INEXACT = {"torch bf16"}  # fast, but its answer is only about right


@contextlib.contextmanager
def on_threads(threads: int) -> Iterator[None]:
    """Load the libraries, so that no peer is timed loading its own, and give each so many."""
    loaded = {}
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):
            loaded[name] = importlib.import_module(name)
    if "torch" in loaded:
        loaded["torch"].set_num_threads(threads)
    if "faiss" in loaded:
        loaded["faiss"].omp_set_num_threads(threads)
    with threadpool_limits(threads):
        warm_up()
        yield


def warm_up() -> None:
    """Call everybody once on a little, so that no first call of a library counts against it."""
    rows = unit(np.random.default_rng(0).standard_normal((2000, 64), dtype=np.float32))
    arguments: dict[str, tuple[Any, ...]] = {
        "pairs": (rows, 0.5), "redundancy": (rows, np.arange(len(rows)) % 4), "topk": (rows, 2),
        "centres": (rows, 20), "assign": (rows, rows[:50]), "kmeans": (rows, rows[:20], 2),
    }  # fmt: skip
    for name, function in list(globals().items()):
        with contextlib.suppress(pytest.skip.Exception):
            if (kind := name.rpartition("_")[2]) in arguments:
                function(*arguments[kind])


def unit(x: Floats) -> Floats:
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    return np.divide(x, norms, out=np.zeros_like(x), where=norms > 0)


def _torch(x: Floats) -> tuple[Any, Any]:
    torch = pytest.importorskip("torch")
    return torch, torch.from_numpy(x)


def flat_index(x: Floats) -> Any:
    index = pytest.importorskip("faiss").IndexFlatIP(x.shape[1])
    index.add(x)
    return index


# All pairs at or above a threshold: (i, j) with i < j.


def numpy_pairs(x: Floats, threshold: float) -> tuple[Int, Int]:
    """OpenBLAS products of the upper half, a block of rows at a time, in memory taken once."""
    found = []
    cosines, near = np.empty(BLOCK * len(x), np.float32), np.empty(BLOCK * len(x), np.bool_)
    for begin in range(0, len(x), BLOCK):
        rows, others = x[begin : begin + BLOCK], x[begin:]
        size = len(rows) * len(others)
        np.matmul(rows, others.T, out=cosines[:size].reshape(len(rows), len(others)))
        np.greater_equal(cosines[:size], threshold, out=near[:size])
        i, j = np.divmod(np.flatnonzero(near[:size]), len(others))
        found.append(np.stack([i, j])[:, i < j] + begin)
    i, j = np.concatenate(found, axis=1)
    return i, j


def torch_pairs(x: Floats, threshold: float, dtype: str = "float32") -> tuple[Int, Int]:
    torch, rows = _torch(x)
    rows = rows.to(getattr(torch, dtype))
    found = []
    cosines = torch.empty(BLOCK * len(x), dtype=rows.dtype)
    near = torch.empty(BLOCK * len(x), dtype=torch.bool)
    for begin in range(0, len(x), BLOCK):
        some, others = rows[begin : begin + BLOCK], rows[begin:]
        shape = len(some), len(others)
        block, mask = (v[: shape[0] * shape[1]].view(shape) for v in (cosines, near))
        torch.ge(torch.mm(some, others.T, out=block), threshold, out=mask)
        pairs = mask.nonzero()
        found.append(pairs[pairs[:, 0] < pairs[:, 1]] + begin)
    i, j = torch.cat(found).numpy().T
    return i, j


def torch_bf16_pairs(x: Floats, threshold: float) -> tuple[Int, Int]:
    return torch_pairs(x, threshold, "bfloat16")


def faiss_range(index: Any, queries: Floats, threshold: float) -> tuple[Int, Int]:
    below = float(np.nextafter(np.float32(threshold), np.float32(-1)))
    limits, _, j = index.range_search(queries, below)
    return np.repeat(np.arange(len(queries)), np.diff(limits.astype(np.int64))), j


def faiss_pairs(x: Floats, threshold: float) -> tuple[Int, Int]:
    i, j = faiss_range(flat_index(x), x, threshold)
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
    for members in _clusters(labels):
        mine = rows[torch.from_numpy(members)]
        similarity = torch.triu(mine @ mine.T, diagonal=1)
        out[members] = torch.max(similarity, dim=0)[0].numpy()
    return out


def numpy_redundancy(x: Floats, labels: Int) -> Floats:
    """The same in blocks of the half that is needed, in memory taken once."""
    out = np.zeros(len(x), np.float32)
    clusters = _clusters(labels)
    cosines = np.empty(BLOCK * max(map(len, clusters)), np.float32)
    for members in clusters:
        mine = x[members]
        for begin in range(0, len(mine), BLOCK):
            later = mine[begin : begin + BLOCK]
            width = begin + len(later)
            block = cosines[: len(later) * width].reshape(len(later), width)
            np.matmul(later, mine[:width].T, out=block)
            block[:, begin:] = np.tril(block[:, begin:], -1)
            out[members[begin:width]] = np.maximum(block.max(axis=1), 0)
    return out


def _clusters(labels: Int) -> list[Int]:
    """Members of each cluster, in rising order."""
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)


# The k most similar rows of the same set: cosines, falling.


def numpy_topk(x: Floats, k: int) -> Floats:
    out = np.empty((len(x), k), np.float32)
    cosines = np.empty((min(BLOCK, len(x)), len(x)), np.float32)
    for begin in range(0, len(x), BLOCK):
        rows = x[begin : begin + BLOCK]
        similarity = np.matmul(rows, x.T, out=cosines[: len(rows)])
        own = np.arange(len(rows))
        similarity[own, begin + own] = -np.inf
        best = np.argpartition(similarity, -k, axis=1)[:, -k:] if k > 1 else None
        best = similarity.argmax(axis=1)[:, None] if best is None else best
        out[begin : begin + BLOCK] = -np.sort(-np.take_along_axis(similarity, best, 1), axis=1)
    return out


def torch_topk(x: Floats, k: int, dtype: str = "float32") -> Floats:
    torch, rows = _torch(x)
    rows = rows.to(getattr(torch, dtype))
    out = []
    cosines = torch.empty(min(BLOCK, len(x)), len(x), dtype=rows.dtype)
    for begin in range(0, len(x), BLOCK):
        some = rows[begin : begin + BLOCK]
        similarity = torch.mm(some, rows.T, out=cosines[: len(some)])
        similarity.diagonal(begin).fill_(-np.inf)
        best = similarity.max(dim=1, keepdim=True) if k == 1 else similarity.topk(k, dim=1)
        out.append(best.values.float().numpy())
    return np.concatenate(out)


def torch_bf16_topk(x: Floats, k: int) -> Floats:
    return torch_topk(x, k, "bfloat16")


def faiss_topk(x: Floats, k: int) -> Floats:
    """Finds the row itself too, which is left out by taking one more and dropping it."""
    faiss = pytest.importorskip("faiss")
    similarity, index = faiss.knn(x, x, k + 1, metric=faiss.METRIC_INNER_PRODUCT)
    other = index != np.arange(len(x))[:, None]
    other[other.all(axis=1), -1] = False  # more copies of a row than k: it may not find itself
    return similarity[other].reshape(len(x), k)


def sklearn_topk(x: Floats, k: int) -> Floats:
    neighbors = pytest.importorskip("sklearn.neighbors")
    index = neighbors.NearestNeighbors(n_neighbors=k, algorithm="brute").fit(x)
    distance, _ = index.kneighbors()
    return (1 - distance**2 / 2).astype(np.float32)


# Greedy k-center, Euclidean: the centres.


def numpy_centres(x: Floats, k: int, product: Any = np.dot) -> Int:
    """One product with the matrix, one minimum and one argmax a centre, in memory taken once."""
    squares = np.einsum("ij,ij->i", x, x)
    nearest = np.full(len(x), np.inf, np.float32)
    distance = np.empty_like(nearest)
    centres = np.zeros(k, np.int64)
    for c in range(1, k):
        last = centres[c - 1]
        product(x, -2 * x[last], out=distance)
        distance += squares
        distance += squares[last]
        np.minimum(nearest, distance, out=nearest)
        centres[c] = nearest.argmax()
    return centres


def numpy_distances(x: Floats, k: int) -> tuple[Int, Floats]:
    """The same, and what k-center's users want as well: each sample's distance to its centre."""
    squares = np.einsum("ij,ij->i", x, x)
    nearest = np.full(len(x), np.inf, np.float32)
    distance = np.empty_like(nearest)
    centres = np.zeros(k, np.int64)
    for c in range(k):
        last = centres[c] = nearest.argmax() if c else 0
        np.dot(x, -2 * x[last], out=distance)
        distance += squares
        distance += squares[last]
        np.minimum(nearest, distance, out=nearest)
    return centres, np.sqrt(np.maximum(nearest, 0, out=nearest), out=nearest)


def numpy_pass_centres(x: Floats, k: int) -> Int:
    """The same by an inner product a row, in the order of the memory: a SIMD pass over all rows.

    What the memory gives, 30 GB/s on one core where the product with the matrix reads 13 GB/s; only
    where all rows lie in the cache is that one faster.
    """
    if not hasattr(np, "vecdot"):
        pytest.skip("numpy before 2.0 has no vecdot")
    return numpy_centres(x, k, np.vecdot)


def anomalib_centres(x: Floats, k: int) -> Int:
    """As in anomalib 2.7: the norm of the differences to the last centre, minimum, maximum."""
    torch, rows = _torch(x)
    centres, nearest = [0], torch.full((len(x), 1), np.inf)
    while len(centres) < k:
        distance = torch.linalg.norm(rows - rows[centres[-1]], ord=2, dim=1, keepdim=True)
        nearest = torch.minimum(nearest, distance)
        centres.append(int(torch.max(nearest.squeeze(1), dim=0).indices))
    return np.array(centres)


def torch_cluster_centres(x: Floats, k: int) -> Int:
    """As torch_cluster's fps on the CPU, whose C++ calls the same operations of torch."""
    torch, rows = _torch(x)
    centres, nearest = [0], torch.full((len(x),), np.inf)
    while len(centres) < k:
        distance = (rows - rows[centres[-1]]).pow_(2).sum(1)
        nearest = torch.minimum(nearest, distance)
        centres.append(int(nearest.argmax()))
    return np.array(centres)


def deepcore_centres(x: Floats, k: int) -> Int:
    """As in DeepCore: a matrix row of distances a centre, those not chosen picked out each time."""
    torch, rows = _torch(x)
    matrix = -torch.ones(max(k - 1, 0), len(x))
    left = torch.ones(len(x), dtype=torch.bool)
    centres, nearest = [0], torch.full((len(x),), np.inf)
    for row in matrix:
        last = centres[-1]
        left[last], nearest[last] = False, -1
        row[left] = _euclidean(torch, rows[last : last + 1], rows[left])[0]
        nearest = torch.min(nearest, row)
        centres.append(int(torch.argmax(nearest)))
    return np.array(centres)


def _euclidean(torch: Any, x: Any, y: Any) -> Any:
    squares = torch.pow(x, 2).sum(1, keepdim=True) + torch.pow(y, 2).sum(1)
    return squares.addmm_(x, y.T, alpha=-2).clamp(min=1e-12).sqrt()


def fpsample_centres(x: Floats, k: int) -> Int:
    """Its plain sampling, and of at most 8 dimensions, which these take, its bucketed k-d tree."""
    fpsample = pytest.importorskip("fpsample")
    if x.shape[1] <= 8 and len(x) > 64:
        return fpsample.bucket_fps_kdline_sampling(x, k, h=5, start_idx=0).astype(np.int64)
    return fpsample.fps_sampling(x, k, start_idx=0).astype(np.int64)


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


def torch_assign(x: Floats, centroids: Floats, dtype: str = "float32") -> Int:
    torch, rows = _torch(x)
    rows, other = (v.to(getattr(torch, dtype)) for v in (rows, torch.from_numpy(centroids).T))
    blocks = range(0, len(x), BLOCK)
    return torch.cat([(rows[b : b + BLOCK] @ other).argmax(dim=1) for b in blocks]).numpy()


def torch_bf16_assign(x: Floats, centroids: Floats) -> Int:
    return torch_assign(x, centroids, "bfloat16")


def faiss_assign(x: Floats, centroids: Floats) -> Int:
    return flat_index(centroids).search(x, 1)[1][:, 0]


def sklearn_assign(x: Floats, centroids: Floats) -> Int:
    metrics = pytest.importorskip("sklearn.metrics")
    return metrics.pairwise_distances_argmin(x, centroids)


# Lloyd's iterations from given centroids: the inertia.


def sklearn_kmeans(x: Floats, init: Floats, iterations: int) -> float:
    cluster = pytest.importorskip("sklearn.cluster")
    model = cluster.KMeans(len(init), init=init, n_init=1, max_iter=iterations, tol=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it did not converge
        return float(model.fit(x).inertia_)


def faiss_kmeans(x: Floats, init: Floats, iterations: int, spherical: bool = False) -> float:
    faiss = pytest.importorskip("faiss")
    model = faiss.Kmeans(
        x.shape[1], len(init), niter=iterations, max_points_per_centroid=len(x),
        spherical=spherical,
    )  # fmt: skip
    model.train(x, init_centroids=init)
    return float(model.index.search(x, 1)[0].sum())


# Whole calls, as a user makes them: each starts in its own way, and returns labels and centroids.


def faiss_clusters(x: Floats, k: int, iterations: int) -> tuple[Int, Floats]:
    """From rows drawn at random."""
    faiss = pytest.importorskip("faiss")
    model = faiss.Kmeans(
        x.shape[1], k, niter=iterations, max_points_per_centroid=len(x), min_points_per_centroid=1
    )
    model.train(x)
    return model.index.search(x, 1)[1][:, 0], model.centroids


def superkmeans_clusters(x: Floats, k: int, iterations: int, **options: Any) -> Any:
    """From rows drawn at random, all rows and all iterations."""
    module = pytest.importorskip("superkmeans")
    exact = {"hierarchical": False, "sampling_fraction": 1.0, "early_termination": False, "tol": 0}
    model = module.SuperKMeans(k, x.shape[1], iters=iterations, n_threads=1, **(options or exact))
    centroids = model.train(x)
    return model.assign(x, centroids).astype(np.int64), centroids


def superkmeans_fast_clusters(x: Floats, k: int, iterations: int) -> Any:
    """As it is by default: of a sample, or by levels where there are many rows."""
    return superkmeans_clusters(x, k, iterations, hierarchical=None)


def sklearn_clusters(x: Floats, k: int, iterations: int) -> tuple[Int, Floats]:
    """From k-means++ with several candidates a seed."""
    cluster = pytest.importorskip("sklearn.cluster")
    model = cluster.KMeans(k, n_init=1, max_iter=iterations, tol=0, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it did not converge
        model.fit(x)
    return model.labels_, model.cluster_centers_

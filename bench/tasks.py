"""Tasks too large to race in full: ours whole, peers on a part where the whole would take hours.

A part is scaled by what the peer's work grows with, and what comes of it is marked as extrapolated.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import checks
import numpy as np
import peers
import pytest
from peers import Floats, Int

import meddel_fast as mf

SAMPLE = 200  # rows on which our answer is compared with brute force
QUERIES = 2000
VORONOI_STEP = 250
PATIENCE = 15  # seconds up to which a loop over centres runs whole


class Time(NamedTuple):
    """What a peer takes, or would take by the part that was timed."""

    seconds: float
    extrapolated: bool = False


@dataclass(frozen=True)
class Task:
    """Our call, a check of its answer on a sample, and the peers."""

    ours: Callable[[], Any]
    check: Callable[[Any], None]
    peers: dict[str, Callable[[], Time]]


def clock(call: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    out = call()
    return time.perf_counter() - began, out


def steady(call: Callable[[], Any], first: float) -> float:
    """Median of five where the first call took under a second: others find more of it ready."""
    return first if first >= 1 else sorted(clock(call)[0] for _ in range(5))[2]


def whole(call: Callable[[], Any]) -> Time:
    return Time(steady(call, clock(call)[0]))


def spread(n: int, count: int) -> Int:
    return np.arange(0, n, max(1, n // count))


def kcenter(x: Floats, k: int, threads: int, patience: float = 60, distances: bool = True) -> Task:
    loops = {
        "numpy": (peers.numpy_centres, 30), "numpy pass": (peers.numpy_pass_centres, 30),
        "anomalib loop": (peers.anomalib_centres, 4), "DeepCore loop": (peers.deepcore_centres, 4),
    }  # fmt: skip
    return Task(
        lambda: mf.kcenter_greedy(x, k, distances=distances, threads=threads),
        lambda found: checks.greedy(x, found.indices, spread(len(x), SAMPLE)),
        {
            **{who: lambda who=who: _centres(*loops[who], x, k) for who in loops},
            "skmatter Voronoi": lambda: _voronoi(x, k, patience),
        },
    )


def _centres(loop: Callable[[Floats, int], Int], some: int, x: Floats, k: int) -> Time:
    """A loop that does the same for each centre: from the fastest of three parts of it."""
    first = min(clock(lambda: loop(x, 1))[0] for _ in range(3))
    more = min(clock(lambda: loop(x, 1 + some))[0] for _ in range(3))
    estimate = first + (more - first) / some * (k - 1)
    return whole(lambda: loop(x, k)) if estimate < PATIENCE else Time(estimate, extrapolated=True)


def _voronoi(x: Floats, k: int, patience: float) -> Time:
    """Goes on until patience ends; what is left is taken to be as slow as the last centres."""
    module = pytest.importorskip("skmatter.sample_selection")
    model = module.VoronoiFPS(n_to_select=min(k, VORONOI_STEP), initialize=0)
    taken, _ = clock(lambda: model.fit(x))
    rate = taken / model.n_to_select
    while model.n_to_select < k and taken < patience:
        more = min(VORONOI_STEP, k - model.n_to_select)
        model.n_to_select += more
        step, _ = clock(lambda: model.fit(x, warm_start=True))
        taken, rate = taken + step, step / more
    left = k - model.n_to_select
    return Time(taken + rate * left, extrapolated=left > 0)


def pairs(x: Floats, threshold: float, threads: int) -> Task:
    def check(found: mf.SimilarPairsResult) -> None:
        rows, sample = peers.unit(x), spread(len(x), SAMPLE)
        near = rows[sample] @ rows.T >= threshold
        a, b = np.nonzero(near)
        wanted = np.unique(np.sort([sample[a[sample[a] != b]], b[sample[a] != b]], axis=0), axis=1)
        touched = np.isin(found.i, sample) | np.isin(found.j, sample)
        mine = found.i[touched], found.j[touched]
        checks.same_pairs(x, threshold, mine, (wanted[0], wanted[1]), checks.rounding("ours"))

    def faiss() -> Time:
        rows = peers.unit(x)
        index, queries = peers.flat_index(rows), rows[spread(len(x), QUERIES)]
        took, _ = clock(lambda: peers.faiss_range(index, queries, threshold))
        return Time(took * len(x) / len(queries), len(queries) < len(x))

    return Task(
        lambda: mf.similar_pairs(x, threshold=threshold, threads=threads), check, {"faiss": faiss}
    )


def redundancy(x: Floats, labels: Int, threads: int) -> Task:
    def check(found: mf.RedundancyResult) -> None:
        some = np.isin(labels, spread(labels.max() + 1, 20))
        wanted = peers.numpy_redundancy(peers.unit(x[some]), labels[some])
        np.testing.assert_allclose(found.similarity[some].clip(0), wanted, rtol=0, atol=1e-5)

    def loop() -> Time:
        rows = peers.unit(x)
        return whole(lambda: peers.semdedup_redundancy(rows, labels))

    return Task(
        lambda: mf.redundancy(x, labels=labels, threads=threads),
        check,
        {"SemDeDup loop": loop},
    )


def top1(x: Floats, threads: int, y: Floats | None = None) -> Task:
    """The nearest of y; without y the nearest other sample, which peers find after itself."""
    k = 2 if y is None else 1

    def part(count: int) -> tuple[Int, Floats, Floats]:
        sample = spread(len(x), count)
        return sample, peers.unit(x[sample]), peers.unit(x if y is None else y)

    def check(found: mf.TopKResult) -> None:
        sample, queries, rows = part(SAMPLE)
        similarity = queries @ rows.T
        if y is None:
            similarity[np.arange(len(sample)), sample] = -np.inf
        mine = found.similarity[sample, 0]
        np.testing.assert_allclose(mine, similarity.max(axis=1), rtol=0, atol=1e-5)

    def timed(count: int, search: Callable[[Floats, Floats], Any]) -> Time:
        sample, queries, rows = part(count)
        took, _ = clock(lambda: search(queries, rows))
        return Time(took * len(x) / len(sample), len(sample) < len(x))

    def faiss() -> Time:
        library = pytest.importorskip("faiss")
        metric = library.METRIC_INNER_PRODUCT
        return timed(QUERIES, lambda queries, rows: library.knn(queries, rows, k, metric=metric))

    def sklearn() -> Time:
        library = pytest.importorskip("sklearn.neighbors")
        index = library.NearestNeighbors(n_neighbors=k, algorithm="brute")
        return timed(QUERIES // 2, lambda queries, rows: index.fit(rows).kneighbors(queries))

    return Task(
        lambda: mf.topk_similarity(x, y, k=1, threads=threads),
        check,
        {"faiss": faiss, "scikit-learn": sklearn},
    )


def assign(x: Floats, k: int, threads: int) -> Task:
    rows = peers.unit(x)
    centroids = rows[spread(len(x), k)[:k]]
    return Task(
        lambda: mf.kmeans(x, k, init=centroids, max_iterations=0, threads=threads),
        lambda found: _nearest(x, centroids, found.labels),
        {
            "faiss": lambda: whole(lambda: peers.faiss_assign(rows, centroids)),
            "scikit-learn": lambda: whole(lambda: peers.sklearn_assign(rows, centroids)),
        },
    )


def kmeans(x: Floats, k: int, iterations: int, threads: int) -> Task:
    init = peers.unit(x[spread(len(x), k)[:k]])

    def faiss() -> Time:
        rows = peers.unit(x)
        return whole(lambda: peers.faiss_kmeans(rows, init, iterations, spherical=True))

    return Task(
        lambda: mf.kmeans(x, k, init=init, max_iterations=iterations, threads=threads),
        lambda found: _nearest(x, peers.unit(found.centroids), found.labels),
        {"faiss": faiss},
    )


def _nearest(x: Floats, centroids: Floats, labels: Int) -> None:
    """Each of some samples has the centroid of highest cosine, or one about as near."""
    sample = spread(len(x), SAMPLE)
    cosine = peers.unit(x[sample]) @ centroids.T
    chosen = cosine[np.arange(len(sample)), labels[sample]]
    np.testing.assert_allclose(chosen, cosine.max(axis=1), rtol=0, atol=1e-5)

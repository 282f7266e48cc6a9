"""The truth, in plain numpy: what every fast path must return bit for bit.

Nothing here is fast, and nothing here imports another module of the package. One primitive, the
inner product of :func:`inner`, fixes every product, sum and rounding; the operations follow from
it in a few lines each, with ties going to the lowest index. Inputs are trusted: the checks live
in :mod:`meddel_fast.ops`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]

BLOCK_ROWS = 1024  # rows a block in every sum over samples (k-means); part of the contract


def widen(x: NDArray[Any]) -> Float:
    """Return the rows as the arithmetic sees them: fp64 input rounded to fp32, the rest exact."""
    return (x.astype(np.float32) if x.dtype == np.float64 else x).astype(np.float64)


def _add_lanes(lanes: Float) -> Float:
    """Add 8 lanes (last axis) as ((0+4)+(2+6))+((1+5)+(3+7))."""
    pair = lanes[..., :4] + lanes[..., 4:]
    quad: Float = pair[..., :2] + pair[..., 2:]
    total: Float = quad[..., 0] + quad[..., 1]
    return total


def inner(x: Float, y: Float) -> Float:
    """Return ``<x_i, y_j>`` for all rows: lane l of 8 sums the elements i with i mod 8 = l."""
    tail = -x.shape[1] % 8
    x, y = (np.pad(a, ((0, 0), (0, tail))) for a in (x, y))
    lanes = np.zeros((len(x), len(y), 8))
    for i in range(0, x.shape[1], 8):
        lanes += x[:, None, i : i + 8] * y[None, :, i : i + 8]
    return _add_lanes(lanes)


def squared_norm(x: Float) -> Float:
    """Return ``<x_i, x_i>`` in the order of :func:`inner`."""
    tail = -x.shape[1] % 8
    x = np.pad(x, ((0, 0), (0, tail)))
    lanes = np.zeros((len(x), 8))
    for i in range(0, x.shape[1], 8):
        lanes += x[:, i : i + 8] * x[:, i : i + 8]
    return _add_lanes(lanes)


def cosine(x: Float, y: Float) -> Float:
    """Return ``<x, y> / sqrt(<x, x> * <y, y>)``, cut to [-1, 1], exactly 1 for equal rows.

    A zero row has cosine 0 to everything.
    """
    squares = squared_norm(x)[:, None] * squared_norm(y)[None, :]
    roots = np.sqrt(squares)
    similarity = np.divide(inner(x, y), roots, out=np.zeros_like(roots), where=squares > 0)
    return np.clip(similarity, -1.0, 1.0)


def squared_distance(x: Float, y: Float) -> Float:
    """Return ``max(0, (<x, x> + <y, y>) - 2 <x, y>)``, exactly 0 for equal rows."""
    norms = squared_norm(x)[:, None] + squared_norm(y)[None, :]
    return np.maximum(0.0, norms - 2.0 * inner(x, y))


def kcenter_greedy(
    x: NDArray[Any],
    k: int,
    *,
    radius: float = -1.0,
    metric: str = "euclidean",
    start: int = 0,
    selected: Int | None = None,
) -> tuple[Int, Float, Float]:
    """Farthest-point selection; a selected sample has distance 0 and is never chosen again.

    Ends before a centre whose distance would be ``radius`` or less.
    """
    x = widen(x)
    nearest = np.full(len(x), np.inf)
    taken = np.zeros(len(x), dtype=bool)
    indices: list[int] = []
    radii: list[float] = []
    root = (lambda v: v) if metric == "cosine" else np.sqrt

    def add(centre: int) -> None:
        row = x[centre : centre + 1]
        if metric == "cosine":
            distance = 1.0 - cosine(x, row)[:, 0]
        else:
            distance = squared_distance(x, row)[:, 0]
        np.minimum(nearest, distance, out=nearest)
        nearest[centre] = 0.0
        taken[centre] = True

    for centre in [] if selected is None else selected.tolist():
        add(centre)
    while len(indices) < k:
        centre = int(np.argmax(np.where(taken, -1.0, nearest)))
        if not taken.any():
            centre = start
        if root(nearest[centre]) <= radius:
            break
        indices.append(centre)
        radii.append(float(nearest[centre]))
        add(centre)
    return np.array(indices, dtype=np.int64), root(np.array(radii)), root(nearest)


def similar_pairs(
    x: NDArray[Any], y: NDArray[Any] | None = None, *, threshold: float = 0.95
) -> tuple[Int, Int, Float]:
    """Every pair with cosine >= threshold, sorted by (i, j); i < j when there is one set."""
    similarity = cosine(widen(x), widen(x if y is None else y))
    found = similarity >= threshold
    if y is None:
        found = np.triu(found, 1)
    i, j = np.nonzero(found)
    return i, j, similarity[i, j]


def redundancy(
    x: NDArray[Any], *, order: Int | None = None, labels: Int | None = None
) -> tuple[Float, Int]:
    """Highest cosine to a sample that is earlier in ``order`` and has the same label."""
    n = len(x)
    position = np.empty(n, dtype=np.int64)
    position[np.arange(n) if order is None else order] = np.arange(n)
    labels = np.zeros(n, dtype=np.int64) if labels is None else labels
    earlier = (position[None, :] < position[:, None]) & (labels[None, :] == labels[:, None])
    similarity = np.where(earlier, cosine(widen(x), widen(x)), -np.inf)
    neighbor = np.argmax(similarity, axis=1)
    return similarity.max(axis=1), np.where(earlier.any(axis=1), neighbor, -1)


def topk_similarity(
    x: NDArray[Any], y: NDArray[Any] | None = None, k: int = 1
) -> tuple[Float, Int]:
    """Return the k highest cosines per row, falling, ties by index; one set: not the diagonal."""
    similarity = cosine(widen(x), widen(x if y is None else y))
    if y is None:
        np.fill_diagonal(similarity, -np.inf)
    indices = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(similarity, indices, axis=1), indices


def _block_sums(values: Float) -> Float:
    """Sum each block of rows one value after the other (a cumulative sum does not reorder)."""
    starts = range(0, len(values), BLOCK_ROWS)
    return np.array([np.cumsum(values[s : s + BLOCK_ROWS])[-1] for s in starts])


def _assign(x: Float, centroids: Float, spherical: bool) -> tuple[Int, Float]:
    """Label and distance of each row: highest cosine, or smallest squared distance."""
    affinity = cosine(x, centroids) if spherical else -squared_distance(x, centroids)
    labels = np.argmax(affinity, axis=1)
    best = affinity[np.arange(len(x)), labels]
    return labels, 1.0 - best if spherical else -best


def _draw(share: Float, uniform: float) -> int:
    """Draw a row: where the running sum of shares, block by block, exceeds the uniform's part."""
    blocks = np.cumsum(_block_sums(share))
    target = min(uniform * blocks[-1], np.nextafter(blocks[-1], 0.0))
    block = int(np.argmax(blocks > target))
    rows = share[block * BLOCK_ROWS : (block + 1) * BLOCK_ROWS]
    before = blocks[block - 1] if block else 0.0
    beyond = np.cumsum(np.concatenate([[before], rows]))[1:] > target
    # Rounding may leave the block's own running sum short of the target: last possible row.
    last = int(np.flatnonzero(rows)[-1])
    return block * BLOCK_ROWS + (int(np.argmax(beyond)) if beyond.any() else last)


def kmeans_plus_plus(
    x: Float, k: int, spherical: bool, uniforms: Float, weights: Float | None = None
) -> Int:
    """Seed by k-means++ (Arthur and Vassilvitskii 2007) from k uniforms in [0, 1).

    The first row is drawn in proportion to its weight, the others to their weight times their
    distance to the nearest seed. When no row has such a product left (only copies of the seeds
    are, or rows of weight 0), the lowest rows not yet taken follow.
    """
    weights = np.ones(len(x)) if weights is None else weights
    chosen = [_draw(weights, uniforms[0])]
    nearest = np.full(len(x), np.inf)
    while len(chosen) < k:
        _, distance = _assign(x, x[chosen[-1:]], spherical)
        nearest = np.minimum(nearest, distance)
        nearest[chosen[-1]] = 0.0
        share = weights * nearest
        if share.any():
            chosen.append(_draw(share, uniforms[len(chosen)]))
        else:
            chosen.append(min(set(range(len(x))) - set(chosen)))
    return np.array(chosen, dtype=np.int64)


def _unit(x: Float) -> Float:
    norm = np.sqrt(squared_norm(x))[:, None]
    return np.divide(x, norm, out=np.zeros_like(x), where=norm > 0)


def _cluster_sums(rows: Float, labels: Int, k: int) -> Float:
    """Sum up the rows of each label in fp64, by blocks of rows in index order."""
    total = np.zeros((k, rows.shape[1]))
    for s in range(0, len(rows), BLOCK_ROWS):
        part = np.zeros_like(total)
        np.add.at(part, labels[s : s + BLOCK_ROWS], rows[s : s + BLOCK_ROWS])
        total += part
    return total


def update_centroids(
    x: Float,
    labels: Int,
    distances: Float,
    k: int,
    spherical: bool,
    weights: Float | None = None,
) -> NDArray[np.float32]:
    """Centroids from labels, in fp64 by blocks of rows in index order, rounded to fp32 once.

    Each row, times its weight, is added up, and so are the weights, by which the sums are divided.
    Spherical: the unit rows are summed, and the sum is scaled to norm 1. A cluster without weight
    (no members, or none that weighs anything) takes the sample farthest from its centroid (the
    second such one the second farthest, and so on; ties by index; samples of weight 0 come last,
    by index).
    """
    rows = _unit(x) if spherical else x
    weights = np.ones(len(x)) if weights is None else weights
    total = _cluster_sums(weights[:, None] * rows, labels, k)
    mass = _cluster_sums(weights[:, None], labels, k)
    centroids = _unit(total) if spherical else total / np.where(mass > 0, mass, 1.0)
    farthest = np.argsort(-np.where(weights > 0, distances, -1.0), kind="stable")
    for cluster, sample in zip(np.flatnonzero(mass == 0), farthest, strict=False):
        centroids[cluster] = rows[sample]
    return centroids.astype(np.float32)


def mean_variance(x: Float, spherical: bool) -> float:
    """Mean variance of the features (of unit rows, when spherical), whatever the rows weigh.

    The mean of all <x, x> (1 of a unit row, 0 of a zero row) less <m, m> of the mean row m, over
    the number of features; not below 0.
    """
    rows = _unit(x) if spherical else x
    squares = squared_norm(x)
    if spherical:
        squares = (squares > 0).astype(np.float64)
    mean = _cluster_sums(rows, np.zeros(len(x), np.int64), 1) / len(x)
    spread = np.cumsum(_block_sums(squares))[-1] / len(x) - squared_norm(mean)[0]
    return float(max(0.0, spread / x.shape[1]))


def kmeans(
    x: NDArray[Any],
    k: int,
    *,
    spherical: bool = True,
    max_iterations: int = 100,
    tol: float = 0.0,
    seed: int = 0,
    init: str | NDArray[np.float32] = "k-means++",
    sample_weight: Float | None = None,
) -> tuple[Int, NDArray[np.float32], Float, float, int, bool]:
    """Lloyd's k-means; distances are ``1 - cosine`` or squared Euclidean ones.

    Ends when an update changes no label, or when the centroids that it moved went, all squared
    distances between old and new summed up, no farther than ``tol`` times :func:`mean_variance`.
    """
    x = widen(x)
    draws = np.random.default_rng(seed)
    if not isinstance(init, str):
        centroids = init
    elif init == "split":
        centroids = split_centroids(x, k, spherical, draws, sample_weight)
    else:
        seeds = kmeans_plus_plus(x, k, spherical, draws.random(k), sample_weight)
        centroids = x[seeds].astype(np.float32)
    enough = tol * mean_variance(x, spherical)
    labels, distances = _assign(x, widen(centroids), spherical)
    iterations, converged = 0, False
    while iterations < max_iterations and not converged:
        before = centroids
        centroids = update_centroids(x, labels, distances, k, spherical, sample_weight)
        shift = float(np.cumsum(squared_norm(widen(centroids) - widen(before)))[-1])
        previous, (labels, distances) = labels, _assign(x, widen(centroids), spherical)
        converged = bool(np.array_equal(previous, labels)) or shift <= enough
        iterations += 1
    weighted = distances if sample_weight is None else sample_weight * distances
    inertia = float(np.cumsum(_block_sums(weighted))[-1])
    return labels, centroids, distances, inertia, iterations, converged


SPLIT_ROWS = 256  # samples a cluster of the first step that a step of the split looks at
SPLIT_EACH = 32  # samples a cluster of the second step that it looks at, but no more than the first
SPLIT_LEAST = 4  # looks at, or this many a cluster
SPLIT_STEPS = (8, 3)  # updates of the first step, and of the second


def split_centroids(
    x: Float, k: int, spherical: bool, draws: np.random.Generator, weights: Float | None = None
) -> NDArray[np.float32]:
    """First centroids in two steps, so that no seed is compared with all rows.

    ``isqrt(k)`` clusters are made of rows spread over the set, and all rows go to the nearest.
    Each cluster then gets its share of k (:func:`split_shares`), and so many clusters are made of
    rows spread over its own, in their order. A step is k-means++ and ``SPLIT_STEPS`` updates.
    Rows of weight 0 are left out.
    """
    weights = np.ones(len(x)) if weights is None else weights
    rows = np.flatnonzero(weights > 0)

    def centroids_of(some: Int, count: int, steps: int) -> NDArray[np.float32]:
        own, weigh = x[some], weights[some]
        first = own[kmeans_plus_plus(own, count, spherical, draws.random(count), weigh)]
        done = kmeans(
            own, count, spherical=spherical, max_iterations=steps,
            init=first.astype(np.float32), sample_weight=weigh,
        )  # fmt: skip
        return done[1]

    coarse = math.isqrt(k)
    looked_at = SPLIT_ROWS * coarse
    groups = centroids_of(spread_rows(rows, looked_at, draws), coarse, SPLIT_STEPS[0])
    labels, distances = _assign(x[rows], widen(groups), spherical)
    parts = []
    shares = split_shares(labels, distances, k, coarse)
    for group, share in enumerate(shares.tolist()):
        if share:
            most = min(SPLIT_EACH * share, max(looked_at, SPLIT_LEAST * share))
            own = spread_rows(rows[labels == group], most, draws)
            parts.append(centroids_of(own, share, SPLIT_STEPS[1]))
    return np.concatenate(parts)


def spread_rows(rows: Int, count: int, draws: np.random.Generator) -> Int:
    """Return at most ``count`` of the rows: one, drawn evenly, of each of as many equal ranges."""
    if len(rows) <= count:
        return rows
    bounds = np.arange(count + 1) * len(rows) // count
    lengths = np.diff(bounds)
    inside = (draws.random(count) * lengths).astype(np.int64)
    drawn: Int = rows[bounds[:-1] + np.minimum(inside, lengths - 1)]
    return drawn


def split_shares(labels: Int, distances: Float, k: int, groups: int) -> Int:
    """Return how many of k clusters each group of rows gets: in proportion to its rows.

    Rows at the same distance count once: copies need no clusters of their own. At least 1, unless
    it has no rows, and at most its rows; what the whole parts of the quotas leave goes, one by
    one, where most of a quota is missing (ties to the lowest group).
    """
    size = np.bincount(labels, minlength=groups)
    different = np.array([len(np.unique(distances[labels == g])) for g in range(groups)])
    quota = k * different / different.sum()
    share: Int = np.minimum(np.maximum(np.floor(quota), 1).astype(np.int64), size)
    while share.sum() < k:
        share[np.argmax(np.where(share < size, quota - share, -np.inf))] += 1
    while share.sum() > k:
        share[np.argmin(np.where(share > 1, quota - share, np.inf))] -= 1
    return share


def deduplicate(
    x: NDArray[Any],
    threshold: float = 0.95,
    *,
    rule: str = "semdedup",
    order: Int | None = None,
    labels: Int | None = None,
) -> tuple[Bool, Int, Float]:
    """Keep mask, representative and similarity to it (NaN for kept samples)."""
    n = len(x)
    order = np.arange(n) if order is None else order
    labels = np.zeros(n, dtype=np.int64) if labels is None else labels
    similarity = cosine(widen(x), widen(x))
    same = labels[:, None] == labels[None, :]
    similarity = np.where(same, similarity, -np.inf)
    representative = np.arange(n)
    if rule == "components":
        seen = np.zeros(n, dtype=bool)
        for root in order:
            stack = [] if seen[root] else [root]
            while stack:
                sample = stack.pop()
                if not seen[sample]:
                    seen[sample] = True
                    representative[sample] = root
                    stack.extend(np.flatnonzero((similarity[sample] >= threshold) & ~seen))
    else:
        may_cover = np.zeros(n, dtype=bool)  # earlier samples that can drop later ones
        for sample in order:
            candidates = np.where(may_cover, similarity[sample], -np.inf)
            best = int(np.argmax(candidates))
            dropped = bool(may_cover.any()) and candidates[best] >= threshold
            representative[sample] = best if dropped else sample
            may_cover[sample] = rule == "semdedup" or not dropped
    keep = representative == np.arange(n)
    own = similarity[np.arange(n), representative]
    return keep, representative, np.where(keep, np.nan, own)

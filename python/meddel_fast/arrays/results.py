"""What the operations return; fields are numpy arrays, or torch tensors when x was one."""

from __future__ import annotations

from typing import Any, NamedTuple

# Held for a pair at the peak, as measured on 10 million: (index, cosine) as it is collected, which
# the allocator keeps when it is freed, and (index, index, cosine) in the result.
PAIR_BYTES = 44


class KCenterResult(NamedTuple):
    """Result of :func:`meddel_fast.kcenter_greedy`."""

    indices: Any
    radii: Any
    distances: Any


class SimilarPairsResult(NamedTuple):
    """Result of :func:`meddel_fast.similar_pairs`."""

    i: Any
    j: Any
    similarity: Any


class RedundancyResult(NamedTuple):
    """Result of :func:`meddel_fast.redundancy`."""

    similarity: Any
    neighbor: Any


class TopKResult(NamedTuple):
    """Result of :func:`meddel_fast.topk_similarity`."""

    similarity: Any
    indices: Any


class KMeansResult(NamedTuple):
    """Result of :func:`meddel_fast.kmeans`."""

    labels: Any
    centroids: Any
    distances: Any
    inertia: float
    iterations: int
    converged: bool


class DeduplicateResult(NamedTuple):
    """Result of :func:`meddel_fast.deduplicate`."""

    keep: Any
    representative: Any
    similarity: Any


# The fields that have an entry for each row of x; of others the rows are named by number.
EACH_ROW: dict[type, frozenset[str]] = {
    KCenterResult: frozenset(["distances"]),
    SimilarPairsResult: frozenset(),
    RedundancyResult: frozenset(["similarity", "neighbor"]),
    TopKResult: frozenset(["similarity", "indices"]),
    KMeansResult: frozenset(["labels", "distances"]),
    DeduplicateResult: frozenset(["keep", "representative", "similarity"]),
}

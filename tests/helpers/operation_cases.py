"""Every operation beside its truth, and sets of equal rows: what tests on all devices share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from samples import as_reference, assert_same, of_type, told

import meddel_fast as mf

RULES = ["semdedup", "greedy", "components"]


def doubled(rng: np.random.Generator, n: int, d: int, dtype: str = "float32") -> tuple[Any, Any]:
    """Return n different rows, each twice, in a mixed order; and which of them each one is."""
    if dtype == "bfloat16":
        pytest.importorskip("torch")
    some = of_type(rng.normal(size=(n, d)).astype(np.float32), dtype)
    which = rng.permutation(np.repeat(np.arange(n), 2))
    return some[which], which


def twice(which: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first and the second place of each of the rows, by the first."""
    places = np.argsort(which, kind="stable").reshape(-1, 2)
    return places[np.argsort(places[:, 0])].T


def operations(n: int) -> dict[str, tuple[Any, Any]]:
    """name -> (fast, reference), each a function of the samples; n is their number."""
    k = max(1, min(n - 1, 7)) if n > 1 else 1
    order = np.random.default_rng(1).permutation(n)
    labels = np.random.default_rng(2).integers(3, size=n)
    weights = np.random.default_rng(3).integers(4, size=n) / 3
    weights[:9] = 0.7
    calls: dict[str, tuple[str, tuple[Any, ...], dict[str, Any]]] = {
        "kcenter": ("kcenter_greedy", (k,), {}),
        "kcenter_all": ("kcenter_greedy", (n,), {"start": n - 1}),
        "kcenter_cosine": ("kcenter_greedy", (k,), {"metric": "cosine"}),
        "pairs_95": ("similar_pairs", (), {"threshold": 0.95}),
        "pairs_0": ("similar_pairs", (), {"threshold": 0.0}),
        "pairs_1": ("similar_pairs", (), {"threshold": 1.0}),
        "redundancy": ("redundancy", (), {}),
        "redundancy_order": ("redundancy", (), {"order": order}),
        "redundancy_labels": ("redundancy", (), {"order": order, "labels": labels}),
        "semdedup": ("deduplicate", (0.9,), {"labels": labels}),
        "greedy": ("deduplicate", (0.9,), {"rule": "greedy", "order": order}),
        "components": ("deduplicate", (0.9,), {"rule": "components", "order": order}),
        "kmeans": ("kmeans", (min(n, 4),), {"max_iterations": 5}),
        "kmeans_one": ("kmeans", (1,), {"max_iterations": 2, "seed": 1}),
        "kmeans_weighted": (
            "kmeans",
            (min(n, 4),),
            {"max_iterations": 5, "sample_weight": weights, "tol": 1e-3},
        ),
        "kmeans_split": (
            "kmeans",
            (min(n, 9),),
            {"max_iterations": 3, "sample_weight": weights, "init": "split", "spherical": False},
        ),
        "kmeans_euclidean": ("kmeans", (min(n, 4),), {"max_iterations": 5, "spherical": False}),
    }
    if n > 1:
        calls["topk"] = ("topk_similarity", (None, k), {})
        if len(order) > 2:
            warm = {"selected": order[:2], "radius": 1e-3}
            calls["kcenter_warm"] = ("kcenter_greedy", (min(k, n - 2),), warm)
            warm = {**warm, "metric": "cosine"}
            calls["kcenter_warm_cosine"] = ("kcenter_greedy", (min(k, n - 2),), warm)

    def pair(name: str, args: Any, kwargs: Any) -> tuple[Any, Any]:
        return (
            lambda x, **more: getattr(mf, name)(x, *args, **kwargs, **more),
            lambda x: told(name, as_reference(x), *args, **kwargs),
        )

    return {key: pair(*call) for key, call in calls.items()}


def check_all(x: Any, **more: Any) -> None:
    for name, (fast, slow) in operations(len(x)).items():
        try:
            assert_same(fast(x, **more), slow(x))
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from None

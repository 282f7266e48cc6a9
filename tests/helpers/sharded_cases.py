"""Operations on parts of rows, the sets they are tried on, and what each returns in memory."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from samples import clustered, of_type

import meddel_fast as mf

N, D = 3500, 24
ORDER = np.random.default_rng(1).permutation(N)
LABELS = np.random.default_rng(2).integers(5, size=N)
SOME = ORDER[:3]
WEIGHTS = np.random.default_rng(4).integers(5, size=N) / 7

Operation = Callable[..., Any]

# Each takes rows, and how they are to be worked on.
OPERATIONS: dict[str, Operation] = {
    "pairs": lambda x, **how: mf.similar_pairs(x, threshold=0.985, max_pairs=40_000, **how),
    "pairs of two": lambda x, **how: mf.similar_pairs(
        x, other(x), threshold=0.985, max_pairs=40_000, **how
    ),
    "redundancy": mf.redundancy,
    "redundancy in order": lambda x, **how: mf.redundancy(x, order=ORDER, **how),
    "redundancy in groups": lambda x, **how: mf.redundancy(x, order=ORDER, labels=LABELS, **how),
    "top 3": lambda x, **how: mf.topk_similarity(x, None, 3, **how),
    "top 2 of two": lambda x, **how: mf.topk_similarity(x, other(x), 2, **how),
    "kmeans": lambda x, **how: mf.kmeans(x, 9, max_iterations=4, **how),
    "kmeans euclidean": lambda x, **how: mf.kmeans(
        x, 40, spherical=False, seed=3, max_iterations=3, **how
    ),
    "kmeans from init": lambda x, **how: mf.kmeans(x, 3, init=INIT, max_iterations=20, **how),
    "kmeans weighted": lambda x, **how: mf.kmeans(
        x, 20, sample_weight=WEIGHTS, tol=1e-3, max_iterations=4, **how
    ),
    "kmeans split": lambda x, **how: mf.kmeans(
        x, 40, spherical=False, init="split", sample_weight=WEIGHTS, max_iterations=2, **how
    ),
    "kcenter": lambda x, **how: mf.kcenter_greedy(x, 90, start=7, **how),
    "kcenter cosine": lambda x, **how: mf.kcenter_greedy(x, 70, metric="cosine", **how),
    "kcenter warm": lambda x, **how: mf.kcenter_greedy(
        x, 300, radius=1.0, selected=SOME, distances=False, **how
    )[:2],
    **{
        f"{rule}{name}": functools.partial(
            lambda x, rule, more, **how: mf.deduplicate(x, 0.98, rule=rule, **more, **how),
            rule=rule, more=more,
        )
        for rule in ("semdedup", "greedy", "components")
        for name, more in {
            "": {}, " in order": {"order": ORDER}, " in groups": {"order": ORDER, "labels": LABELS}
        }.items()
    },
}  # fmt: skip
INIT = np.random.default_rng(3).normal(size=(3, D)).astype(np.float32)


def other(x: Any) -> Any:
    """A second set of another type than most: its first 1,300 rows are among those of `sample`."""
    return sample("float32")[:1300]


@functools.cache
def sample(dtype: str) -> Any:
    """Clusters, copies near and far from each other, a zero row."""
    rng = np.random.default_rng(0)
    x = clustered(rng, N, D, centres=40)
    x[3000:3060] = x[7]
    x[1030] = x[1020]
    x[2200:2260] = x[100:160] * np.float32(1.01)
    return of_type(x, dtype)


def selection(name: str, x: Any, part: slice = slice(None), **how: Any) -> list[Any]:
    """What a selector keeps of rows, of which `part` are this rank's, and how it scores all."""
    found = mf.selectors.select(name, x, 200, exclude=LEFT_OUT[part], selected=KEPT, **how)
    return [found.order, found.scores, found.cluster]


LEFT_OUT = np.isin(np.arange(N), ORDER[:250])
KEPT = ORDER[250:260]


@functools.cache
def whole(name: str, dtype: str) -> Any:
    """What the operation, or selector, returns in memory."""
    if name.startswith("selector "):
        return selection(name.removeprefix("selector "), sample(dtype))
    return OPERATIONS[name](sample(dtype))

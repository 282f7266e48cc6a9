"""Groups leave out no pair that counts: sets large enough for whole groups to be skipped, with
neighbours on both sides of every border between groups."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np
import pytest
from numpy.typing import NDArray
from samples import assert_same

import meddel_fast as mf
from meddel_fast import _core, reference

N, D = 1100, 132


@pytest.fixture(autouse=True, params=["grouped", "always", "wide"])
def grouped(request: pytest.FixtureRequest) -> Iterator[None]:
    _core.use_screen(request.param)
    yield
    _core.use_screen("auto")


def made(shape: str) -> NDArray[np.float32]:
    rng = np.random.default_rng(len(shape))
    if shape == "circle":  # steps between the codes are as long as the way to the next row
        angle = rng.uniform(0, 2 * np.pi, size=N)
        return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    if shape == "arc":  # rows next to each other across borders that groups overlap
        angle = rng.uniform(0, 0.4, size=N)
        return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    if shape == "surface":  # three dimensions: groups are patches that touch each other
        x = rng.normal(size=(N, 3)) @ rng.normal(size=(3, D))
    elif shape == "walk":
        x = np.cumsum(rng.normal(size=(N, 5)), axis=0) @ rng.normal(size=(5, D))
    else:  # clusters apart, and rows between two of them
        centres = 4 * rng.normal(size=(12, D))
        x = centres[rng.integers(12, size=N)] + rng.normal(size=(N, D))
        a, b = rng.integers(12, size=(2, N // 8))
        part = rng.random((N // 8, 1))
        x[: N // 8] = part * centres[a] + (1 - part) * centres[b]
    x[5], x[N // 2] = 0, 3 * x[7]
    return (x + 1e-3 * rng.normal(size=x.shape)).astype(np.float32)


@functools.cache
def truth(shape: str) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    x = made(shape)
    return x, reference.cosine(reference.widen(x), reference.widen(x))


SHAPES = ["surface", "walk", "bridges", "circle", "arc"]


@functools.cache
def similar(shape: str, share: float) -> tuple[float, Any, Any]:
    """The cosine that a share of all pairs reaches; these pairs, and those of the first rows."""
    _, cosine = truth(shape)
    threshold = float(np.quantile(cosine[np.triu_indices(N, 1)], 1 - share))
    i, j = np.nonzero(np.triu(cosine >= threshold, 1))
    first, second = np.nonzero(cosine[:300] >= threshold)
    return threshold, (i, j, cosine[i, j]), (first, second, cosine[first, second])


@pytest.mark.parametrize("shape", SHAPES)
def test_pairs(isa: str, shape: str) -> None:
    x, _ = truth(shape)
    for share in (0.0005, 0.003, 0.1):
        threshold, wanted, of_two = similar(shape, share)
        assert_same(mf.similar_pairs(x, threshold=threshold, threads=2), wanted)
        limit = len(wanted[0]) // 2
        parts = list(mf.iter_similar_pairs(x, threshold=threshold, max_pairs=limit))
        assert len(parts) > 1
        assert_same([np.concatenate(p) for p in zip(*parts, strict=True)], wanted)
        pairs = mf.similar_pairs(x[:300], x, threshold=threshold, threads=1)
        assert_same(pairs, of_two)


ORDER = np.random.default_rng(0).permutation(N)
NEAREST: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("topk_similarity", (None, 1), {}), ("topk_similarity", (None, 4), {}),
    ("redundancy", (), {}), ("redundancy", (), {"order": ORDER}),
]  # fmt: skip


@functools.cache
def nearest(shape: str) -> list[Any]:
    x, cosine = truth(shape)
    lent = mock.patch.object(reference, "cosine", side_effect=lambda _x, _y: cosine.copy())
    with lent:
        return [getattr(reference, name)(x, *args, **kwargs) for name, args, kwargs in NEAREST]


@pytest.mark.parametrize("shape", SHAPES)
def test_nearest(isa: str, shape: str) -> None:
    x, _ = truth(shape)
    for (name, args, kwargs), wanted in zip(NEAREST, nearest(shape), strict=True):
        assert_same(getattr(mf, name)(x, *args, threads=1, **kwargs), wanted)


@functools.cache
def centres(shape: str, metric: str) -> Any:
    return reference.kcenter_greedy(made(shape), 700 if shape == "circle" else 260, metric=metric)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("shape", SHAPES)
def test_kcenter(isa: str, shape: str, metric: str) -> None:
    x, wanted = made(shape), centres(shape, metric)
    k = len(wanted[0])
    assert_same(mf.kcenter_greedy(x, k, metric=metric, threads=2), wanted)
    args = {"metric": metric, "selected": wanted[0][: k // 2], "distances": False}
    warm = mf.kcenter_greedy(x, k - k // 2, **args)
    assert_same(warm[:2], [field[k // 2 :] for field in wanted[:2]])

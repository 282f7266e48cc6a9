"""The public functions on a GPU, where there is one: equal to reference.py, or, for more rows than
that can take, to the CPU's kernels, which other tests hold to it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from operation_cases import check_all, operations
from samples import (
    ADVERSARIAL,
    DTYPES,
    adversarial,
    assert_same,
    clustered,
    of_type,
    on_a_busy_stream,
)

pytest.importorskip("torch")

import torch

import meddel_fast as mf


def back(result: Any) -> list[Any]:
    return [field.cpu() if isinstance(field, torch.Tensor) else field for field in result]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "d"), [(70, 37), (300, 200)])
def test_types(device: str, n: int, d: int, dtype: str, rng: np.random.Generator) -> None:
    check_all(of_type(clustered(rng, n, d), dtype), device=device)


@pytest.mark.parametrize("d", [1, 7, 8, 9, 63, 64, 65, 129, 4096])
def test_widths(device: str, d: int, rng: np.random.Generator) -> None:
    check_all(clustered(rng, 33, d), device=device)


@pytest.mark.parametrize("n", [1, 2, 3, 127, 128, 129, 257])
def test_sizes(device: str, n: int, rng: np.random.Generator) -> None:
    check_all(clustered(rng, n, 70), device=device)


@pytest.mark.parametrize("name", ADVERSARIAL)
@pytest.mark.parametrize("d", [20, 100])
def test_adversarial(device: str, name: str, d: int, rng: np.random.Generator) -> None:
    check_all(adversarial(name, rng, 60, d), device=device)


def test_tensors_stay_on_the_device(device: str, rng: np.random.Generator) -> None:
    x = clustered(rng, 200, 70)
    there = torch.from_numpy(x).to(device)
    for name, (fast, slow) in operations(len(x)).items():
        got = fast(there)
        assert got[0].is_cuda, name
        assert_same(back(got), slow(x))


def test_work_goes_to_the_current_stream(device: str, rng: np.random.Generator) -> None:
    x = torch.from_numpy(clustered(rng, 4000, 256)).to(device)
    wanted = mf.redundancy(x)
    got = on_a_busy_stream(x, mf.redundancy)
    assert_same(back(got), back(wanted))


def many(rng: np.random.Generator, dtype: str) -> Any:
    """Enough rows for clusters, windows and more than one part; exact duplicates: ties."""
    x = clustered(rng, 40_000, 160, centres=900)
    x[30_000:] = x[:10_000]
    return of_type(x, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_many_rows(device: str, dtype: str, rng: np.random.Generator) -> None:
    x = many(rng, dtype)
    order, labels = rng.permutation(len(x)), rng.integers(7, size=len(x))
    for call in (
        lambda **more: mf.similar_pairs(x, threshold=0.97, **more),
        lambda **more: mf.similar_pairs(x[:9000], x[9000:], threshold=0.97, **more),
        lambda **more: mf.redundancy(x, order=order, **more),
        lambda **more: mf.redundancy(x, order=order, labels=labels, **more),
        lambda **more: mf.topk_similarity(x, k=5, **more),
        lambda **more: mf.topk_similarity(x[:9000], x[9000:], 40, **more),
        lambda **more: mf.kmeans(x, 300, max_iterations=3, **more),
        lambda **more: mf.kmeans(x, 300, max_iterations=3, spherical=False, **more),
        lambda **more: mf.deduplicate(x, 0.97, rule="greedy", order=order, **more),
        lambda **more: mf.deduplicate(x, 0.97, rule="components", labels=labels, **more),
        lambda **more: mf.kcenter_greedy(x, 500, **more),
    ):
        assert_same(call(device=device), call())


def test_rows_that_do_not_fit(
    device: str, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    from meddel_fast.ops import _gpu

    monkeypatch.setattr(_gpu, "_fits", lambda *_: False)
    x = many(rng, "float16")
    for call in (
        lambda **more: mf.similar_pairs(x, threshold=0.97, **more),
        lambda **more: mf.kmeans(x, 100, max_iterations=2, **more),
        lambda **more: mf.kcenter_greedy(x, 100, **more),
    ):
        assert_same(call(device=device), call())


def test_no_result_depends_on_the_configuration(
    device: str, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    from meddel_fast.kernels import join, tile_max

    x = many(rng, "float16")[:5000]
    wanted = mf.topk_similarity(x, k=3)
    for kernel in (join.flag_tiles, join.collect_pairs, tile_max.tile_max):
        for config in list(kernel.configs):
            with monkeypatch.context() as patch:
                patch.setattr(kernel, "configs", [config])
                patch.setattr(kernel, "cache", {})
                assert_same(mf.topk_similarity(x, k=3, device=device), wanted)

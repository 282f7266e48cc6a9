"""What the CUDA extension and k-center on a device must do; the module that imports these tests
says on which device, by its fixture ``device``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from samples import adversarial, as_reference, assert_same, clustered, of_type

from meddel_fast import reference
from meddel_fast.kernels import confirm, cuda
from meddel_fast.kernels.kcenter import Sizes, kcenter_greedy
from meddel_fast.kernels.prepared import Tuning
from meddel_fast.kernels.rows import Rows

TYPES = ["float32", "float16", "bfloat16", "int8"]
METRICS = ["euclidean", "cosine"]
# Many epochs, many screens, tiles of several rows' worth of centres.
SMALL = Sizes(active=8, few=3, growth=4, rows=40, join=Tuning(tile=32, capacity=1 << 14))


def on(device: torch.device, x: Any) -> torch.Tensor:
    return (x if isinstance(x, torch.Tensor) else torch.from_numpy(x)).to(device)


def rows_of(device: torch.device, x: Any) -> Rows:
    return Rows(on(device, x), device)


def check_kcenter(device: torch.device, x: Any, k: int, sizes: Sizes = SMALL, **more: Any) -> None:
    rows = rows_of(device, x)
    wanted = reference.kcenter_greedy(as_reference(x), k, **more)
    given = dict(more, cosine=more.get("metric") == "cosine")
    given.pop("metric", None)
    if "selected" in given:
        given["selected"] = on(device, given["selected"])
    got = kcenter_greedy(rows, confirm.squared_norms(rows), k, sizes=sizes, **given)
    assert_same([field.cpu() for field in got], wanted)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("d", [1, 8, 37, 64, 200])
def test_inner_products(device: torch.device, dtype: str, d: int, rng: np.random.Generator) -> None:
    x = of_type(clustered(rng, 40, d), dtype)
    wide = reference.widen(as_reference(x))
    i, j = rng.integers(40, size=(2, 77))
    for spare in (0, 3):  # rows that do not stand at multiples of 16 bytes
        held = torch.zeros((40, d + spare), dtype=on(device, x).dtype, device=device)
        held[:, :d] = on(device, x)
        got = cuda.inner_products(held[:, :d], held[:, :d], on(device, i), on(device, j))
        assert_same([got.cpu()], [reference.inner(wide, wide)[i, j]])


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("metric", METRICS)
def test_distance_matrix(
    device: torch.device, dtype: str, metric: str, rng: np.random.Generator
) -> None:
    x = of_type(clustered(rng, 45, 70), dtype)
    wide = reference.widen(as_reference(x))
    squares = reference.squared_norm(wide)
    if metric == "cosine":
        wanted = 1.0 - reference.cosine(wide, wide)
    else:
        wanted = reference.squared_distance(wide, wide)
    got = cuda.distance_matrix(on(device, x), on(device, squares), cosine=metric == "cosine")
    assert_same([got.cpu()], [wanted])


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("metric", METRICS)
def test_kcenter(device: torch.device, dtype: str, metric: str, rng: np.random.Generator) -> None:
    check_kcenter(device, of_type(clustered(rng, 60, 70), dtype), 25, metric=metric)


@pytest.mark.parametrize("n", [1, 2, 9, 50])
def test_kcenter_chooses_all(device: torch.device, n: int, rng: np.random.Generator) -> None:
    check_kcenter(device, clustered(rng, n, 5), n, start=n - 1)


@pytest.mark.parametrize("metric", METRICS)
def test_kcenter_with_selected(device: torch.device, metric: str, rng: np.random.Generator) -> None:
    x = clustered(rng, 60, 20)
    check_kcenter(device, x, 20, metric=metric, selected=rng.permutation(60)[:23])


@pytest.mark.parametrize("metric", METRICS)
def test_kcenter_breaks_ties_across_what_is_active(
    device: torch.device, metric: str, rng: np.random.Generator
) -> None:
    """Rows of few values: nearly all distances are ties. (One draw in five needs the border.)"""
    for draw in range(10):
        x = rng.integers(-3, 4, size=(70, 2)).astype(np.int8)
        check_kcenter(device, x, 45, Sizes(active=8, few=100), metric=metric, start=draw)
    check_kcenter(device, x, 45, metric=metric)


@pytest.mark.parametrize("name", ["equal", "zero", "mixed", "line", "one_hot"])
def test_kcenter_adversarial(device: torch.device, name: str, rng: np.random.Generator) -> None:
    check_kcenter(device, adversarial(name, rng, 40, 20), 25)


@pytest.mark.parametrize("metric", METRICS)
def test_kcenter_ends_at_a_radius(
    device: torch.device, metric: str, rng: np.random.Generator
) -> None:
    x = clustered(rng, 50, 9)
    _, radii, _ = reference.kcenter_greedy(x, 30, metric=metric)
    for radius in (float(radii[12]), float(np.nextafter(radii[12], 0.0))):
        check_kcenter(device, x, 50, metric=metric, radius=radius)


def test_kcenter_without_distances(device: torch.device, rng: np.random.Generator) -> None:
    x = clustered(rng, 50, 9)
    rows = rows_of(device, x)
    got = kcenter_greedy(rows, confirm.squared_norms(rows), 20, distances=False, sizes=SMALL)
    assert got[2] is None
    assert_same([field.cpu() for field in got[:2]], reference.kcenter_greedy(x, 20)[:2])


def test_kcenter_of_the_sizes_that_are_used(device: torch.device, rng: np.random.Generator) -> None:
    check_kcenter(device, clustered(rng, 150, 70), 12, sizes=Sizes())


@pytest.mark.parametrize(("n", "pairs"), [(1, 0), (50, 0), (50, 30), (400, 300), (400, 3000)])
def test_components(device: torch.device, n: int, pairs: int, rng: np.random.Generator) -> None:
    i, j = rng.integers(n, size=(2, pairs))
    wanted = np.arange(n)
    for _ in range(n):
        low = np.minimum(wanted[i], wanted[j])
        before = wanted.copy()
        np.minimum.at(wanted, i, low)
        np.minimum.at(wanted, j, low)
        if np.array_equal(before, wanted):
            break
    got = cuda.components(on(device, i), on(device, j), n)
    assert_same([got.cpu()], [wanted])

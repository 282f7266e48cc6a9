"""k-center of rows of few elements: a box leaves out no centre that brings one of its rows nearer.

Sets of several buckets, on which ties are many and the truth's own rounding decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from samples import ADVERSARIAL, DTYPES, adversarial, as_reference, assert_same, of_type, told

import meddel_fast as mf
from meddel_fast import _core, reference

WIDTHS = [1, 2, 3, 4, 5, 6, 7, 8, 9]  # of 9, boxes hold none
N = 700


@pytest.fixture(autouse=True)
def boxes() -> Iterator[None]:
    _core.use_screen("boxes")
    yield
    _core.use_screen("auto")


def made(shape: str, d: int, n: int = N) -> NDArray[np.float32]:
    rng = np.random.default_rng([len(shape), d])
    normal = rng.normal(size=(n, d))
    if shape == "uniform":
        x = rng.random((n, d))
    elif shape == "grid":
        x = rng.integers(0, 4, size=(n, d)).astype(float)
    elif shape == "far grid":  # in steps of the last bit
        x = 16300 + rng.integers(0, 3, size=(n, d)) * 2.0**-10
    elif shape == "offset":
        x = normal + 1e4
    elif shape == "clusters":
        x = rng.random((9, d))[rng.integers(9, size=n)] + 1e-4 * normal
    elif shape == "line":
        x = np.outer(np.linspace(1, 2, n), rng.random(d))
    elif shape == "outlier":
        x = np.concatenate([1e9 * np.ones((1, d)), normal[1:]])
    elif shape == "shells":  # all as large as the one before, and half of it
        x = normal * 2.0 ** -rng.integers(0, 100, size=(n, 1))
    else:  # about the middle of a sphere, all centres are as far but for a rounding in fp32
        x = normal / np.linalg.norm(normal, axis=1, keepdims=True)
        x[::2] = 1e-8 * normal[::2]
        x *= {"sphere": 1.0, "small sphere": 2e-22, "large sphere": 1.7e19}[shape]
    x = x.astype(np.float32)
    x[n // 3], x[n // 2] = x[1], x[1]
    return x[rng.permutation(n)]


SHAPES = [
    "uniform", "grid", "far grid", "offset", "clusters", "line", "outlier", "shells", "sphere",
    "small sphere", "large sphere",
]  # fmt: skip


@pytest.mark.parametrize("d", WIDTHS)
@pytest.mark.parametrize("shape", SHAPES)
def test_all_rows_in_order(isa: str, shape: str, d: int) -> None:
    x = made(shape, d)
    assert_same(mf.kcenter_greedy(x, N, start=5), told("kcenter_greedy", x, N, start=5))


@pytest.mark.parametrize("d", [1, 3, 8])
@pytest.mark.parametrize("shape", SHAPES)
def test_some_rows_and_those_before(shape: str, d: int) -> None:
    x = made(shape, d)
    selected = np.random.default_rng(d).permutation(N)[:90]
    for k, known in ((1, None), (2, None), (40, None), (1, selected), (60, selected)):
        wanted = told("kcenter_greedy", x, k, selected=known)
        for threads in (1, 3):
            assert_same(mf.kcenter_greedy(x, k, selected=known, threads=threads), wanted)
        centres = mf.kcenter_greedy(x, k, selected=known, distances=False)
        assert centres.distances is None
        assert_same(centres[:2], wanted[:2])
    radius = float(told("kcenter_greedy", x, 40)[1][30])
    for limit in (radius, float(np.nextafter(radius, 0.0)), 0.0):
        wanted = told("kcenter_greedy", x, N, radius=limit)
        assert_same(mf.kcenter_greedy(x, radius=limit), wanted)


def around(kind: str, d: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """One point as often as a bucket holds rows, and 90 as far from it but for some rounding."""
    normal = rng.normal(size=(90, d))
    normal[:, 0] *= kind != "far"
    sphere = normal / np.linalg.norm(normal, axis=1, keepdims=True)
    middle = 1e-8 * rng.normal(size=d)
    scale = {"near": 1.0, "tiny": 2e-22, "far": 1e-3}[kind]  # tiny: squares are a few 2^-149
    if kind == "far":
        middle[0] = 1e7 + 1e6 * rng.random()  # so that 1e-6 is some twenty roundings in fp64
    return (scale * np.concatenate([np.tile(middle, (256, 1)), middle + sphere])).astype(np.float32)


@pytest.mark.parametrize("kind", ["near", "tiny", "far"])
@pytest.mark.parametrize("d", WIDTHS[1:])
def test_what_rounding_decides(isa: str, kind: str, d: int) -> None:
    """Each centre is nearer than the one before it, by as little as there is."""
    rng = np.random.default_rng(d)
    for _ in range(10):
        x = around(kind, d, rng)
        wide = reference.widen(x)
        far = reference.squared_distance(wide[256:], wide[:1])[:, 0]
        falling = 256 + np.argsort(-far, kind="stable")
        for count in (10, 50, 90):
            found = mf.kcenter_greedy(x, 1, radius=1e30, selected=falling[:count])
            wanted = np.sqrt(reference.squared_distance(wide, wide[falling[:count]]).min(axis=1))
            np.testing.assert_array_equal(found.distances, wanted)


@pytest.mark.parametrize("n", [1, 2, 3, 15, 16, 17, 255, 256, 257, 511, 512, 513])
def test_sizes_of_buckets(isa: str, n: int) -> None:
    for d in (1, 3, 8):
        x = np.random.default_rng(n).integers(0, 9, size=(n, d)).astype(np.float32)
        assert_same(mf.kcenter_greedy(x, n), told("kcenter_greedy", x, n))
        same = np.ones((n, d), np.float32)
        assert_same(mf.kcenter_greedy(same, n), told("kcenter_greedy", same, n))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("d", [1, 2, 3, 5, 8])
def test_types_and_layouts(isa: str, dtype: str, d: int) -> None:
    if dtype == "bfloat16":
        pytest.importorskip("torch")
    x = of_type(made("clusters", d), dtype)
    wanted = told("kcenter_greedy", as_reference(x), 200)
    assert_same(mf.kcenter_greedy(x, 200), wanted)
    wide = of_type(np.repeat(made("clusters", d), 2, axis=1), dtype)  # rows apart
    assert_same(
        mf.kcenter_greedy(wide[:, :d], 200),
        told("kcenter_greedy", np.ascontiguousarray(as_reference(wide)[:, :d]), 200),
    )


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_adversarial(isa: str, name: str, rng: np.random.Generator) -> None:
    for d in (1, 3, 8):
        x = adversarial(name, rng, 600, d)
        assert_same(mf.kcenter_greedy(x, 300), told("kcenter_greedy", x, 300))


@pytest.mark.parametrize("d", range(1, 9))
def test_the_same_without_boxes(d: int, rng: np.random.Generator) -> None:
    for x in (rng.normal(size=(2000, d)), rng.integers(0, 12, size=(2000, d))):
        rows = x.astype(np.float32)
        got = mf.kcenter_greedy(rows, 2000, start=d)
        _core.use_screen("never")
        assert_same(got, mf.kcenter_greedy(rows, 2000, start=d))
        _core.use_screen("boxes")


def test_many_rows() -> None:
    """Crowded cells are cut again: dense clusters, copies and one row far from all."""
    rng = np.random.default_rng(0)
    x = rng.random((30_000, 3)).astype(np.float32)
    x[:9000] = x[0] + np.float32(1e-6) * x[:9000]
    x[9000:12000] = x[9000]
    x[20_000] = 1e12
    got = mf.kcenter_greedy(x, 2000)
    _core.use_screen("never")
    assert_same(got, mf.kcenter_greedy(x, 2000))


def test_they_are_used_by_themselves() -> None:
    """Without them, this takes ten times as long as the limit."""
    import time

    x = np.random.default_rng(0).random((100_000, 3)).astype(np.float32)
    _core.use_screen("auto")
    began = time.thread_time()
    mf.kcenter_greedy(x, 30_000, distances=False, threads=1)
    assert time.thread_time() - began < 0.5


def test_an_exception_of_the_callback_ends_it() -> None:
    x, calls = np.random.default_rng(0).random((400_000, 3)).astype(np.float32), []

    def stop(done: int, total: int) -> Any:
        calls.append((done, total))
        if len(calls) == 3:
            raise LookupError

    with pytest.raises(LookupError):
        mf.kcenter_greedy(x, 390_000, threads=1, progress=stop)
    assert all(0 <= done < total == 780_000 for done, total in calls)
    assert sorted(calls) == calls

"""k-center where bounds are stretched: few centres in fp32, loose bars, codes that are not kept;
and each of its ways where few samples take another one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.helpers.samples import (
    ADVERSARIAL,
    adversarial,
    as_reference,
    assert_same,
    of_type,
    told,
)

import meddel_fast as mf
from meddel_fast import _core

METRICS = ["euclidean", "cosine"]


@pytest.fixture(params=["near", "passes"])
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """Products of rows with the few centres that they have not seen; passes over all rows."""
    _core.use_screen(request.param)
    yield request.param
    _core.use_screen("auto")


def assert_told(x: Any, k: int, **kwargs: Any) -> None:
    """With and without distances."""
    wanted = told("kcenter_greedy", as_reference(x), k, **kwargs)
    assert_same(mf.kcenter_greedy(x, k, **kwargs), wanted)
    assert_same(mf.kcenter_greedy(x, k, distances=False, **kwargs)[:2], wanted[:2])


def far_off(rng: np.random.Generator, n: int, d: int) -> NDArray[np.float32]:
    """Rows whose distances from each other are less than fp32 products tell."""
    return (100 + 1e-3 * rng.normal(size=(n, d))).astype(np.float32)


def mirrored(rng: np.random.Generator, n: int, d: int) -> NDArray[np.float32]:
    """Rows about half-way between two far points each, nearer to one by some last places."""
    ends = 8 * rng.normal(size=(16, d)).astype(np.float32)
    a, b = ends[rng.integers(16, size=n)], ends[rng.integers(16, size=n)]
    x = (0.5 * (a + b)).astype(np.float32)
    x[:, 0] = np.nextafter(x[:, 0], np.float32(np.inf) * rng.choice([-1, 1], n).astype(np.float32))
    x[:16] = ends
    return x


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("name", ["far off", "mirrored", "vast", *ADVERSARIAL])
def test_few_centres(isa: str, name: str, metric: str, way: str, rng: np.random.Generator) -> None:
    """So few that no codes are made; of the wider rows, and most centres, products in fp32."""
    for d, k in ((1, 5), (7, 12), (7, 120), (9, 3), (17, 150), (40, 20), (150, 6), (150, 64)):
        if name in ("far off", "mirrored"):
            x: Any = (far_off if name == "far off" else mirrored)(rng, 300, d)
        elif name == "vast":  # products leave fp32's range
            x = rng.normal(size=(300, d)).astype(np.float32) * np.float32(3e19)
        else:
            x = adversarial(name, rng, 300, d)
        assert_told(x, k, metric=metric)


def test_few_centres_whose_lengths_have_no_inverse(
    isa: str, way: str, rng: np.random.Generator
) -> None:
    """1 / |y| overflows in fp32 where |x||y| is as good as any."""
    x = rng.normal(size=(200, 17))
    x *= 10.0 ** rng.choice([-42, 18], size=(200, 1)) / np.linalg.norm(x, axis=1)[:, None]
    x = x.astype(np.float32)
    for k in (20, 150):
        assert_told(x, k, metric="cosine")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8"])
def test_few_centres_of_a_type(isa: str, dtype: str, way: str, rng: np.random.Generator) -> None:
    x = of_type(10 * rng.normal(size=(300, 37)), dtype)
    some = np.array([7, 3, 200])
    for k in (2, 30, 150):
        assert_told(x, k)
        assert_told(x, k, selected=some, metric="cosine")


@pytest.mark.parametrize("d", [1, 2, 3, 4, 8, 11, 300])
def test_rows_apart_and_side_by_side(isa: str, d: int, way: str, rng: np.random.Generator) -> None:
    """Narrow rows share registers where they are adjacent; ties, and the last few rows."""
    x = rng.integers(-3, 4, size=(301, d + 2)).astype(np.float32)
    for rows in (np.ascontiguousarray(x[:, :d]), x[:, :d]):
        for n in (1, 7, 8, 301):
            assert_told(rows[:n], min(n, 20), start=n - 1)


def test_passes_by_several_threads(rng: np.random.Generator) -> None:
    """The farthest of all parts is the farthest; of equal ones the lowest."""
    x = rng.integers(-2, 3, size=(20, 300)).astype(np.float32)[rng.integers(20, size=2000)]
    _core.use_screen("passes")
    try:
        for metric in METRICS:
            one = mf.kcenter_greedy(x, 8, metric=metric, threads=1)
            assert_same(mf.kcenter_greedy(x, 8, metric=metric, threads=3), one)
            assert_same(one, told("kcenter_greedy", x, 8, metric=metric))
    finally:
        _core.use_screen("auto")


@pytest.mark.parametrize("k", [3, 60])
@pytest.mark.parametrize("kinds", [2, 40, 300])
def test_crowds_of_equal_rows(kinds: int, k: int, way: str, rng: np.random.Generator) -> None:
    """More rows that are equally far than are kept exact: only then copies are looked for."""
    few = rng.integers(-1, 2, size=(kinds, 30)).astype(np.float32)
    few /= np.linalg.norm(few, axis=1)[:, None] + np.float32(1e-9)
    x = few[rng.integers(kinds, size=900)]
    for metric in METRICS:
        assert_told(x, k, metric=metric)
        assert_told(x, k, metric=metric, start=899, selected=np.array([5, 800, 4]))


@pytest.mark.parametrize("share", [0.02, 0.5, 1.0])
@pytest.mark.parametrize("way", ["near", "passes", "always"])
def test_zero_rows_by_cosine(share: float, way: str, rng: np.random.Generator) -> None:
    """They have distance 1 to all, each other too, and take turns with what is as far."""
    x = rng.integers(-1, 2, size=(200, 12)).astype(np.float32)
    x[rng.random(200) < share] = 0
    zero, other = np.flatnonzero(~x.any(axis=1)), np.flatnonzero(x.any(axis=1))
    _core.use_screen(way)
    try:
        for k in (2, 90, 200):
            assert_told(x, k, metric="cosine", start=int(zero[-1]))
            assert_told(x, k, metric="cosine", start=int(other[0]) if len(other) else 0)
        assert_told(x, 100, metric="cosine", selected=zero[::-1][:40])
        assert_told(x, 100, metric="cosine", selected=np.append(other[:2], zero[1:9]))
        assert_told(x, 100, metric="cosine", radius=0.99)
    finally:
        _core.use_screen("auto")


@pytest.mark.parametrize("way", ["auto", "boxes", "near", "passes", "always"])
def test_refuses_what_is_not_finite(way: str, rng: np.random.Generator) -> None:
    """Whichever pass over the rows comes first sees it."""
    _core.use_screen(way)
    try:
        for n, d in ((100, 3), (100, 40), (700, 400)):
            x = rng.normal(size=(n, d)).astype(np.float32)
            x[70, d - 1], x[50, 0], x[90, 1] = np.inf, np.nan, -np.inf
            for k in (1, 2, 80):
                for metric in METRICS:
                    for distances in (True, False):
                        with pytest.raises(ValueError, match=r"x must be finite.* in row 50$"):
                            mf.kcenter_greedy(x, k, metric=metric, distances=distances)
                with pytest.raises(ValueError, match=r"x must be finite.* in row 50$"):
                    mf.kcenter_greedy(x, k, selected=np.array([1]), distances=False)
    finally:
        _core.use_screen("auto")


@pytest.mark.parametrize("screen", ["auto", "always", "wide", "dense"])
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("name", ["far off", "mirrored", "mixed", "equal", "spike"])
def test_many_centres_at_once(
    isa: str, name: str, metric: str, screen: str, rng: np.random.Generator
) -> None:
    """Rows that have seen few of the selected ones take the best of a tile first."""
    d = 70
    if name in ("far off", "mirrored"):
        x = (far_off if name == "far off" else mirrored)(rng, 700, d)
    else:
        x = adversarial(name, rng, 700, d)
    chosen = rng.permutation(700)[:330]
    wanted = told("kcenter_greedy", x, 20, metric=metric, selected=chosen)
    _core.use_screen(screen)
    try:
        assert_same(mf.kcenter_greedy(x, 20, metric=metric, selected=chosen), wanted)
    finally:
        _core.use_screen("auto")


def test_codes_that_are_not_kept(rng: np.random.Generator) -> None:
    """Of rows so wide that all their codes would take too much memory."""
    x = rng.integers(-128, 128, size=(4300, 16_000), dtype=np.int8)
    _core.use_screen("never")
    try:
        wanted = mf.kcenter_greedy(x, 70)
    finally:
        _core.use_screen("auto")
    assert_same(mf.kcenter_greedy(x, 70), wanted)

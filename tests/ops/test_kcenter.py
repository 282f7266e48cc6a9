"""k-center where bounds are stretched: few centres in fp32, loose bars, codes that are not kept."""

from __future__ import annotations

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
def test_few_centres(isa: str, name: str, metric: str, rng: np.random.Generator) -> None:
    """So few that no codes are made: products in fp32, one by one or side by side."""
    for d, k in ((1, 5), (7, 12), (9, 3), (17, 40), (40, 20), (150, 6), (150, 64)):
        if name in ("far off", "mirrored"):
            x: Any = (far_off if name == "far off" else mirrored)(rng, 300, d)
        elif name == "vast":  # products leave fp32's range
            x = rng.normal(size=(300, d)).astype(np.float32) * np.float32(3e19)
        else:
            x = adversarial(name, rng, 300, d)
        assert_same(
            mf.kcenter_greedy(x, k, metric=metric), told("kcenter_greedy", x, k, metric=metric)
        )


def test_few_centres_whose_lengths_have_no_inverse(isa: str, rng: np.random.Generator) -> None:
    """1 / |y| overflows in fp32 where |x||y| is as good as any."""
    x = rng.normal(size=(200, 17))
    x *= 10.0 ** rng.choice([-42, 18], size=(200, 1)) / np.linalg.norm(x, axis=1)[:, None]
    x = x.astype(np.float32)
    assert_same(
        mf.kcenter_greedy(x, 20, metric="cosine"), told("kcenter_greedy", x, 20, metric="cosine")
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8"])
def test_few_centres_of_a_type(isa: str, dtype: str, rng: np.random.Generator) -> None:
    x = of_type(10 * rng.normal(size=(300, 37)), dtype)
    some = np.array([7, 3, 200])
    for k in (2, 30):
        assert_same(mf.kcenter_greedy(x, k), told("kcenter_greedy", as_reference(x), k))
        assert_same(
            mf.kcenter_greedy(x, k, selected=some, metric="cosine"),
            told("kcenter_greedy", as_reference(x), k, selected=some, metric="cosine"),
        )


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

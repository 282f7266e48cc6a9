"""k-means++ with screens: the seeds of reference.py, whatever the rows, on every ISA."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from samples import ADVERSARIAL, adversarial, clustered, of_type, told

from meddel_fast import _core, reference

MANY = reference.BLOCK_ROWS + 203  # more than a block, and no whole number of them


def check(x: NDArray[Any], k: int, uniforms: NDArray[np.float64], threads: int = 1) -> None:
    """Both metrics; many seeds, as a weight that is wrong shows where a later one is drawn."""
    for spherical in (False, True):
        wanted = told("kmeans_plus_plus", reference.widen(x), k, spherical, uniforms)
        got = _core.kmeans_plus_plus(np.ascontiguousarray(x), spherical, list(uniforms), threads)
        np.testing.assert_array_equal(got, wanted, err_msg=f"spherical {spherical}")


def walks(rng: np.random.Generator, n: int, d: int) -> NDArray[np.float32]:
    """Frames of videos, some of them black, some twice."""
    steps = 0.1 * rng.normal(size=(n, d))
    steps[::100] = 2 * rng.normal(size=(len(steps[::100]), d))
    x = np.concatenate([np.cumsum(steps[i : i + 100], axis=0) for i in range(0, n, 100)])
    x[rng.integers(n, size=n // 20)] = 0
    x[rng.integers(n, size=n // 20)] = x[rng.integers(n, size=n // 20)]
    return x.astype(np.float32)


@pytest.mark.parametrize("d", [1, 24, 40, 100, 133, 384])
def test_widths(isa: str, screen: str, d: int, rng: np.random.Generator) -> None:
    check(walks(rng, MANY, d), 70, rng.random(70))


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_adversarial(isa: str, screen: str, name: str, rng: np.random.Generator) -> None:
    for d in (20, 100):
        check(adversarial(name, rng, 300, d), 90, rng.random(90))


@pytest.mark.parametrize("sigma", [0.5, 3.0])
def test_norms(isa: str, screen: str, sigma: float, rng: np.random.Generator) -> None:
    x = clustered(rng, MANY, 100) * np.exp(sigma * rng.normal(size=(MANY, 1)))
    check(x.astype(np.float32), 60, rng.random(60))


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_types(isa: str, screen: str, dtype: str, rng: np.random.Generator) -> None:
    check(of_type(walks(rng, MANY, 100), dtype), 60, rng.random(60))


def test_close_calls(isa: str, screen: str, rng: np.random.Generator) -> None:
    """Rows about as far from two centres, and copies of rows up to their last bits."""
    d = 100
    ends = rng.normal(size=(2, d))
    x = (ends[0] + ends[1]) / 2 + 1e-7 * rng.normal(size=(400, d))
    x[::4], x[1::4] = ends
    x[1::8] = np.nextafter(x[1::8].astype(np.float32), np.float32(np.inf))
    check(x.astype(np.float32), 120, rng.random(120))


def test_ends_of_the_uniforms(screen: str, rng: np.random.Generator) -> None:
    """The first and the last row that have a weight at all are drawn."""
    x = walks(rng, 2 * MANY, 64)
    check(x, 80, np.tile([0.0, np.nextafter(1.0, 0.0)], 40))


def test_more_seeds_than_different_rows(screen: str, rng: np.random.Generator) -> None:
    x = rng.normal(size=(30, 80)).astype(np.float32)[rng.integers(30, size=200)]
    x[::50] = 0
    check(x, 100, rng.random(100))


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_threads(threads: int, screen: str, rng: np.random.Generator) -> None:
    check(walks(rng, 5 * MANY, 70), 50, rng.random(50), threads)


def test_what_a_sample_chooses(rng: np.random.Generator) -> None:
    """Enough pairs for a prefix, narrow or not, and for dense codes that are made on the way."""
    pairs = 3.2e7
    for x in (
        walks(rng, 32000, 64),  # a narrow prefix
        clustered(rng, 32000, 384, centres=60),  # codes at first sight
        rng.normal(size=(32000, 64)).astype(np.float32),  # none: dense codes alone
        np.repeat(walks(rng, 16000, 96), 2, axis=0),  # copies
    ):
        k = int(pairs / len(x))
        uniforms = list(rng.random(k))
        for spherical in (False, True):
            with_screens = _core.kmeans_plus_plus(x, spherical, uniforms, 1)
            _core.use_screen("never")
            plain = _core.kmeans_plus_plus(x, spherical, uniforms, 1)
            _core.use_screen("auto")
            np.testing.assert_array_equal(with_screens, plain)

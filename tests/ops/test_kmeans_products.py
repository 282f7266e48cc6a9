"""The fp32 products of k-means leave to the truth what they cannot tell: each answer is that of the
plain way, which works out the truth of all rows with all centroids."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from samples import ADVERSARIAL, adversarial, assert_same, clustered, of_type

import meddel_fast as mf
from meddel_fast import _core

Floats = NDArray[np.float32]
WIDTHS = [1, 2, 3, 8, 17, 64, 65, 130]


@pytest.fixture(autouse=True)
def auto() -> Iterator[None]:
    yield
    _core.use_screen("auto")


def is_plain(x: Any, init: Floats, **args: Any) -> None:
    _core.use_screen("never")
    wanted = mf.kmeans(x, len(init), init=init, **args)
    _core.use_screen("products")
    assert_same(mf.kmeans(x, len(init), init=init, **args), wanted)


def between(rng: np.random.Generator, n: int, init: Floats) -> Floats:
    """Rows as far from one centroid as from another, but for what fp32 rounds."""
    a, b = (init[rng.integers(len(init), size=n)] for _ in range(2))
    middle = (a.astype(np.float64) + b) / 2
    side = rng.normal(size=middle.shape) * np.linalg.norm(middle, axis=1, keepdims=True)
    apart = a.astype(np.float64) - b
    square = np.maximum((apart**2).sum(axis=1, keepdims=True), 1e-30)
    side -= apart * (side * apart).sum(axis=1, keepdims=True) / square
    return (middle + rng.integers(2, size=(n, 1)) * side).astype(np.float32)


def close(rng: np.random.Generator, n: int, init: Floats) -> Floats:
    """Centroids that are copies of others, or differ in a bit."""
    init[1::3] = init[::3][: len(init[1::3])]
    init[2::3] = np.nextafter(init[::3][: len(init[2::3])], np.float32(9))
    return init[rng.integers(len(init), size=n)] + rng.normal(size=(n, init.shape[1])).astype("f")


def far_off(rng: np.random.Generator, n: int, init: Floats) -> Floats:
    """So far from the origin that fp32 tells no distances."""
    init += 3000
    return (3000 + rng.normal(size=(n, init.shape[1]))).astype(np.float32)


def integers(rng: np.random.Generator, n: int, init: Floats) -> Floats:
    """Equal distances everywhere, rows of zero, and centroids of zero."""
    init[:] = rng.integers(-1, 2, size=init.shape)
    return rng.integers(-1, 2, size=(n, init.shape[1])).astype(np.float32)


def lengths(rng: np.random.Generator, n: int, init: Floats) -> Floats:
    init *= np.exp(3 * rng.normal(size=(len(init), 1))).astype(np.float32)
    x = rng.normal(size=(n, init.shape[1])) * np.exp(3 * rng.normal(size=(n, 1)))
    return x.astype(np.float32)


def ends(rng: np.random.Generator, n: int, init: Floats) -> Floats:
    """Products, or 1 / |c|, that leave fp32's range."""
    sizes = np.array([1, 1e-40, 1e-25, 3e18, 3e19, 1e36])
    init *= rng.choice(sizes, size=(len(init), 1)).astype(np.float32)
    x = rng.normal(size=(n, init.shape[1])) * rng.choice(sizes, size=(n, 1))
    return x.astype(np.float32)


SHAPES: dict[str, Callable[[np.random.Generator, int, Floats], Floats]] = {
    f.__name__: f for f in (between, close, far_off, integers, lengths, ends)
}


@pytest.mark.parametrize("spherical", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("d", WIDTHS)
def test_assignments(isa: str, d: int, shape: str, spherical: bool) -> None:
    rng = np.random.default_rng([d, len(shape)])
    for n, k in ((1, 1), (63, 2), (65, 8), (300, 9), (700, 70)):
        init = rng.normal(size=(k, d)).astype(np.float32)
        x = SHAPES[shape](rng, n, init)
        is_plain(x, init, spherical=spherical, max_iterations=0, threads=1)


@pytest.mark.parametrize("spherical", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("d", [2, 64, 70])
def test_iterations(d: int, shape: str, spherical: bool) -> None:
    """With clusters that lose all members, rows that weigh nothing, and several threads."""
    rng = np.random.default_rng([d, len(shape)])
    init = rng.normal(size=(40, d)).astype(np.float32)
    x = SHAPES[shape](rng, 2100, init)
    init[5:8] = 1e3 * rng.normal(size=(3, d))
    weights = rng.integers(0, 3, size=len(x)) * rng.random(len(x))
    for iterations in (1, 2, 9):
        args = {"spherical": spherical, "max_iterations": iterations}
        is_plain(x, init, threads=1 + iterations % 3, **args)
        is_plain(x, init, sample_weight=weights, tol=1e-3, threads=1, **args)


@pytest.mark.parametrize("spherical", [False, True])
@pytest.mark.parametrize("name", ADVERSARIAL)
@pytest.mark.parametrize("d", [3, 100])
def test_ranges(d: int, name: str, spherical: bool, rng: np.random.Generator) -> None:
    x = adversarial(name, rng, 400, d)
    for iterations in (0, 2):
        is_plain(
            x,
            x[rng.permutation(400)[:12]].astype("f"),
            spherical=spherical,
            max_iterations=iterations,
        )


@pytest.mark.parametrize("d", [3, 100])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8", "float64"])
def test_types(dtype: str, d: int, rng: np.random.Generator) -> None:
    x = of_type(clustered(rng, 300, d), dtype)
    init = clustered(rng, 11, d)
    for iterations in (0, 4):
        is_plain(x, init, max_iterations=iterations)
        is_plain(x, init, max_iterations=iterations, spherical=False)


@pytest.mark.parametrize("d", [2, 70])
def test_products_that_overflow_and_cancel(d: int) -> None:
    """The nearest centroid's is not a number, the others' are."""
    init = np.zeros((3, d), np.float32)
    init[:, :2] = [[-1e17, -1e17], [-1.1e17, -1.1e17], [-5e17, 5e17]]
    x = np.zeros((70, d), np.float32)
    x[:, :2] = 1e21
    is_plain(x, init, spherical=False, max_iterations=0)
    assert mf.kmeans(x, 3, init=init, spherical=False, max_iterations=0).labels.tolist() == [2] * 70

"""What k-means keeps from one assignment for the next ones changes nothing: each iteration's answer
is that of the plain way, which compares all rows with all centroids."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from samples import ADVERSARIAL, adversarial, as_reference, assert_same, clustered, of_type, told

import meddel_fast as mf
from meddel_fast import _core

Made = Callable[[np.random.Generator, int, int], NDArray[np.float32]]


def walks(rng: np.random.Generator, n: int, d: int) -> NDArray[np.float32]:
    """Frames of videos: centroids far from most rows, and rows that leave theirs slowly."""
    steps = 0.15 * rng.normal(size=(n, 6))
    steps[::100] = 2 * rng.normal(size=(len(steps[::100]), 6))
    paths = np.concatenate([np.cumsum(steps[i : i + 100], axis=0) for i in range(0, n, 100)])
    return (paths @ rng.normal(size=(6, d)) + 0.05 * rng.normal(size=(n, d))).astype(np.float32)


def groups(rng: np.random.Generator, n: int, d: int) -> NDArray[np.float32]:
    """Several centroids for each of a few groups: a few near ones, all others far away."""
    return (
        4 * rng.normal(size=(12, d))[rng.integers(12, size=n)] + rng.normal(size=(n, d))
    ).astype(np.float32)


def normal(rng: np.random.Generator, n: int, d: int) -> NDArray[np.float32]:
    return rng.normal(size=(n, d)).astype(np.float32)


def lengths(rng: np.random.Generator, n: int, d: int) -> NDArray[np.float32]:
    return (normal(rng, n, d) * np.exp(2 * rng.normal(size=(n, 1)))).astype(np.float32)


def grid(rng: np.random.Generator, n: int, d: int) -> NDArray[np.float32]:
    """Few different distances: ties everywhere, and equal rows."""
    x = np.zeros((n, d), np.float32)
    x[:, :5] = rng.integers(0, 3, size=(n, 5))
    return x


def offset(rng: np.random.Generator, n: int, d: int) -> NDArray[np.float32]:
    """So far from the origin that the truth's rounding is as large as distances."""
    return (3000 + rng.integers(-2, 3, size=(n, d)) * 2.0**-11).astype(np.float32)


def opposite(rng: np.random.Generator, n: int, d: int) -> NDArray[np.float32]:
    """Members that cancel out, for centroids of zero, and rows of zero."""
    x = clustered(rng, n, d, 30)
    x[1::2] = -x[::2][: len(x[1::2])]
    x[::17] = 0
    return x


SHAPES: dict[str, Made] = {
    "clustered": functools.partial(clustered, centres=30), "walks": walks, "groups": groups,
    "normal": normal, "lengths": lengths, "grid": grid, "offset": offset, "opposite": opposite,
}  # fmt: skip


@pytest.fixture(params=["dense", "auto"])
def screened(request: pytest.FixtureRequest) -> Iterator[None]:
    _core.use_screen(request.param)
    yield
    _core.use_screen("auto")


def bounded_is_plain(x: NDArray[Any], k: int, args: dict[str, Any]) -> None:
    """The way with bounds gives what the plain one does."""
    _core.use_screen("never")
    wanted = mf.kmeans(x, k, **args)
    _core.use_screen("dense")
    try:
        assert_same(mf.kmeans(x, k, **args), wanted)
    finally:
        _core.use_screen("auto")


@functools.cache
def plain(shape: str, n: int, d: int, k: int, copies: bool, spherical: bool) -> list[Any]:
    """The rows, the first centroids and, for each number of iterations, what the plain way says."""
    rng = np.random.default_rng([n, d, k, len(shape)])
    x = SHAPES[shape](rng, n, d)
    init = x[rng.permutation(n)[:k]]
    if copies:  # centroids that are equal at first
        init[1::3] = init[::3][: len(init[1::3])]
    _core.use_screen("never")
    return [
        x, init,
        {i: mf.kmeans(x, k, init=init, spherical=spherical, max_iterations=i) for i in ITERATIONS},
    ]  # fmt: skip


ITERATIONS = [1, 3, 6, 14]


@pytest.mark.parametrize("spherical", [False, True])
@pytest.mark.parametrize(("k", "copies"), [(20, False), (300, True)])
@pytest.mark.parametrize("shape", SHAPES)
def test_iterations(isa: str, shape: str, k: int, copies: bool, spherical: bool) -> None:
    x, init, wanted = plain(shape, 900, 65, k, copies, spherical)
    _core.use_screen("dense")
    try:
        for iterations, result in wanted.items():
            args = {"init": init, "spherical": spherical, "max_iterations": iterations}
            assert_same(mf.kmeans(x, k, threads=1, **args), result)
    finally:
        _core.use_screen("auto")


@pytest.mark.parametrize("spherical", [False, True])
@pytest.mark.parametrize("shape", ["walks", "groups", "normal", "offset"])
def test_long(shape: str, spherical: bool) -> None:
    """Bounds that are lowered little by little, many times."""
    rng = np.random.default_rng(len(shape))
    x = SHAPES[shape](rng, 6000, 65)
    args = {"init": x[rng.permutation(6000)[:60]], "spherical": spherical, "max_iterations": 40}
    bounded_is_plain(x, 60, args)


@pytest.mark.parametrize("spherical", [False, True])
@pytest.mark.parametrize("shape", ["walks", "groups", "opposite"])
def test_threads_and_more_rows(shape: str, spherical: bool) -> None:
    x, init, wanted = plain(shape, 5000, 70, 400, False, spherical)
    _core.use_screen("dense")
    args = {"init": init, "spherical": spherical, "max_iterations": 14}
    try:
        for threads in (1, 2, 5):
            assert_same(mf.kmeans(x, 400, threads=threads, **args), wanted[14])
    finally:
        _core.use_screen("auto")


@pytest.mark.parametrize("spherical", [False, True])
@pytest.mark.parametrize("name", ADVERSARIAL)
def test_ranges(screened: None, name: str, spherical: bool, rng: np.random.Generator) -> None:
    x = adversarial(name, rng, 330, 66)
    init = x[:290].astype(np.float32)
    args = {"init": init, "spherical": spherical, "max_iterations": 3}
    assert_same(mf.kmeans(x, 290, **args), told("kmeans", x, 290, **args))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8"])
def test_types(screened: None, dtype: str, rng: np.random.Generator) -> None:
    if dtype == "bfloat16":
        pytest.importorskip("torch")
    x = of_type(groups(rng, 500, 68), dtype)
    args = {"init": groups(rng, 270, 68), "spherical": False, "max_iterations": 6}
    assert_same(mf.kmeans(x, 270, **args), told("kmeans", as_reference(x), 270, **args))


def test_subnormal_distances() -> None:
    """Bounds in fp32 are rounded by a large share of themselves, and not in favour."""
    rng = np.random.default_rng(110)
    n, d, k, most = (int(rng.integers(*r)) for r in [(1000, 4000), (3, 30), (260, 330), (1, 6)])
    x = (rng.integers(-most, most + 1, size=(n, d)) * 2.0**-149).astype(np.float32)
    args = {"init": x[rng.permutation(n)[:k]], "spherical": False, "max_iterations": 8}
    bounded_is_plain(x, k, args)


def test_centroids_become_equal_near_long_rows(isa: str) -> None:
    """Bounds of rows so long that a column of none is reached: a centroid's list has those since
    others of it became equal."""
    places = 2**23 + 20 * np.arange(200)[:, None, None]  # fp32 has no fractions there
    init = (places + np.array([[4, 4], [1, 1], [0, 0]])).reshape(-1, 2)
    members = [[4, 4], [3, 3], [2, 2], [0, 1], [1, 0], [0, 0]]
    rows = (places + np.array(members)).reshape(-1, 2)
    angles = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    far = 2.0**117 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    x = (2.0**-60 * np.concatenate([rows, far])).astype(np.float32)
    args = {
        "init": (2.0**-60 * init).astype(np.float32), "spherical": False,
        "sample_weight": np.append(np.tile([1e-9, 1, 1, 1, 1, 1], 200), np.zeros(8)),
    }  # fmt: skip
    bounded_is_plain(x, 600, args)
    _core.use_screen("never")
    two = mf.kmeans(x, 600, max_iterations=2, **args)
    _core.use_screen("auto")
    assert len(np.unique(two.centroids, axis=0)) == 400


def test_centroid_of_zero_comes_back() -> None:
    """It has cosine 0 to all rows, and then takes a row that lies beside another."""
    angle = np.deg2rad([20, 20.5])
    beside = np.stack([np.cos(angle), 0 * angle, -np.sin(angle)], axis=1)
    ones = np.eye(3)[[0] * 40 + [2] * 5]
    x = np.concatenate([[[0, 1, 0], [0, -1, 0]], ones, beside]).astype(np.float32)
    init = np.array([[-1, 0, 0]] * 3 + [[1, 0, 0], [0, 0, 1]], np.float32)
    assert not mf.kmeans(x, 5, init=init, max_iterations=1).centroids[0].any()
    args = {"init": init, "max_iterations": 8}
    bounded_is_plain(x, 5, args)


@pytest.mark.parametrize("seed", [4, 7, 9, 16, 19, 21, 22, 24, 36, 55, 63, 72])
def test_labels_that_change(seed: int) -> None:
    """Rows whose centroid leaves them for far ones or near ones, which then bound nothing but what
    they are known by: few elements and unlike weights, so that centroids come a long way."""
    rng = np.random.default_rng(seed)
    k, d, n = (int(rng.choice(some)) for some in ([20, 40, 270, 300], [1, 2, 3, 5], [400, 900]))
    x = rng.normal(size=(n, d)) * 10.0 ** rng.uniform(-2, 0, size=(n, 1))
    init = x[rng.permutation(n)[:k]]
    weights = 10.0 ** rng.uniform(-6, 0, size=n)
    if seed % 3 == 1:  # all of one corner
        init = x[np.argsort(x[:, 0])[:k]]
    args = {
        "init": init.astype(np.float32), "spherical": bool(seed // 3 % 2), "threads": 1,
        "max_iterations": int(rng.choice([3, 8, 20])),
        "sample_weight": weights if seed // 6 % 2 else None,
    }  # fmt: skip
    bounded_is_plain(x.astype(np.float32), k, args)


@pytest.mark.parametrize("seed", [5, 16, 40])
def test_far_bound_of_rows_compared_with_near_ones_alone(seed: int) -> None:
    """Many centroids that leave a corner little by little, for many iterations."""
    rng = np.random.default_rng(seed)
    k, d = (int(rng.choice(some)) for some in ([258, 270, 300], [1, 2, 3, 5]))
    x = rng.normal(size=(1500, d)) * 10.0 ** rng.uniform(-2, 0, size=(1500, 1))
    args = {
        "init": x[np.argsort(x[:, 0])[:k]].astype(np.float32), "spherical": bool(seed // 3 % 2),
        "max_iterations": 25,
    }  # fmt: skip
    if seed // 6 % 2:
        args["sample_weight"] = 10.0 ** rng.uniform(-6, 0, size=1500)
    bounded_is_plain(x.astype(np.float32), k, args)

"""Cells of centroids are ruled out as a whole only where none of them can be a row's nearest:
labels are those of the plain way, at first and after each update."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from samples import ADVERSARIAL, adversarial, assert_same, clustered, of_type

import meddel_fast as mf
from meddel_fast import _core

Floats = NDArray[np.float32]


@pytest.fixture(autouse=True)
def screens() -> Any:
    yield
    _core.use_screen("auto")


def check(
    x: NDArray[Any], init: Floats, iterations: tuple[int, ...] = (0, 1, 4), **how: Any
) -> Any:
    """Cells, even where they do not pay, give what the plain way does."""
    for most in iterations:
        args = {"init": init, "max_iterations": most, **how}
        _core.use_screen("never")
        wanted = mf.kmeans(x, len(init), **args)
        _core.use_screen("grouped")
        found = mf.kmeans(x, len(init), **args)
        assert_same(found, wanted)
    return found


def groups(rng: np.random.Generator, n: int, d: int) -> Floats:
    """Many groups that lie far apart, so that most cells are ruled out, and rows between two."""
    centres = 5 * rng.normal(size=(60, d))
    a, b = rng.integers(60, size=(2, n))
    share = np.where(rng.random(n) < 0.2, rng.random(n), 1.0)[:, None]
    return (share * centres[a] + (1 - share) * centres[b] + rng.normal(size=(n, d))).astype("f")


@pytest.mark.parametrize("spherical", [False, True])
def test_groups(isa: str, spherical: bool, rng: np.random.Generator) -> None:
    x = groups(rng, 1500, 70)
    check(x, x[:300], spherical=spherical)


@pytest.mark.parametrize("spherical", [False, True])
@pytest.mark.parametrize("threads", [2, 5])
def test_threads_and_large_cells(threads: int, spherical: bool, rng: np.random.Generator) -> None:
    """Cells of more columns than are compared at a time."""
    x = np.concatenate([groups(rng, 1200, 24), 0.1 * rng.normal(size=(900, 24)).astype("f")])
    check(x, x[400:2100:2], (0, 5), spherical=spherical, threads=threads)


@pytest.mark.parametrize("spherical", [False, True])
@pytest.mark.parametrize("name", ADVERSARIAL)
def test_adversarial(name: str, spherical: bool, rng: np.random.Generator) -> None:
    """Rows and centroids of any norm, many of which are not screened."""
    x = adversarial(name, rng, 330, 66)
    check(x, x[:290].astype("f"), (0, 3), spherical=spherical)


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_types(dtype: str, rng: np.random.Generator) -> None:
    check(of_type(groups(rng, 500, 68), dtype), groups(rng, 270, 68), spherical=False)


def test_copies(rng: np.random.Generator) -> None:
    """Equal rows, equal centroids, and weights; a cluster that loses all its rows."""
    x = clustered(rng, 200, 30, centres=40)[rng.integers(200, size=900)]
    init = x[rng.integers(900, size=280)]
    for spherical in (False, True):
        check(x, init, (0, 2, 6), spherical=spherical, sample_weight=rng.random(900))


@pytest.mark.parametrize("spherical", [False, True])
@pytest.mark.parametrize("d", [2, 3, 12])
def test_on_lines(d: int, spherical: bool) -> None:
    """Rows halfway between two centroids, on the line through them: as far from one's cell along
    the line as from the centroid itself, so that nothing but the room for what codes are off by
    keeps a cell that has the nearest, or the lower one of two that are equally near."""
    rng = np.random.default_rng(d)
    for step in (0.02, 0.05, 0.1):
        along = rng.normal(size=(6, 1, d))
        along /= np.linalg.norm(along, axis=2, keepdims=True)
        places = 2 * rng.normal(size=(6, 1, d)) + step * np.arange(30)[:, None] * along
        halfway = 0.5 * (places[:, 1:] + places[:, :-1])
        share = step * rng.choice([0, 1e-3, -1e-3, 1e-5, -1e-5], size=(4, 6, 29, 1))
        x = (halfway + share * along).reshape(-1, d).astype("f")
        check(x, rng.permutation(places.reshape(-1, d)).astype("f"), (0, 1), spherical=spherical)


def test_rounding_of_bounds_between_near_centres() -> None:
    """In one dimension codes are all but exact: rows halfway between two centroids far out, each
    the centre of its cell, are kept from losing the nearest by the room for fp32 alone."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        outer = 3.2 + 0.02 * (np.arange(12) + 0.3 * rng.random(12))
        common = rng.choice([-1, 1], size=3200) * (1 + 1e-3 * rng.random(3200))
        apart = np.diff(outer)
        beside = rng.uniform(-3e-4, 3e-4, size=(2, 11)) * apart
        halfway = (outer[:-1] + 0.5 * apart + beside).ravel()
        x, init = np.append(common[1200:], halfway), np.append(common[:1200], outer)
        x, init = (
            rng.permutation(x)[:, None].astype("f"),
            rng.permutation(init)[:, None].astype("f"),
        )
        check(x, init, (0,), spherical=False)


@pytest.mark.parametrize("spherical", [False, True])
def test_on_lines_between_tight_groups(spherical: bool) -> None:
    """Cells of a few centroids, in all directions; rows halfway between the nearest two of two."""
    rng = np.random.default_rng(7)
    for d in (3, 17):
        centres = 30 * rng.normal(size=(48, d))
        init = (centres[:, None] + 0.3 * rng.normal(size=(48, 6, d))).reshape(-1, d).astype("f")
        a, b = rng.integers(len(init), size=(2, 1500))
        share = rng.choice([0.5, 0.5001, 0.4999], size=(1500, 1))
        x = (share * init[a] + (1 - share) * init[b]).astype("f")
        check(x, init, (0, 2), spherical=spherical)


@pytest.mark.parametrize("seed", range(6))
def test_centroids_beyond_the_screen(seed: int) -> None:
    """Rows that are screened just so, whose nearest centroid is not."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2000, 8))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    outer = np.array([3.9, 3.97, 4.0, 4.04])[:, None, None] * x[:2]
    rows, seeds = outer[1:3].reshape(-1, 8), outer[::3].reshape(-1, 8)
    init = np.concatenate([x[200:456], seeds])[rng.permutation(260)]
    check(np.concatenate([x, rows]).astype("f"), init.astype("f"), (0, 2), spherical=False)


def test_many_by_size(rng: np.random.Generator) -> None:
    """So many that cells are tried of themselves."""
    x = groups(rng, 8300, 48)
    init = x[rng.permutation(8300)[:1100]]
    args = {"init": init, "spherical": False, "max_iterations": 3}
    found = mf.kmeans(x, 1100, **args)
    _core.use_screen("never")
    assert_same(found, mf.kmeans(x, 1100, **args))

"""k-means: one exact assignment, and Lloyd's iterations, against FAISS and scikit-learn; seeding,
against a plain pass over all rows a seed."""

from __future__ import annotations

import checks
import data
import numpy as np
import peers
import pytest
from conftest import OURS, Race

import meddel_fast as mf
from meddel_fast import _core

ASSIGN = {
    "numpy": peers.numpy_assign, "torch": peers.torch_assign,
    "torch bf16": peers.torch_bf16_assign, "faiss": peers.faiss_assign,
    "scikit-learn": peers.sklearn_assign,
}  # fmt: skip
LLOYD = {"scikit-learn": peers.sklearn_kmeans, "faiss": peers.faiss_kmeans}
ITERATIONS = 10


def some(x: peers.Floats, k: int) -> peers.Floats:
    """k different rows: of two equal centroids one stays empty, and each fills it its own way."""
    different = np.unique(x, axis=0)
    return different[np.random.default_rng(1).choice(len(different), size=k, replace=False)]


@pytest.mark.parametrize("who", [OURS, *ASSIGN])
@pytest.mark.parametrize("name", data.NAMES)
def bench_assign(race: Race, name: str, who: str) -> None:
    x = race.samples(name)
    rows = peers.unit(x)
    centroids = some(rows, min(1000, len(x) // 4))

    def ours() -> peers.Int:
        return mf.kmeans(
            x, len(centroids), init=centroids, max_iterations=0, threads=race.threads
        ).labels

    wanted = peers.numpy_assign(rows, centroids) if who == OURS else ours()

    def agrees(found: peers.Int) -> None:
        """The same centroid, or one about as near."""
        chosen, best = (np.einsum("ij,ij->i", rows, centroids[v]) for v in (found, wanted))
        np.testing.assert_allclose(chosen, best, rtol=0, atol=checks.rounding(who))

    call = ours if who == OURS else lambda: ASSIGN[who](rows, centroids)
    race.run(f"assign to {len(centroids)}", who, call, agrees)


@pytest.mark.parametrize("who", [OURS, *LLOYD])
@pytest.mark.parametrize("name", data.NAMES)
def bench_lloyd(race: Race, name: str, who: str) -> None:
    x = race.samples(name)
    # So few that no cluster loses all its members, which every library mends in a way of its own.
    init = some(x, min(100, len(x) // 16))

    def ours() -> float:
        return mf.kmeans(
            x, len(init), init=init, spherical=False, max_iterations=ITERATIONS,
            threads=race.threads,
        ).inertia  # fmt: skip

    wanted = peers.sklearn_kmeans(x, init, ITERATIONS) if who == OURS else ours()

    def agrees(found: float) -> None:
        # Measured: 5e-7 by rounding; 2e-4 where one iteration of ten on isotropic data is missing.
        assert abs(found - wanted) < 1e-5 * wanted

    call = ours if who == OURS else lambda: LLOYD[who](x, init, ITERATIONS)
    race.run(f"k-means, {len(init)} x {ITERATIONS}", who, call, agrees, heavy=True)


@pytest.mark.parametrize("k", [1000, 100])
@pytest.mark.parametrize("who", [OURS, "plain passes"])
@pytest.mark.parametrize("name", data.NAMES)
def bench_seeding(race: Race, name: str, who: str, k: int) -> None:
    x = race.samples(name)
    k = min(k, len(x) // 4)
    uniforms = np.random.default_rng(0).random(k).tolist()

    def seeds(screens: str) -> peers.Int:
        _core.use_screen(screens)
        try:
            return _core.kmeans_plus_plus(x, False, uniforms, race.threads)
        finally:
            _core.use_screen("auto")

    mode, other = ("auto", "never") if who == OURS else ("never", "auto")
    wanted = seeds(other)

    def agrees(found: peers.Int) -> None:
        np.testing.assert_array_equal(found, wanted)

    race.run(f"{k} seeds of k-means++", who, lambda: seeds(mode), agrees, heavy=True)

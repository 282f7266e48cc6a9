"""Greedy k-center of 5 % of the samples, against loops over centres and scikit-matter."""

from __future__ import annotations

import data
import numpy as np
import peers
import pytest
from conftest import OURS, Race

import meddel_fast as mf

PEERS = {
    "numpy": peers.numpy_centres, "torch loop": peers.torch_centres,
    "skmatter FPS": peers.skmatter_centres, "skmatter Voronoi": peers.skmatter_voronoi_centres,
}  # fmt: skip
SLOW = {"skmatter FPS"}


def radius(x: peers.Floats, centres: peers.Int) -> float:
    """Largest distance of a sample to its nearest centre, in fp64."""
    wide = x.astype(np.float64)
    squares = np.einsum("ij,ij->i", wide, wide)
    largest = 0.0
    for begin in range(0, len(x), peers.BLOCK):
        block = slice(begin, begin + peers.BLOCK)
        distance = squares[centres] - 2 * wide[block] @ wide[centres].T
        largest = max(largest, float((distance.min(axis=1) + squares[block]).max()))
    return largest**0.5


@pytest.mark.parametrize("who", [OURS, *PEERS])
@pytest.mark.parametrize("name", data.NAMES)
def bench_kcenter(race: Race, name: str, who: str) -> None:
    if who in SLOW:
        race.skip_slow(name)
    x = race.samples(name)
    k = len(x) // 20

    def ours() -> peers.Int:
        return mf.kcenter_greedy(x, k, threads=race.threads).indices

    # fp32 may take another of two samples that are about as far, and go on otherwise from there.
    wanted = radius(x, peers.numpy_centres(x, k) if who == OURS else ours())

    def agrees(found: peers.Int) -> None:
        assert len(np.unique(found)) == k
        assert abs(radius(x, found) - wanted) < 0.02 * wanted

    call = ours if who == OURS else lambda: PEERS[who](x, k)
    race.run("k-center, 5 %", who, call, agrees, heavy=True)

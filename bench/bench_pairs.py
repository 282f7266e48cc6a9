"""All pairs at or above a cosine, against brute force and FAISS range search."""

from __future__ import annotations

import data
import numpy as np
import peers
import pytest
from conftest import OURS, Race

import meddel_fast as mf

THRESHOLD = 0.95
BAND = 1e-5  # fp32 may decide otherwise within it
PEERS = {
    "numpy": peers.numpy_pairs, "torch": peers.torch_pairs, "faiss": peers.faiss_pairs,
    "scikit-learn": peers.sklearn_pairs,
}  # fmt: skip
SLOW = {"scikit-learn"}


def agrees(x: peers.Floats, found: tuple[peers.Int, peers.Int]) -> None:
    """The same pairs as ours, but for some within the band."""
    n = len(x)
    wanted = mf.similar_pairs(x, threshold=THRESHOLD)
    different = np.setxor1d(found[0] * n + found[1], wanted.i * n + wanted.j)
    i, j = different // n, different % n
    wide = x.astype(np.float64)
    cosine = np.einsum("ij,ij->i", wide[i], wide[j])
    cosine /= np.linalg.norm(wide[i], axis=1) * np.linalg.norm(wide[j], axis=1)
    assert np.all(np.abs(cosine - THRESHOLD) < BAND), f"{len(different)} pairs differ"


@pytest.mark.parametrize("who", [OURS, *PEERS])
@pytest.mark.parametrize("name", data.NAMES)
def bench_pairs(race: Race, name: str, who: str) -> None:
    if who in SLOW:
        race.skip_slow(name)
    x = race.samples(name)
    rows = peers.unit(x)

    def ours() -> tuple[peers.Int, peers.Int]:
        return mf.similar_pairs(x, threshold=THRESHOLD, threads=race.threads)[:2]

    call = ours if who == OURS else lambda: PEERS[who](rows, THRESHOLD)
    # Ours is checked against brute force, and so all against each other.
    check = (lambda _: agrees(x, peers.numpy_pairs(rows, THRESHOLD))) if who == OURS else None
    race.run("pairs >= .95", who, call, check or (lambda found: agrees(x, found)), heavy=True)

"""Highest cosine to an earlier sample, within clusters and in the whole set, against SemDeDup."""

from __future__ import annotations

import data
import numpy as np
import peers
import pytest
from conftest import OURS, Race

import meddel_fast as mf

PEERS = {"semdedup loop": peers.semdedup_redundancy, "numpy": peers.numpy_redundancy}


@pytest.mark.parametrize("who", [OURS, *PEERS])
@pytest.mark.parametrize("scope", ["clusters of 500", "whole set"])
@pytest.mark.parametrize("name", data.NAMES)
def bench_redundancy(race: Race, name: str, scope: str, who: str) -> None:
    if scope == "whole set" and who == "semdedup loop":  # an n x n matrix
        race.skip_slow(name)
    x = race.samples(name)
    labels = np.zeros(len(x), np.int64)
    if scope != "whole set":
        k = max(2, len(x) // 500)
        labels = mf.kmeans(x, k, max_iterations=2, threads=race.threads).labels
    rows = peers.unit(x)

    def ours() -> peers.Floats:
        return np.maximum(mf.redundancy(x, labels=labels, threads=race.threads).similarity, 0)

    wanted = peers.numpy_redundancy(rows, labels) if who == OURS else ours()

    def agrees(found: peers.Floats) -> None:
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)

    call = ours if who == OURS else lambda: PEERS[who](rows, labels)
    race.run(f"redundancy, {scope}", who, call, agrees, heavy=scope == "whole set")

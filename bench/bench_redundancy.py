"""Highest cosine to an earlier sample, within clusters and in the whole set, against SemDeDup."""

from __future__ import annotations

import checks
import data
import numpy as np
import peers
import pytest
from conftest import OURS, Race

import meddel_fast as mf

PEERS = {"SemDeDup loop": peers.semdedup_redundancy, "numpy": peers.numpy_redundancy}


@pytest.mark.parametrize("who", [OURS, *PEERS])
@pytest.mark.parametrize("size", [500, 5000, None])
@pytest.mark.parametrize("name", data.NAMES)
def bench_redundancy(race: Race, name: str, size: int | None, who: str) -> None:
    # Without clusters the loop holds an n x n matrix.
    race.skip_slow(size is None and who == "SemDeDup loop", name in data.QUICK)
    x = race.samples(name)
    labels = np.zeros(len(x), np.int64)
    if size is not None:
        labels = mf.kmeans(x, max(2, len(x) // size), max_iterations=2, threads=race.threads).labels
    rows = peers.unit(x)

    def ours() -> peers.Floats:
        return np.maximum(mf.redundancy(x, labels=labels, threads=race.threads).similarity, 0)

    wanted = peers.numpy_redundancy(rows, labels) if who == OURS else ours()

    def agrees(found: peers.Floats) -> None:
        np.testing.assert_allclose(found, wanted, rtol=0, atol=checks.rounding(who))

    call = ours if who == OURS else lambda: PEERS[who](rows, labels)
    scope = "whole set" if size is None else f"clusters of {size}"
    race.run(f"redundancy, {scope}", who, call, agrees, heavy=size != 500)

"""Greedy k-center of .5 and 5 % of the samples, against loops over centres and libraries."""

from __future__ import annotations

import checks
import data
import peers
import pytest
from conftest import OURS, Race

import meddel_fast as mf

PEERS = {
    "numpy": peers.numpy_centres, "numpy pass": peers.numpy_pass_centres,
    "anomalib loop": peers.anomalib_centres,
    "torch_cluster loop": peers.torch_cluster_centres, "DeepCore loop": peers.deepcore_centres,
    "skmatter FPS": peers.skmatter_centres, "skmatter Voronoi": peers.skmatter_voronoi_centres,
    "fpsample": peers.fpsample_centres,
}  # fmt: skip
SLOW = {"torch_cluster loop", "DeepCore loop", "skmatter FPS", "fpsample"}


@pytest.mark.parametrize("who", [OURS, *PEERS])
@pytest.mark.parametrize("percent", [0.5, 5])
@pytest.mark.parametrize("name", data.NAMES)
def bench_kcenter(race: Race, name: str, percent: float, who: str) -> None:
    race.skip_slow(who in SLOW, name in data.QUICK)
    x = race.samples(name)
    k = max(2, int(len(x) * percent / 100))

    def ours() -> peers.Int:
        return mf.kcenter_greedy(x, k, threads=race.threads).indices

    def agrees(found: peers.Int) -> None:
        assert len(found) == k
        checks.greedy(x, found)

    call = ours if who == OURS else lambda: PEERS[who](x, k)
    race.run(f"k-center, {percent:g} %", who, call, agrees, heavy=True)

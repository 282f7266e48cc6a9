"""All pairs at or above a cosine, near duplicates or inside the bulk, against FAISS and others."""

from __future__ import annotations

import checks
import data
import peers
import pytest
from conftest import OURS, Race

import meddel_fast as mf

NEAR = 0.95
SHARES = [0.001, 0.02]  # of all pairs: most of them unrelated
PEERS = {
    "numpy": peers.numpy_pairs, "torch": peers.torch_pairs, "torch bf16": peers.torch_bf16_pairs,
    "faiss": peers.faiss_pairs, "scikit-learn": peers.sklearn_pairs,
}  # fmt: skip
SLOW = {"scikit-learn"}
CASES = [
    *((name, None) for name in data.NAMES),
    *((name, share) for name in ("clustered", "isotropic") for share in SHARES),
]


@pytest.mark.parametrize("who", [OURS, *PEERS])
@pytest.mark.parametrize(("name", "share"), CASES)
def bench_pairs(race: Race, name: str, share: float | None, who: str) -> None:
    race.skip_slow(who in SLOW, name in data.QUICK and share is None)
    x = race.samples(name)
    rows = peers.unit(x)
    threshold = NEAR if share is None else data.threshold(rows, share)
    workload = f"pairs >= {NEAR}" if share is None else f"pairs, top {100 * share:g} %"

    def ours() -> tuple[peers.Int, peers.Int]:
        return mf.similar_pairs(x, threshold=threshold, threads=race.threads)[:2]

    def agrees(found: tuple[peers.Int, peers.Int]) -> None:
        # Ours is checked against brute force, and so all against each other.
        wanted = peers.numpy_pairs(rows, threshold) if who == OURS else ours()
        checks.same_pairs(x, threshold, found, wanted, checks.rounding(who))

    call = ours if who == OURS else lambda: PEERS[who](rows, threshold)
    race.run(workload, who, call, agrees, heavy=True)

"""The most similar other samples of each, against brute force and FAISS search."""

from __future__ import annotations

import checks
import data
import numpy as np
import peers
import pytest
from conftest import OURS, Race

import meddel_fast as mf

PEERS = {
    "numpy": peers.numpy_topk, "torch": peers.torch_topk, "torch bf16": peers.torch_bf16_topk,
    "faiss": peers.faiss_topk, "scikit-learn": peers.sklearn_topk,
}  # fmt: skip
SLOW = {"scikit-learn"}


@pytest.mark.parametrize("who", [OURS, *PEERS])
@pytest.mark.parametrize(("name", "k"), [*((name, 1) for name in data.NAMES), ("clustered", 10)])
def bench_topk(race: Race, name: str, k: int, who: str) -> None:
    race.skip_slow(who in SLOW, name in data.QUICK)
    x = race.samples(name)
    rows = peers.unit(x)

    def ours() -> tuple[peers.Floats, peers.Int]:
        return mf.topk_similarity(x, k=k, threads=race.threads)

    wanted = peers.numpy_topk(rows, k) if who == OURS else ours()[0]

    def agrees(found: peers.Floats | tuple[peers.Floats, peers.Int]) -> None:
        similarity = found
        if isinstance(found, tuple):
            similarity, index = found
            assert np.all(index != np.arange(len(x))[:, None])
            own = np.einsum("id,ikd->ik", rows, rows[index])
            np.testing.assert_allclose(similarity, own, rtol=0, atol=checks.rounding(who))
        np.testing.assert_allclose(similarity, wanted, rtol=0, atol=checks.rounding(who))

    call = ours if who == OURS else lambda: PEERS[who](rows, k)
    race.run(f"top {k}", who, call, agrees, heavy=True)

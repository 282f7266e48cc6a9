"""All methods on embeddings of real endoscopic frames, where those are at hand."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from meddel_fast import ops
from meddel_fast.selectors import METHODS, SELECTORS, Selection, select

SHARES = [0.05, 0.1, 0.2, 0.33]


@pytest.fixture(scope="module")
def frames(real_data: Path) -> NDArray[np.float32]:
    x = np.load(real_data / "embeddings_effnet_lite0_f32.npy")
    return (x - x.mean(axis=0, dtype=np.float64)).astype(np.float32)


@pytest.fixture(scope="module")
def ladders(frames: NDArray[np.float32]) -> dict[str, list[Selection]]:
    found = {}
    for name in SELECTORS:
        own = METHODS[name].own
        options: dict[str, Any] = {"neighbors": 16} if "neighbors" in own else {}
        if name == "loss":
            options["score"] = np.linalg.norm(frames.astype(np.float64), axis=1)
        if name == "retrieve":
            options["like"] = frames[::40]
        found[name] = select(name, frames, SHARES, **options)
    return found


@pytest.mark.parametrize("name", list(SELECTORS))
def test_each_share_is_met(
    name: str, frames: NDArray[np.float32], ladders: dict[str, list[Selection]]
) -> None:
    ladder = ladders[name]
    assert [len(s) for s in ladder] == [int(share * len(frames) + 0.5) for share in SHARES]
    for smaller, larger in itertools.pairwise(ladder):
        shared = len(np.intersect1d(smaller.indices, larger.indices))
        assert shared == len(smaller) or not METHODS[name].nested


def test_what_the_methods_are_for(
    frames: NDArray[np.float32], ladders: dict[str, list[Selection]]
) -> None:
    def repeats(s: Selection) -> int:
        return int(np.count_nonzero(ops.redundancy(frames[s.indices]).similarity >= 0.8))

    def coverage(s: Selection) -> float:
        return float(ops.topk_similarity(frames, frames[s.indices], k=1).similarity.mean())

    for rung in range(len(SHARES)):
        chance = ladders["random"][rung]
        for name in ("kcenter", "semdedup", "meddel", "d4", "facility", "craig", "d2"):
            assert repeats(ladders[name][rung]) < repeats(chance)
        for name in ("facility", "craig"):
            assert coverage(ladders[name][rung]) > coverage(chance) + 0.04
        widest = {name: ladder[rung] for name, ladder in ladders.items() if name != "kcenter"}
        radius = [np.max(distances(frames, s)) for s in widest.values()]
        assert np.max(distances(frames, ladders["kcenter"][rung])) <= min(radius)


def distances(x: NDArray[np.float32], s: Selection) -> NDArray[np.float64]:
    """Distance of each sample to the nearest kept one."""
    found = ops.kmeans(x, len(s), init=x[s.indices], spherical=False, max_iterations=0)
    return np.sqrt(np.asarray(found.distances))

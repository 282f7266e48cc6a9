"""Fifty thresholds: one sweep, and a call of deduplicate for each."""

from __future__ import annotations

import data
import numpy as np
import pytest
from conftest import OURS, Race

import meddel_fast as mf

WHO = (OURS, "a call each")
COUNT = 50


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("rule", ["semdedup", "greedy", "components"])
@pytest.mark.parametrize("name", data.NAMES)
def bench_dedup_sweep(race: Race, name: str, rule: str, who: str) -> None:
    race.skip_slow(who != OURS, name in data.QUICK)
    x = race.samples(name)
    similarity = mf.redundancy(x, threads=race.threads).similarity
    lowest = float(np.quantile(similarity[1:], 0.7))  # a share of 30 % goes by semdedup
    thresholds = np.linspace(lowest, 1.0, COUNT).tolist()

    def sweep() -> list[int]:
        found = mf.dedup_sweep(x, rule=rule, floor=lowest, threads=race.threads)
        return [int(found.at(t).keep.sum()) for t in thresholds]

    def calls() -> list[int]:
        kept = (mf.deduplicate(x, t, rule=rule, threads=race.threads).keep for t in thresholds)
        return [int(keep.sum()) for keep in kept]

    wanted = calls() if who == OURS else sweep()

    def agrees(found: list[int]) -> None:
        assert found == wanted

    race.run(f"{COUNT} thresholds, {rule}", who, sweep if who == OURS else calls, agrees)

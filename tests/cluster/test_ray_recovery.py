"""Workers of a Ray cluster that die in each phase of a call: the bits of an unbroken one."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dying_works import DyingSource, dying
from sharded_cases import sample

import meddel_fast as mf

pytest.importorskip("ray")
from ray_cluster import small_cluster

from meddel_fast.cluster.ray.sources import StoreRows
from meddel_fast.cluster.ray.workers import Workers
from meddel_fast.cluster.ray.works import DEDUPLICATE

HOW: dict[str, Any] = {"memory": "100MB", "wait": 0.5}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with small_cluster(3) as found:
        yield found


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ray") / "x.npy"
    np.save(path, sample("float16"))
    return str(path)


def test_a_process_that_dies_in_each_phase(
    cluster: Any, path: str, tmp_path: Path, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    x = sample("float16")
    source = DyingSource(StoreRows(path), tmp_path / "loading")
    with Workers(source, 3, **HOW) as workers, caplog.at_level(logging.INFO):
        found = workers.run(DEDUPLICATE, threshold=0.98, rule="greedy").table()
        wanted = mf.deduplicate(x, 0.98, rule="greedy")
        assert_decided(found, wanted)
        assert [its.rank for its in workers.report.recoveries] == [1]
        for number, at in enumerate([3, 12, -1]):
            work = dying(DEDUPLICATE, at, tmp_path / f"dedup {at}", rank=number)
            found = workers.run(work, threshold=0.98, rule="greedy").table()
            assert_decided(found, wanted)
            assert [its.rank for its in workers.report.recoveries[1:]] == [*range(number + 1)]
    said = [r.getMessage() for r in caplog.records if "is lost" in r.getMessage()]
    assert len(said) == 4
    assert all("ActorDiedError" in line and "node " in line for line in said)


def assert_decided(found: Any, wanted: Any) -> None:
    assert found["keep"].to_pylist() == wanted.keep.tolist()
    assert found["representative"].to_pylist() == wanted.representative.tolist()
    similarity = found["similarity"].to_numpy()
    np.testing.assert_array_equal(similarity, wanted.similarity)

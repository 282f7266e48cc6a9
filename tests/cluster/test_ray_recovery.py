"""Workers of a Ray cluster that die in each phase of a call: the bits of an unbroken one."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dying_works import EXCHANGE, DyingSource, LosingRows, dying, process_always, rendezvous, stop
from sharded_cases import sample

import meddel_fast as mf

pytest.importorskip("ray")
from ray_cluster import small_cluster

from meddel_fast.cluster.ray.sources import StoreRows
from meddel_fast.cluster.ray.workers import Workers
from meddel_fast.cluster.ray.works import DEDUPLICATE, KCENTER, KMEANS

HOW: dict[str, Any] = {"memory": "100MB", "wait": 0.5}
X = sample("float16")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with small_cluster(3) as found:
        yield found


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ray") / "x.npy"
    np.save(path, X)
    return str(path)


def assert_decided(found: Any, wanted: Any) -> None:
    assert found["keep"].to_pylist() == wanted.keep.tolist()
    assert found["representative"].to_pylist() == wanted.representative.tolist()
    np.testing.assert_array_equal(found["similarity"].to_numpy(), wanted.similarity)


def assert_centres(found: Any, wanted: Any) -> None:
    np.testing.assert_array_equal(found["distance"].to_numpy(), wanted.distances)
    radius = np.full(len(X), np.nan)
    radius[wanted.indices] = wanted.radii
    np.testing.assert_array_equal(found["radius"].to_numpy(), radius)


def assert_clusters(found: Any, wanted: Any) -> None:
    np.testing.assert_array_equal(found["cluster"].to_numpy(), wanted.labels)
    np.testing.assert_array_equal(found["distance"].to_numpy(), wanted.distances)


def test_a_process_that_dies_in_each_phase(
    cluster: Any, path: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """While it loads, at an exchange early and late, when it has the result; with checkpoints."""
    caplog.set_level(logging.INFO)
    decided, centres = mf.deduplicate(X, 0.98, rule="greedy"), mf.kcenter_greedy(X, 1500)
    clusters = mf.kmeans(X, 9, max_iterations=30)
    source, kept = DyingSource(StoreRows(path), tmp_path / "loading"), tmp_path / "kept"
    with Workers(source, 3, checkpoint=str(kept), **HOW) as workers:
        assert_decided(workers.run(DEDUPLICATE, threshold=0.98, rule="greedy").table(), decided)
        work = dying(DEDUPLICATE, -1, tmp_path / "answering", rank=2)
        assert_decided(workers.run(work, threshold=0.98, rule="greedy").table(), decided)
        assert "goes on from its state" not in caplog.text
        work = dying(KCENTER, 225, tmp_path / "kcenter", rank=0)
        assert_centres(workers.run(work, k=1500).table(), centres)
        work = dying(KMEANS, 90, tmp_path / "kmeans", rank=1)
        assert_clusters(workers.run(work, k=9, max_iterations=30).table(), clusters)
        assert [its.rank for its in workers.report.recoveries] == [1, 2, 0, 1]
    said = [record.getMessage() for record in caplog.records]
    lost = [line for line in said if "is lost" in line]
    assert len(lost) == 4
    assert all("ActorDiedError" in line and "process " in line for line in lost)
    went_on = [line for line in said if "goes on from its state" in line]
    assert ["kcenter" in line for line in went_on] == [True, False]
    assert not list(kept.rglob("state.json"))


def test_the_rendezvous_dies(cluster: Any, path: str, tmp_path: Path) -> None:
    with Workers(StoreRows(path), 2, **HOW) as workers:
        work = dying(DEDUPLICATE, 7, tmp_path / "mark", how=rendezvous)
        found = workers.run(work, threshold=0.98, rule="components").table()
        assert_decided(found, mf.deduplicate(X, 0.98, rule="components"))
        assert [its.rank for its in workers.report.recoveries] == [None]


def test_a_process_that_stops(cluster: Any, path: str, tmp_path: Path) -> None:
    with Workers(StoreRows(path), 2, patience=8.0, **HOW) as workers:
        work = dying(DEDUPLICATE, 7, tmp_path / "mark", how=stop)
        found = workers.run(work, threshold=0.98).table()
        assert_decided(found, mf.deduplicate(X, 0.98))
        (lost,) = workers.report.recoveries
        assert (lost.rank, lost.why) == (1, "no answer within 8 s")


def test_blocks_that_are_lost(cluster: Any, caplog: pytest.LogCaptureFixture) -> None:
    source = LosingRows()
    with Workers(source, 2, **HOW) as workers:
        workers.run(EXCHANGE, rounds=2)
        assert [its.why for its in workers.report.recoveries] == ["a block is gone"]
    assert source.prepared == 2
    assert "exchange: the data set is run again, for lost blocks of it" in caplog.text


def test_one_that_dies_again_and_again(cluster: Any, path: str, tmp_path: Path) -> None:
    with Workers(StoreRows(path), 2, retries=1, **HOW) as workers:
        work = dying(DEDUPLICATE, 3, tmp_path / "no folder" / "mark", how=process_always)
        said = r"deduplicate was given up 2 times without getting on, the last time: "
        with pytest.raises(RuntimeError, match=said):
            workers.run(work, threshold=0.98)
        assert len(workers.report.recoveries) == 2


def test_no_room(cluster: Any, path: str) -> None:
    with (
        Workers(StoreRows(path), 4, **HOW) as workers,
        pytest.raises(
            RuntimeError, match=r"no node has had 1 free cores for rank \d of 4 after 0.5 s"
        ),
    ):
        workers.run(DEDUPLICATE)
    with pytest.raises(RuntimeError, match="no node of the cluster has 2 cores"):
        Workers(StoreRows(path), cpus=2)

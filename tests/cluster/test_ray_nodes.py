"""Nodes of a Ray cluster that are gone in the midst of a call: the bits of an unbroken one."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dying_works import away, dying, node
from sharded_cases import sample

import meddel_fast as mf

pytest.importorskip("ray")
import ray
import ray.data
from ray_cluster import small_cluster

from meddel_fast.cluster.ray.blocks import BlockRows
from meddel_fast.cluster.ray.workers import Workers
from meddel_fast.cluster.ray.works import DEDUPLICATE

X = sample("float16")


def test_a_node_dies(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Two ranks share what is left, and the rows that the third had are fetched again."""
    caplog.set_level(logging.INFO)
    how: dict[str, Any] = {"memory": "100MB", "wait": 0.5}
    with small_cluster(3, quick=True):
        order = np.random.default_rng(0).permutation(len(X))
        rows = [{"id": int(i), "embedding": X[i]} for i in order]
        source = BlockRows(ray.data.from_items(rows, override_num_blocks=4))
        with Workers(source, 3, **how) as workers:
            rank = away(workers)
            work = dying(DEDUPLICATE, 7, tmp_path / "mark", rank=rank, how=node)
            found = workers.run(work, threshold=0.98, rule="greedy").table()
            lost = [its.rank for its in workers.report.recoveries]
    wanted = mf.deduplicate(X, 0.98, rule="greedy")
    assert found["id"].to_pylist() == [*range(len(X))]
    assert found["keep"].to_pylist() == wanted.keep.tolist()
    assert found["representative"].to_pylist() == wanted.representative.tolist()
    assert lost == [rank]
    assert "shares node" in caplog.text

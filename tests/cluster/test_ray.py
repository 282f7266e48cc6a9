"""The Ray Data recipe, on a Ray of this machine's own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from samples import clustered

import meddel_fast as mf

pytest.importorskip("ray")
pq = pytest.importorskip("pyarrow.parquet")


def test_equals_one_call_with_the_same_clusters(tmp_path: Path, rng: np.random.Generator) -> None:
    x = clustered(rng, 600, 8, centres=20)
    np.save(tmp_path / "x.npy", x)
    script = Path(__file__).parents[2] / "examples" / "ray_dedup.py"
    options = ["--embeddings", tmp_path / "x.npy", "--out", tmp_path / "kept", "--clusters", 12]
    run = subprocess.run(
        [sys.executable, script, *map(str, options), "--rule", "greedy"],
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert run.returncode == 0, run.stderr
    table = pq.read_table(tmp_path / "kept").sort_by("number").to_pydict()
    assert table["number"] == list(range(600))
    assert len(set(table["cluster"])) == 12
    wanted = mf.deduplicate(x, 0.95, rule="greedy", labels=np.array(table["cluster"]))
    assert table["keep"] == wanted.keep.tolist()
    assert table["representative"] == wanted.representative.tolist()
    np.testing.assert_array_equal(np.array(table["similarity"], float), wanted.similarity)
    assert f"{wanted.keep.sum()} of 600 kept" in run.stdout

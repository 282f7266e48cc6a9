"""The example for Ray, on a Ray of this machine's own."""

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
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def test_the_example_decides_as_in_memory(tmp_path: Path, rng: np.random.Generator) -> None:
    x = clustered(rng, 600, 8, centres=20)
    order = rng.permutation(600)
    rows = {"id": [f"{i:03d}.png" for i in order], "embedding": [*x[order]]}
    pq.write_table(pa.table(rows), tmp_path / "rows.parquet", row_group_size=100)
    script = Path(__file__).parents[2] / "examples" / "ray_dedup.py"
    options = [tmp_path / "rows.parquet", "--out", tmp_path / "kept", "--rule", "greedy"]
    run = subprocess.run(
        [sys.executable, script, *map(str, options), "--workers", "1"],
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert run.returncode == 0, run.stderr
    table = pq.read_table(tmp_path / "kept").sort_by("id").to_pydict()
    assert table["id"] == [f"{i:03d}.png" for i in range(600)]
    wanted = mf.deduplicate(x, 0.95, rule="greedy")
    assert table["keep"] == wanted.keep.tolist()
    assert [int(name[:3]) for name in table["representative"]] == wanted.representative.tolist()
    np.testing.assert_array_equal(np.array(table["similarity"], float), wanted.similarity)
    assert f"{wanted.keep.sum()} of 600 kept" in run.stdout

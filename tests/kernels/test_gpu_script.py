"""bench/run_on_gpu.sh without a GPU: its dry run, small, and that no failure goes unseen."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("triton")
pytest.importorskip("transformers")

ROOT = Path(__file__).resolve().parents[2]


def dry_run(out: Path, parts: str, build: Path) -> tuple[subprocess.CompletedProcess[str], Any]:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("needs bash")
    done = subprocess.run(
        [bash, ROOT / "bench" / "run_on_gpu.sh", "--dry-run", "--parts", parts],
        env={**os.environ, "OUT": str(out), "PYTHON": sys.executable,
             "MEDDEL_BUILD_DIR": str(build.resolve())},
        capture_output=True, text=True, timeout=250,
    )  # fmt: skip
    return done, json.loads((out / "gpu.json").read_text())


def test_dry_run(tmp_path: Path) -> None:
    build = Path(os.environ.get("MEDDEL_BUILD_DIR", "nowhere"))
    if not list(build.glob("_cuda_on_host*")):
        pytest.skip("needs MEDDEL_BUILD_DIR, a CMake build folder with MEDDEL_CUDA_ON_HOST")
    done, results = dry_run(tmp_path, "memcheck ceilings video train", build)
    assert done.returncode == 0, done.stdout + done.stderr
    assert results["dry_run"]
    assert "DRY RUN on the CPU" in done.stdout
    assert {name: part["state"] for name, part in results["parts"].items()} == dict.fromkeys(
        ("memcheck", "ceilings", "video", "train"), "ok"
    )
    races: dict[str, list[str]] = {}
    for row in results["parts"]["video"]["rows"]:
        races.setdefault(row["workload"], []).append(row["who"])
        assert row["seconds"] > 0
    assert len(races) == 5
    assert all(who[0] == "ours" and len(who) == 3 for who in races.values())


def test_a_part_that_fails_stops_no_other_and_shows(tmp_path: Path) -> None:
    done, results = dry_run(tmp_path, "memcheck ceilings", tmp_path / "nowhere")
    assert done.returncode == 1
    for part in ("memcheck", "ceilings"):
        assert results["parts"][part]["state"] == "failed"
        assert "needs MEDDEL_BUILD_DIR" in results["parts"][part]["last_lines"][-1]


def test_a_part_out_of_time_is_told_apart(tmp_path: Path) -> None:
    script, path = ROOT / "bench" / "gpu_results.py", tmp_path / "gpu.json"
    for words in (["begin"], ["end", "one", "124", "40"], ["end", "two", "0", "3"]):
        subprocess.run([sys.executable, script, path, *words], check=True, timeout=60)
    parts = json.loads(path.read_text())["parts"]
    assert (parts["one"]["state"], parts["two"]["state"]) == ("out of time", "ok")
    done = subprocess.run([sys.executable, script, path, "ok"], timeout=60)
    assert done.returncode == 1

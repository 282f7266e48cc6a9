"""Two processes embed to the bytes of one, train to its losses, and outlive the death of one."""

from __future__ import annotations

import csv
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from distributed_job import CONFIG
from frames import TINY, blob_frames

from meddel_fast.images.manifest import Manifest
from meddel_fast.training.embed import embed
from meddel_fast.training.loader import frames
from meddel_fast.training.pretrain import make_batch, pretrain

HERE = Path(__file__).resolve().parents[1] / "helpers"
QUIET = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    torch.set_num_threads(1)
    return blob_frames(tmp_path_factory.mktemp("blobs"))


@pytest.fixture(scope="module")
def files(data: Manifest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A manifest and an encoder."""
    folder = tmp_path_factory.mktemp("files")
    data.save(folder / "blobs.parquet")
    return folder / "blobs.parquet", pretrain(data, None, folder / "mae", TINY)


def run(files: tuple[Path, Path], *jobs: str, size: int = 2) -> list[tuple[int, str, str]]:
    """Run jobs in processes; their exit status, output and errors."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    command = [sys.executable, str(HERE / "distributed_job.py"), *map(str, files), *jobs]
    started = [
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**QUIET, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(size)
    ]
    try:
        outputs = [process.communicate(timeout=180) for process in started]
    finally:
        for process in started:
            process.kill()
    return [(p.returncode, *output) for p, output in zip(started, outputs, strict=True)]


def content(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.is_file()}


def losses(out: Path) -> list[float]:
    return [
        float(row["loss"]) for row in csv.DictReader((out / "loss.csv").read_text().splitlines())
    ]


def test_torchrun_embeds_to_the_same_bytes(
    data: Manifest, files: tuple[Path, Path], tmp_path: Path
) -> None:
    manifest, encoder = files
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--standalone", "-m", "meddel_fast", "embed", manifest, "--encoder", encoder]
    options = ["--out", tmp_path / "two", "--device", "cpu", "--batch-size", "5"]
    done = subprocess.run(
        [*map(str, command + options)], env=QUIET, capture_output=True, text=True, timeout=250
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("12 embeddings of 32 numbers") == 1
    embed(data, encoder, tmp_path / "one", device="cpu", batch_size=5)
    assert content(tmp_path / "two") == content(tmp_path / "one")


@pytest.mark.timeout(600)  # ten processes that import torch and transformers
def test_death_of_one_ends_the_job_and_a_restart_goes_on(
    data: Manifest, files: tuple[Path, Path], tmp_path: Path
) -> None:
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    first, second = run(files, f"embed:{tmp_path / 'x'}:die")
    assert second[0] == -signal.SIGKILL
    assert first[0] == 1
    assert "LostRankError: rank 0 of 2 lost another rank" in first[2]
    left = content(tmp_path / "x")
    assert b'"complete": false' in left["index.json"]

    # In four: a sum of two gradients would be the same in any order, also after a restart.
    first, second, *_ = run(files, f"pretrain:{whole}", f"pretrain:{broken}:die", size=4)
    assert second[0] == -signal.SIGKILL
    assert first[0] == 1
    assert "LostRankError" in first[2]
    assert not (broken / "model").exists()
    assert (broken / "checkpoint" / "last.safetensors").is_file()

    (status, output, errors), *others = run(
        files, f"pretrain:{broken}", f"embed:{tmp_path / 'x'}", size=4
    )
    assert {status, *(other[0] for other in others)} == {0}, errors + others[0][2]
    steps = [line for line in output.splitlines() if line.startswith("pretrain")]
    assert steps[0] in ("pretrain 5/12", "pretrain 7/12")  # a checkpoint every second step
    assert content(broken / "model") == content(whole / "model")
    assert losses(broken) == losses(whole)
    parts = [line for line in output.splitlines() if line.startswith("embed")]
    assert int(parts[0].split()[1].split("/")[0]) > 4  # some shards were there
    embed(data, files[1], tmp_path / "one", shard_size=2, batch_size=2)
    assert content(tmp_path / "x") == content(tmp_path / "one")

    alone = pretrain(data, None, tmp_path / "alone", CONFIG)
    np.testing.assert_allclose(losses(whole), losses(alone.parent), rtol=1e-3)
    assert content(whole / "model") != content(alone)  # sums round otherwise, and nothing is hidden


def test_parts_make_up_the_batch(data: Manifest) -> None:
    pool, chosen = frames(data, TINY.image_size), np.arange(12)
    whole = make_batch(pool, chosen, TINY, 5)
    parts = [make_batch(pool, chosen, TINY, 5, slice(a, a + 2)) for a in (0, 2)]
    for field, halves in zip(whole, zip(*parts, strict=True), strict=True):
        np.testing.assert_array_equal(field, np.concatenate(halves))


def test_batch_must_divide(data: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch import distributed

    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_rank", lambda: 0)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 3)
    with pytest.raises(ValueError, match="batch_size: wanted a multiple of the 3 processes, got 4"):
        pretrain(data, None, tmp_path, replace(TINY, batch_size=4))
    assert not (tmp_path / "model").exists()

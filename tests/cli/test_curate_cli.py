"""``meddel-fast curate`` as its users meet it: what is printed, how it ends, Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("typer")

from command_line import lines
from pictures import write_encoder, write_pictures
from typer.testing import CliRunner

WORDS = ("--dedup", "0.99", "--batch-size", "4", "--device", "cpu", "--workers", "1")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("curate")
    write_pictures(folder / "pictures")
    (folder / "pictures" / "broken.png").write_bytes(b"no picture")
    write_encoder(folder / "encoder")
    return folder


def test_says_what_it_did(cli: CliRunner, base: Path, tmp_path: Path) -> None:
    words = ["curate", base / "pictures", "--encoder", base / "encoder", "--out", tmp_path / "out"]
    said = lines(cli, "--quiet", *words, *WORDS, "--budget", "30%")
    assert "38 images; 1 skipped: not an image 1\n" in said
    assert " of 38 are near duplicates\n" in said
    assert said.endswith(f"{tmp_path}/out/kept.txt: 11 kept\n")
    assert "interrupted" not in said
    kept = (tmp_path / "out" / "kept.txt").read_text().splitlines()
    assert len(kept) == 11
    assert all(Path(path).is_file() for path in kept)
    said = lines(cli, "--quiet", *words, *WORDS, "--budget", "5")
    assert "selection: begun again: other count\n" in said
    assert said.endswith("kept.txt: 5 kept\n")
    said = lines(cli, "--quiet", *words, *WORDS, "--budget", "37")
    assert "37 were asked for, " in said


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--budget", "half"], "--budget must be a count (500), a share (0.05) or per cent (5%)"),
        (["--budget", "5%", "--dedup", "much"], "--dedup must be a cosine (0.95) or none"),
        (["--budget", "5%"], "encoder must be given for images"),
        (["--budget", "5%", "--engine", "slurm"], "engine must be"),
    ],
)
def test_errors_come_in_one_line(
    cli: CliRunner, base: Path, tmp_path: Path, words: list[str], told: str
) -> None:
    said = lines(cli, "curate", base / "pictures", "--out", tmp_path / "out", *words, status=2)
    assert told in said
    assert not (tmp_path / "out" / "curate.json").exists()


def test_ctrl_c_ends_it_soon(base: Path, tmp_path: Path) -> None:
    import numpy as np

    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(60_000, 192)).astype("f4"))
    words = ["curate", tmp_path / "x.npy", "--budget", "5%", "--out", tmp_path / "out"]
    words += ["--rule", "components", "--dedup", "0.3", "--threads", "1"]
    with subprocess.Popen(
        [sys.executable, "-m", "meddel_fast", *map(str, words)],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True,
    ) as running:  # fmt: skip
        record = tmp_path / "out" / "curate.json"
        end = time.monotonic() + 120
        while not record.exists() and time.monotonic() < end:
            assert running.poll() is None, running.communicate()
            time.sleep(0.05)
        time.sleep(0.5)
        running.send_signal(signal.SIGINT)
        said = running.communicate(timeout=30)[1]
    assert running.returncode == 130
    assert "Stopped; what is done is kept. To go on: meddel-fast curate" in said
    assert "Traceback" not in said
    assert json.loads(record.read_text())["stages"]["duplicates"]["state"] == "begun"

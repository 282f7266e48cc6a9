"""``meddel-fast data quality``: columns, limits, what breaks them; columns as weights."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("typer")
pytest.importorskip("pyarrow")
pytest.importorskip("PIL")
pytest.importorskip("scipy")

from command_line import lines
from frames import blob_frames
from PIL import Image
from samples import clustered
from typer.testing import CliRunner

from meddel_fast.images.manifest import Manifest
from meddel_fast.images.quality import judge, measure_manifest
from meddel_fast.selectors import Selection, select


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Twelve reddish frames with stripes, of which one is black, one white and one broken."""
    frames = blob_frames(tmp_path / "frames", 12)
    frames.save(tmp_path / "m.parquet")
    paths = frames.image_paths()
    for number, path in enumerate(paths):
        stripes = np.where(np.arange(40) // 5 % 2, 150, 90 + number)[:, None, None]
        pixels = np.clip(stripes + np.array([40, 0, -20]) + np.zeros((40, 40, 1)), 0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    Image.new("RGB", (40, 40)).save(paths[1])
    Image.new("RGB", (40, 40), "white").save(paths[4])
    paths[7].write_bytes(b"nothing")
    return tmp_path / "m.parquet"


def test_columns_and_flaws(cli: CliRunner, manifest: Path, tmp_path: Path) -> None:
    out, flaws, mask = (tmp_path / name for name in ("q.parquet", "f.csv", "f.npy"))
    said = lines(cli, "data", "quality", manifest, "--out", out, "--flawed", flaws)
    wanted, _ = measure_manifest(Manifest.load(manifest))
    assert Manifest.load(out).table.equals(wanted.table)
    reasons = judge(wanted)
    rows = list(csv.reader(flaws.read_text().splitlines()))
    found = [[i, r] for i, r in zip(wanted.ids, reasons.tolist(), strict=True) if r]
    assert rows == [["id", "reasons"], *found]
    assert "3 of 12 images break a limit" in said
    assert "black: 1 (brightness below 0.08)" in said
    assert "blown out: 1 (bright above 0.25)" in said
    assert "not read: images/007.png: not an image" in said
    assert "quality: 11 images measured" in lines(cli, "data", "show", out)
    lines(cli, "data", "quality", manifest, "--flawed", mask)
    assert np.array_equal(np.load(mask), reasons != "")


def test_limits(cli: CliRunner, manifest: Path) -> None:
    said = lines(cli, "data", "quality", manifest, "--limit", "cold=warmth:0:",
                 "--limit", "black=", "--limit", "wide=border:0.5:0.6")  # fmt: skip
    assert "cold: 0 (warmth below 0.0)" in said
    assert "black:" not in said
    assert "wide: 11 (border below 0.5 or above 0.6)" in said
    for limit in ("dark", "a=", "a=warmth", "a=warmth::", "a=warmth:x:", "=warmth:0:",
                  "a=warmth:nan:", "a=warmth:1:0", "a; b=warmth:0:"):  # fmt: skip
        message = lines(cli, "data", "quality", manifest, "--limit", limit, status=2)
        assert "--limit must be REASON=COLUMN:LOW:HIGH" in message
    message = lines(cli, "data", "quality", manifest, "--limit", "a=size:0:", status=2)
    assert "'size' is none of border" in message
    message = lines(cli, "data", "quality", manifest, "--workers", 0, status=2)
    assert "workers must be at least 1, got 0" in message


def test_places_are_checked_first(cli: CliRunner, manifest: Path, tmp_path: Path) -> None:
    assert "is an input" in lines(cli, "data", "quality", manifest, "--out", manifest, status=2)
    said = lines(cli, "data", "quality", manifest, "--flawed", tmp_path / "f.txt", status=2)
    assert "--flawed must end in .npy or .csv" in said


def test_columns_for_a_selection(
    cli: CliRunner, manifest: Path, tmp_path: Path, rng: np.random.Generator
) -> None:
    out, x = tmp_path / "q.parquet", clustered(rng, 12, 4)
    np.save(tmp_path / "x.npy", x)
    lines(cli, "data", "quality", manifest, "--out", out, "--flawed", tmp_path / "f.npy")
    lines(cli, "select", tmp_path / "x.npy", "--method", "semdedup", "--budget", 4,
          "--manifest", out, "--array", "weights=manifest:brightness",
          "--array", f"exclude={tmp_path / 'f.npy'}", "--out", tmp_path / "s.parquet")  # fmt: skip
    flawed = np.load(tmp_path / "f.npy")
    told = np.array(Manifest.load(out).column("brightness"), np.float64)
    assert np.isnan(told[7])  # not read, and left out
    weights = np.where(flawed, 1.0, told)
    wanted = select("semdedup", x, 4, weights=weights, exclude=flawed)
    assert np.array_equal(Selection.load(tmp_path / "s.parquet").order, wanted.order)
    choose = ["select", tmp_path / "x.npy", "--budget", 4, "--out", tmp_path / "t.parquet"]
    said = lines(cli, *choose, "--array", "weights=manifest:noise", status=2)
    assert "--array weights=manifest:noise needs --manifest" in said
    said = lines(cli, *choose, "--array", "weights=manifest:label", "--manifest", out, status=2)
    assert "12 of 12 images have no label" in said
    said = lines(cli, *choose, "--array", "weights=manifest:noise", "--manifest", out, status=2)
    assert "1 of 12 images have no noise" in said
    said = lines(cli, *choose, "--array", "weights=manifest:nose", "--manifest", out, status=2)
    assert "wanted one of" in said

"""``meddel-fast dedup``: a selection, the table of a sweep, and the sheet of the nearest pairs."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("typer")
pytest.importorskip("pyarrow")
pytest.importorskip("PIL")

import pyarrow as pa
from command_line import lines
from frames import blob_frames
from operation_cases import RULES
from PIL import Image
from samples import clustered
from typer.testing import CliRunner

import meddel_fast as mf
from meddel_fast.benchmark.pair_sheet import PairSheet, write_pair_sheet
from meddel_fast.images.manifest import Manifest
from meddel_fast.selectors import Selection

N = 40


@pytest.fixture
def x(tmp_path: Path, rng: np.random.Generator) -> NDArray[np.float32]:
    made = clustered(rng, N, 8)
    np.save(tmp_path / "x.npy", made)
    return made


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    frames = blob_frames(tmp_path / "frames", N)
    groups = pa.array([f"v{i % 3}" if i % 5 else "" for i in range(N)])
    place = frames.table.schema.get_field_index("group")
    table = frames.table.set_column(place, "group", groups)
    replace(frames, table=table).save(tmp_path / "m.parquet")
    return tmp_path / "m.parquet"


@pytest.mark.parametrize("rule", RULES)
def test_a_selection(cli: CliRunner, x: NDArray[np.float32], tmp_path: Path, rule: str) -> None:
    out = tmp_path / "kept.parquet"
    text = lines(cli, "dedup", tmp_path / "x.npy", "--threshold", 0.9, "--rule", rule, "--out", out)
    wanted, found = mf.deduplicate(x, 0.9, rule=rule), Selection.load(out)
    assert np.array_equal(found.mask, wanted.keep)
    dropped = ~wanted.keep
    assert np.array_equal(found.duplicate_of[dropped], wanted.representative[dropped])
    assert np.array_equal(found.similarity[dropped], wanted.similarity[dropped])
    assert set(found.reason[dropped]) == {"duplicate"}
    assert found.settings == {"rule": rule, "threshold": 0.9}
    assert f"{wanted.keep.sum()} of {N} kept at 0.9 (duplicate {dropped.sum()})" in text
    lines(cli, "dedup", tmp_path / "x.npy", "--threshold", 0.9, "--rule", rule,
          "--out", tmp_path / "kept.npy")  # fmt: skip
    assert np.array_equal(np.load(tmp_path / "kept.npy"), np.flatnonzero(wanted.keep))


@pytest.mark.parametrize("rule", RULES)
def test_a_sweep(cli: CliRunner, x: NDArray[np.float32], tmp_path: Path, rule: str) -> None:
    table = tmp_path / "sweep.csv"
    text = lines(
        cli, "dedup", tmp_path / "x.npy", "--rule", rule, "--sweep", ".8:.95:.05", "--table", table
    )
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [row["threshold"] for row in rows] == ["0.8", "0.85", "0.9", "0.95"]
    for row in rows:
        kept = int(mf.deduplicate(x, float(row["threshold"]), rule=rule).keep.sum())
        assert int(row["kept"]) == kept
        assert row["share"] == f"{kept / N:.4f}"
        assert " ".join(row.values()) in " ".join(text.split())
    if rule != "greedy":
        assert all(int(row["pairs"]) == N - int(row["kept"]) for row in rows)
    once = lines(cli, "dedup", tmp_path / "x.npy", "--rule", rule, "--sweep", "0.9,.8")
    assert [line.split()[0] for line in once.splitlines()[-2:]] == ["0.9", "0.8"]


def test_a_budget(cli: CliRunner, x: NDArray[np.float32], tmp_path: Path) -> None:
    sweep = mf.dedup_sweep(x, floor=0.5)
    text = lines(cli, "dedup", tmp_path / "x.npy", "--budget", "75%", "--floor", 0.5)
    assert f"{sweep.at_budget(0.75).keep.sum()} of {N} kept at " in text
    assert text.split()[-1] == repr(sweep.threshold_for(0.75))
    low = lines(cli, "dedup", tmp_path / "x.npy", "--budget", 1, "--floor", 0.99, status=2)
    assert "which are kept at the floor of 0.99" in low


def test_inside_groups(
    cli: CliRunner, x: NDArray[np.float32], manifest: Path, tmp_path: Path
) -> None:
    groups = np.array([i % 3 if i % 5 else -i - 1 for i in range(N)])  # those without: alone
    np.save(tmp_path / "groups.npy", groups)
    for within in ("manifest", tmp_path / "groups.npy"):
        lines(cli, "dedup", tmp_path / "x.npy", "--threshold", 0.8, "--within", within,
              "--manifest", manifest, "--out", tmp_path / "kept.parquet")  # fmt: skip
        wanted = mf.deduplicate(x, 0.8, labels=groups).keep
        assert np.array_equal(Selection.load(tmp_path / "kept.parquet").mask, wanted)


@pytest.mark.parametrize("suffix", [".html", ".png"])
def test_a_sheet(
    cli: CliRunner, x: NDArray[np.float32], manifest: Path, tmp_path: Path, suffix: str
) -> None:
    sheet, pairs = tmp_path / f"sheet{suffix}", mf.dedup_sweep(x, floor=0.8).nearest(0.9, 3)
    for _ in range(2):  # the second takes the place of the first
        text = lines(cli, "dedup", tmp_path / "x.npy", "--threshold", 0.9, "--pairs", 3,
                     "--sheet", sheet, "--manifest", manifest)  # fmt: skip
    above = int((pairs.similarity >= 0.9).sum())
    assert f"{above} pairs at or above 0.9, {len(pairs.i) - above} below" in text
    if suffix == ".png":
        with Image.open(sheet) as picture:
            assert picture.size[0] > 900
            assert len(np.unique(np.asarray(picture))) > 50
        return
    page = sheet.read_text()
    assert page.count('class="pair"') == len(pairs.i)
    for i, similarity in zip(pairs.i, pairs.similarity, strict=True):
        assert f"<b>{similarity:.4f}</b>" in page
        assert f"{i:03d}.png" in page
    assert "http" not in page.replace("http-equiv", "")


@pytest.mark.parametrize("suffix", [".html", ".png"])
def test_a_sheet_of_images_that_are_gone(manifest: Path, tmp_path: Path, suffix: str) -> None:
    rows = Manifest.load(manifest)
    for path in rows.image_paths()[:2]:
        path.unlink()
    none = np.zeros(0, np.int64)
    for near in (
        mf.ops.SimilarPairsResult(np.array([1]), np.array([0]), np.array([0.9])),
        mf.ops.SimilarPairsResult(none, none, none.astype(float)),
    ):
        sheet = tmp_path / f"s{suffix}"
        write_pair_sheet(PairSheet(near, 0.8, rows, "about"), sheet)
        if suffix == ".html" and len(near.i):
            assert sheet.read_text().count("image not found or not readable") == 2
    with pytest.raises(ValueError, match=r"path must end in .html or .png"):
        write_pair_sheet(PairSheet(near, 0.8, rows, "about"), tmp_path / "s.gif")


def test_refusals(cli: CliRunner, x: NDArray[np.float32], manifest: Path, tmp_path: Path) -> None:
    source, other = tmp_path / "x.npy", tmp_path / "o.html"
    other.write_text("mine")
    labels = tmp_path / "labels.npy"
    np.save(labels, np.arange(N))
    for options, message in (
        ([], "--threshold, --budget or --sweep is needed"),
        (["--threshold", 0.9, "--budget", 5], "--threshold or --budget, not both"),
        (["--sweep", ".8,.9", "--out", tmp_path / "k.parquet"], "--out needs --threshold"),
        (["--threshold", 0.9, "--table", tmp_path / "t.csv"], "--table needs --sweep"),
        (["--threshold", 0.9, "--sheet", other], "--sheet needs --manifest"),
        (["--threshold", 0.9, "--sheet", other, "--manifest", manifest], "is there and is not"),
        (["--threshold", 0.9, "--sheet", tmp_path / "s.gif", "--manifest", manifest],
         "--sheet must end in .html or .png"),
        (["--threshold", 0.9, "--out", source], "is an input"),
        (["--sweep", ".9:.8:.1"], "--sweep must be LOW:HIGH:STEP"),
        (["--sweep", ".8:.9:0"], "--sweep must be LOW:HIGH:STEP"),
        (["--sweep", ".9,1.5"], "--sweep must be from -1 to 1, got 1.5"),
        (["--threshold", 0.9, "--floor", "nan"], "--floor must be from -1 to 1, got nan"),
        (["--threshold", 0.9, "--pairs", 0], "--pairs must be from 1 to 1000, got 0"),
        (["--sweep", "a,b"], "--sweep must be LOW:HIGH:STEP"),
        (["--sweep", "0:1:1e-9"], "at most 10000 thresholds"),
        (["--threshold", 0.9, "--within", "manifest"], "--within manifest needs --manifest"),
        (["--threshold", 1.5], "--threshold must be from -1 to 1, got 1.5"),
        (["--threshold", 0.7, "--floor", 0.8], "threshold must be from 0.8 to 1, got 0.7"),
        (["--sweep", ".7,.9", "--floor", 0.8], "--sweep must be from 0.8 to 1, got 0.7"),
        (["--budget", N + 1], f"budget must be from 1 to {N}"),
        (["--threshold", 0.9, "--rule", "all"], "rule must be one of"),
        (["--threshold", 0.9, "--within", labels, "--out", labels], "is an input"),
    ):  # fmt: skip
        assert message in lines(cli, "dedup", source, *options, status=2), options
    np.save(tmp_path / "few.npy", x[:5])
    said = lines(cli, "dedup", tmp_path / "few.npy", "--threshold", 0.9, "--manifest", manifest,
                 status=2)  # fmt: skip
    assert f"has {N} images" in said

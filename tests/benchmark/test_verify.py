"""Saved predictions: packed, read back, scored again; what was changed does not agree."""

from __future__ import annotations

import json
import shutil
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow")

from PIL import Image
from typer.testing import CliRunner

from meddel_fast.benchmark.results import floors_of_run, read_run, results_of_run
from meddel_fast.benchmark.verify import VERDICTS, is_verified, verify, wrong_masks
from meddel_fast.cli import app
from meddel_fast.common.files import read_json
from meddel_fast.images.load_masks import load_mask
from meddel_fast.images.manifest import Manifest
from meddel_fast.images.scan.folder import scan_folder
from meddel_fast.training.predictions import Predictions, confusion_matrices, load_confusions, pack


def made_up(n: int = 3, size: int = 9) -> Predictions:
    rng = np.random.default_rng(0)
    truth, predicted = rng.random((2, n, size, size)) < 0.4
    ids = [f"images/{i} é.png" for i in range(n)]
    return Predictions(ids, pack(predicted), size, confusion_matrices(truth, predicted))


def test_confusion_matrices_count_every_pixel() -> None:
    truth = np.array([[[0, 0], [1, 1]], [[1, 1], [1, 1]]], dtype=bool)
    predicted = np.array([[[0, 1], [0, 1]], [[1, 1], [1, 0]]], dtype=bool)
    found = confusion_matrices(truth, predicted)
    assert found.tolist() == [[[1, 1], [1, 1]], [[0, 0], [1, 3]]]
    assert found.dtype == np.int64
    with pytest.raises(ValueError, match=r"one 3-d shape, got \(2, 2, 2\) and \(1, 2, 2\)"):
        confusion_matrices(truth, predicted[:1])


@pytest.mark.parametrize("share", [0.0, 0.03, 0.5, 1.0])
def test_miou_is_scikit_learns_on_random_masks(rng: np.random.Generator, share: float) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    segmentation = pytest.importorskip("meddel_fast.training.segmentation")
    truth = rng.random((5, 16, 16)) < share
    predicted = truth ^ (rng.random(truth.shape) < 0.1)
    found = segmentation.scores(confusion_matrices(truth, predicted))
    wanted = metrics.jaccard_score(truth.ravel(), predicted.ravel(), average="macro")
    assert found["miou"] == pytest.approx(wanted, rel=1e-12)


def test_miou_is_scikit_learns_on_real_masks(real_data: Path) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    segmentation = pytest.importorskip("meddel_fast.training.segmentation")
    for name in ("kvasir_seg", "cvc_clinicdb"):
        paths = sorted((real_data / name / "masks").iterdir())[:40]
        truth = np.stack([load_mask(path, 96) for path in paths]).astype(bool)
        assert 0 < truth.mean() < 0.5
        moved = np.roll(truth, (5, -3), axis=(1, 2))  # as a head misses: by its edges
        for predicted in (moved, np.roll(truth, 1, axis=0), np.zeros_like(truth)):
            found = segmentation.scores(confusion_matrices(truth, predicted))
            flat = truth.ravel(), predicted.ravel()
            assert found["miou"] == pytest.approx(
                metrics.jaccard_score(*flat, average="macro"), rel=1e-12
            )
            each = [
                metrics.jaccard_score(t.ravel(), p.ravel(), zero_division=1)
                for t, p in zip(truth, predicted, strict=True)
            ]
            assert found["image_iou_polyp"] == pytest.approx(np.mean(each), rel=1e-12)


def test_predictions_come_back(tmp_path: Path) -> None:
    path = tmp_path / "p.npz"
    whole = made_up()
    whole.save(path)
    found = Predictions.load(path)
    assert (found.ids, found.size) == (whole.ids, whole.size)
    np.testing.assert_array_equal(found.masks, whole.masks)
    np.testing.assert_array_equal(found.confusions, whole.confusions)
    assert whole.masks.shape == (3, 9, 9)
    assert whole.bits.shape == (3, 11)  # 81 bits
    ids, confusions = load_confusions(path)
    assert ids == whole.ids
    np.testing.assert_array_equal(confusions, whole.confusions)
    many = made_up(200, 64)
    many.save(path)
    assert path.stat().st_size < 200 * (512 + 64)  # a bit a pixel; noise does not compress


def test_files_that_hold_no_predictions(tmp_path: Path) -> None:
    path = tmp_path / "p.npz"
    with pytest.raises(FileNotFoundError, match="no predictions at"):
        Predictions.load(path)
    whole = made_up()
    whole.save(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="holds no predictions"):
        Predictions.load(path)
    np.savez(path, ids=np.array([object()]), allow_pickle=True)
    with pytest.raises(ValueError, match="holds no predictions"):
        Predictions.load(path)
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ValueError, match="holds no predictions"):
        Predictions.load(path)
    with pytest.raises(FileExistsError, match="is not a file of predictions"):
        whole.save(path)
    path.unlink()
    replace(whole, confusions=whole.confusions[1:]).save(path)
    for load in (Predictions.load, load_confusions):
        with pytest.raises(ValueError, match=r"wanted ids \(n,\) and confusions \(n, 2, 2\)"):
            load(path)
    replace(whole, size=12).save(path)
    with pytest.raises(
        ValueError, match=r"wanted 3 masks of 12 pixels a side .*, has bits of shape \(3, 11\)"
    ):
        Predictions.load(path)


def stated(n: int, side: int, **other: Any) -> dict[str, Any]:
    """Arrays of n empty masks."""
    whole = {
        "ids": np.array([f"{k}" for k in range(n)], dtype=np.str_),
        "bits": np.zeros((n, -(-side * side // 8)), np.uint8),
        "size": np.int64(side),
        "confusions": np.zeros((n, 2, 2), np.int64),
    }
    return whole | other


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"bits": np.zeros((3, 8), np.uint32)}, "wanted bits of type u1, has uint32"),
        ({"ids": np.zeros(3)}, "wanted ids of type U, has float64"),
        ({"size": np.array([8])}, r"wanted one size, has \(1,\)"),
        ({"size": np.int64(-8)}, "3 masks of -8 pixels"),
        ({"size": np.int64(0), "bits": np.zeros((3, 0), np.uint8)}, "3 masks of 0 pixels"),
        ({"size": np.int64(2**40)}, r"3 masks of 1099511627776 pixels a side \(1 to 4096\)"),
    ],
)
def test_headers_that_are_not_of_predictions(
    tmp_path: Path, other: dict[str, Any], told: str
) -> None:
    np.savez(tmp_path / "p.npz", **stated(3, 8, **other))
    with pytest.raises(ValueError, match=rf"p\.npz holds no predictions: .*{told}"):
        Predictions.load(tmp_path / "p.npz")


def bomb(path: Path, header: str, size: int, method: int = zipfile.ZIP_DEFLATED) -> None:
    """Predictions whose ids are `size` zero bytes behind a header."""
    np.savez_compressed(path, **stated(3, 8))
    with zipfile.ZipFile(path) as archive:
        right = {name: archive.read(name) for name in archive.namelist() if name != "ids.npy"}
    text = header.encode() + b"\n"
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in right.items():
            archive.writestr(name, data)
        with archive.open("ids.npy", "w", force_zip64=True) as member:
            member.write(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
            for _ in range(size >> 20):
                member.write(bytes(1 << 20))


HEADER = "{{'descr': '<U{}', 'fortran_order': False, 'shape': ({},), }}"


@pytest.mark.parametrize(
    ("header", "megabytes", "method", "told"),
    [
        (HEADER.format(256, 3), 64, zipfile.ZIP_DEFLATED, "bytes that its header wants"),
        (HEADER.format(9, 10**12), 64, zipfile.ZIP_DEFLATED, "bytes that its header wants"),
        (HEADER.format(2**18, 64), 64, zipfile.ZIP_DEFLATED, "wanted ids"),
        (HEADER.format(2**23 // 3, 3), 64, zipfile.ZIP_BZIP2, "packed by method 12"),
        (HEADER.format(2**24, 3), 192, zipfile.ZIP_DEFLATED, "would grow to 2013"),
    ],
)
def test_predictions_that_would_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, header: str, megabytes: int, method: int,
    told: str,
) -> None:  # fmt: skip
    monkeypatch.setattr("meddel_fast.training.predictions.MAX_BYTES", 64 << 20)
    bomb(tmp_path / "p.npz", header, megabytes << 20, method)
    assert (tmp_path / "p.npz").stat().st_size < 300_000
    for load in (Predictions.load, load_confusions):
        tracemalloc.start()
        try:
            with pytest.raises(ValueError, match=rf"p\.npz holds no predictions: .*{told}"):
                load(tmp_path / "p.npz")
            assert tracemalloc.get_traced_memory()[1] < 5 << 20
        finally:
            tracemalloc.stop()


def test_a_stated_size_is_not_exceeded(tmp_path: Path) -> None:
    """The archive's list says less than what comes out."""
    np.savez_compressed(tmp_path / "p.npz", **stated(3, 8, bits=np.zeros((3, 20 << 20), np.uint8)))
    data = (tmp_path / "p.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "p.npz") as archive:
        true = archive.getinfo("bits.npy").file_size
    header = true - 3 * (20 << 20)
    forged = data.replace(true.to_bytes(4, "little"), (header + 24).to_bytes(4, "little"))
    (tmp_path / "p.npz").write_bytes(forged)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="holds no predictions"):
            Predictions.load(tmp_path / "p.npz")
        assert tracemalloc.get_traced_memory()[1] < 5 << 20
    finally:
        tracemalloc.stop()


def test_empty_masks_are_no_bomb(tmp_path: Path) -> None:
    whole = stated(3000, 64)
    np.savez_compressed(tmp_path / "p.npz", **whole)
    assert whole["bits"].nbytes > 100 * (tmp_path / "p.npz").stat().st_size / 2
    assert Predictions.load(tmp_path / "p.npz").bits.shape == (3000, 512)


@pytest.fixture
def run_dir(finished_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


def test_every_result_of_a_run_agrees(run_dir: Path) -> None:
    about = read_run(run_dir)
    results = results_of_run(run_dir, about) + floors_of_run(run_dir, about)
    assert len(results) == (9 + 1) * 2 * 2 * 2  # selections and floor, sets, seeds, repetitions
    assert not is_verified(run_dir, results[0])
    seen: list[tuple[int, int]] = []
    verdicts = verify(run_dir, progress=lambda done, total: seen.append((done, total)))
    assert [v.name for v in verdicts] == [r.name for r in results]
    assert all(v.agrees for v in verdicts), [v.reason for v in verdicts if not v.agrees]
    assert seen[-1] == (len(results), len(results))
    assert all(is_verified(run_dir, r) for r in results)


def test_results_are_scikit_learns_on_the_saved_masks(finished_run: Path) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    for result in results_of_run(finished_run, read_run(finished_run))[::7]:
        predictions = Predictions.load(result.predictions)
        manifest = Manifest.load(finished_run / "data" / f"{result.data}.parquet")
        rows = manifest.split("test").with_masks()
        assert rows.ids == predictions.ids
        truth = np.stack([load_mask(path, 32) for path in rows.mask_paths()])
        wanted = metrics.jaccard_score(
            truth.ravel().astype(bool), predictions.masks.ravel(), average="macro"
        )
        assert read_json(result.path)["miou"] == pytest.approx(wanted, rel=1e-12)


def flip_a_pixel(path: Path) -> None:
    found = Predictions.load(path)
    bits = found.bits.copy()
    bits[0, 0] ^= 128
    replace(found, bits=bits).save(path)


def test_what_was_changed_does_not_agree(run_dir: Path) -> None:
    results = results_of_run(run_dir, read_run(run_dir))
    made = [r for r in results if r.data == "made"]
    better, flipped, missing, other, torn = made[:5]
    result = read_json(better.path)
    better.path.write_text(json.dumps(result | {"miou": result["miou"] + 1e-9}))
    flip_a_pixel(flipped.predictions)
    missing.predictions.unlink()
    whole = Predictions.load(other.predictions)
    replace(whole, ids=whole.ids[::-1]).save(other.predictions)
    torn.path.write_text("[]")
    verdicts = {v.name: v for v in verify(run_dir)}
    reasons = {v.name: v.reason for v in verdicts.values() if not v.agrees}
    assert set(reasons) == {r.name for r in (better, flipped, missing, other, torn)}
    assert "miou is" in reasons[better.name]
    assert reasons[flipped.name] == "the saved counts are not those of the saved masks"
    assert "is missing" in reasons[missing.name]
    assert "other images" in reasons[other.name]
    assert "no scores" in reasons[torn.name]
    agreed = made[5]
    assert is_verified(run_dir, agreed)
    flip_a_pixel(agreed.predictions)  # after the verdict
    assert not is_verified(run_dir, agreed)


def test_other_masks_than_those_scanned_do_not_agree(run_dir: Path, tmp_path: Path) -> None:
    manifest = Manifest.load(run_dir / "data" / "other.parquet")
    moved = Path(shutil.copytree(manifest.root, tmp_path / "moved"))
    verdicts = verify(run_dir, roots={"other": moved})
    assert all(v.agrees for v in verdicts)
    first = manifest.split("test").with_masks().column("mask")[0]
    swapped = manifest.split("train").with_masks().column("mask")[0]
    (moved / first).write_bytes((moved / swapped).read_bytes())
    verdicts = verify(run_dir, roots={"other": moved})
    assert {v.name.split("/")[1][:5] for v in verdicts if not v.agrees} == {"other"}
    assert "is not the one of the manifest" in next(v.reason for v in verdicts if not v.agrees)
    (moved / first).unlink()
    verdicts = verify(run_dir, roots={"other": moved})
    assert "the mask of" in next(v.reason for v in verdicts if not v.agrees)
    with pytest.raises(ValueError, match=r"roots must name test sets of .*'made', 'other'"):
        verify(run_dir, roots={"third": moved})


def test_command(run_dir: Path, cli: CliRunner, tmp_path: Path) -> None:
    done = cli.invoke(app, ["verify", str(run_dir)])
    assert done.exit_code == 0, done.output
    assert "80 of 80 results agree bit for bit" in done.output
    assert len(read_json(run_dir / VERDICTS)) == 80
    flip_a_pixel(run_dir / "evaluate" / "full-100" / "made-seed0.npz")
    flip_a_pixel(run_dir / "evaluate" / "untrained-repeat1" / "made-seed0.npz")
    done = cli.invoke(app, ["verify", str(run_dir)])
    assert done.exit_code == 1
    assert "full-100/made-seed0: the saved counts" in done.output
    assert "untrained-repeat1/made-seed0: the saved counts" in done.output
    assert "78 of 80 results agree" in done.output
    assert cli.invoke(app, ["verify", str(tmp_path)]).exit_code == 2
    assert cli.invoke(app, ["verify", str(run_dir), "--root", "made"]).exit_code == 2


def test_masks_in_an_archive_are_held_against_what_was_scanned(tmp_path: Path) -> None:
    for place, value in (("images", 0), ("masks", 0), ("masks", 255)):
        folder = tmp_path / f"set{value}" / place
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("L", (20, 20), value).save(folder / "a.png")
    shutil.copytree(tmp_path / "set0" / "images", tmp_path / "set255" / "images")
    for name in ("set0", "set255"):
        shutil.make_archive(str(tmp_path / name), "zip", tmp_path / name)
    rows = scan_folder(tmp_path / "set0.zip").with_masks()
    assert len(rows) == 1
    assert wrong_masks(rows) == ""
    (tmp_path / "set255.zip").replace(tmp_path / "set0.zip")
    assert "is not the one of the manifest" in wrong_masks(rows)
    (tmp_path / "set0.zip").unlink()
    assert "cannot be read" in wrong_masks(rows)

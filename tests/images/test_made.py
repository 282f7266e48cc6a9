"""Made videos: the plan is kept, the truth is true, the frames are of use."""

from __future__ import annotations

import csv
import hashlib
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("PIL.Image")
pq = pytest.importorskip("pyarrow.parquet")

from meddel_fast.common import files  # noqa: E402
from meddel_fast.images.load_images import load_image  # noqa: E402
from meddel_fast.images.load_masks import load_mask  # noqa: E402
from meddel_fast.images.made.frames import DISRUPTIONS, make_frames  # noqa: E402
from meddel_fast.images.scan.folder import scan_folder  # noqa: E402

SMALL: dict[str, Any] = {
    "videos": 8,
    "frames": 25,
    "size": 64,
    "val_videos": 1,
    "test_videos": 2,
    "near_duplicates": 0.24,
    "exact_duplicates": 0.08,
    "disruptive": 0.16,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_frames(tmp_path_factory.mktemp("made") / "set", **SMALL)


@pytest.fixture(scope="module")
def truth(made: Path) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = pq.read_table(made / "truth.parquet").to_pylist()
    return rows


def content(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def listing(folder: Path) -> dict[str, str]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): content(path) for path in paths}


def test_counts_and_splits(made: Path, truth: list[dict[str, str]]) -> None:
    manifest = scan_folder(made, require_masks=True)
    assert manifest.skipped.num_rows == 0
    assert manifest.ids == sorted(row["id"] for row in truth)
    assert Counter(manifest.column("split")) == {"train": 125, "val": 25, "test": 50}
    assert set(zip(manifest.column("width"), manifest.column("height"), strict=True)) == {(64, 64)}
    splits = defaultdict(set)
    for group, split in zip(manifest.column("group"), manifest.column("split"), strict=True):
        splits[group].add(split)
    assert len(splits) == 8
    assert all(len(found) == 1 for found in splits.values())
    with (made / "splits.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["frame"]) for row in rows] == list(range(25)) * 8


def test_shares_are_those_asked_for(made: Path, truth: list[dict[str, str]]) -> None:
    split = dict(zip(*(scan_folder(made).column(c) for c in ("id", "split")), strict=True))
    kinds = Counter((split[row["id"]], row["kind"]) for row in truth)
    assert kinds["train", "near_duplicate"] == 30
    assert kinds["train", "exact_duplicate"] == 10
    assert kinds["train", "disruptive"] == 20
    assert kinds["val", "normal"] == 25
    assert kinds["test", "normal"] == 50
    disruptions = Counter(row["disruption"] for row in truth if row["kind"] == "disruptive")
    assert disruptions == dict.fromkeys(DISRUPTIONS, 5)
    assert {row["disruption"] for row in truth if row["kind"] != "disruptive"} == {""}


def test_the_truth_is_true(made: Path, truth: list[dict[str, str]]) -> None:
    kinds = {row["id"]: row["kind"] for row in truth}
    digests = Counter(content(made / row["id"]) for row in truth if row["kind"] == "normal")
    assert set(digests.values()) == {1}
    near, apart = [], []
    before: dict[str, str] = {}
    for row in truth:
        if row["kind"] in ("near_duplicate", "exact_duplicate"):
            assert kinds[row["of"]] == "normal"
            same = content(made / row["of"]) == content(made / row["id"])
            assert same == (row["kind"] == "exact_duplicate")
        else:
            assert row["of"] == ""
        pixels = load_image(made / row["id"], 32).astype(float)
        if row["kind"] == "near_duplicate":
            near.append(np.abs(pixels - load_image(made / row["of"], 32)).mean())
        if row["kind"] == "normal":
            video = row["id"][:11]
            if video in before:
                apart.append(np.abs(pixels - load_image(made / before[video], 32)).mean())
            before[video] = row["id"]
    # a frame and its near duplicate are far closer than two frames of a moving camera
    assert max(near) < np.quantile(apart, 0.05)
    assert np.median(near) < 0.2 * np.median(apart)


def test_masks_of_copies_and_of_spoilt_frames(made: Path, truth: list[dict[str, str]]) -> None:
    for row in truth:
        mask = made / "masks" / f"{Path(row['id']).stem}.png"
        if row["kind"] == "exact_duplicate":
            assert content(mask) == content(made / "masks" / f"{Path(row['of']).stem}.png")
        if row["disruption"] in ("black", "blown_out", "noise"):
            assert not load_mask(mask, 64).any()


def test_disruptive_frames_look_it(made: Path, truth: list[dict[str, str]]) -> None:
    def detail(pixels: np.ndarray) -> float:
        grey = pixels.mean(axis=2)
        return float(np.abs(np.diff(grey, axis=1)).mean())

    frames: dict[str, list[np.ndarray]] = defaultdict(list)
    for row in truth:
        name = row["disruption"] or row["kind"]
        frames[name].append(load_image(made / row["id"], 64).astype(float))
    normal_detail = [detail(pixels) for pixels in frames["normal"]]
    normal_light = [pixels.mean() for pixels in frames["normal"]]
    assert max(p.mean() for p in frames["black"]) < min(15.0, min(normal_light))
    assert min((p > 245).mean() for p in frames["blown_out"]) > 0.25
    assert max(detail(p) for p in frames["blurred"]) < np.quantile(normal_detail, 0.02)
    assert min(detail(p) for p in frames["noise"]) > np.median(normal_detail)


def test_polyps_are_there_but_not_given_away(made: Path, truth: list[dict[str, str]]) -> None:
    normal = [row["id"] for row in truth if row["kind"] == "normal"]
    masks = np.stack([load_mask(made / "masks" / f"{Path(n).stem}.png", 64) for n in normal])
    pixels = np.stack([load_image(made / name, 64) for name in normal]).astype(float)
    shares = masks.mean(axis=(1, 2))
    assert 0.4 < (shares > 0.003).mean() < 0.95
    assert 0.02 < masks.mean() < 0.2
    assert shares.max() < 0.7
    # no threshold on one colour channel, or on redness, finds them
    truth_mask = masks.astype(bool)
    redness = pixels[..., 0] / (pixels.sum(axis=3) + 1)
    for values in (*np.moveaxis(pixels, 3, 0), redness, -redness):
        best = 0.0
        for cut in np.quantile(values, np.linspace(0.5, 0.99, 15)):
            found = values > cut
            best = max(best, (found & truth_mask).sum() / (found | truth_mask).sum())
        assert best < 0.35


def test_same_seed_same_bytes_other_seed_others(made: Path, tmp_path: Path) -> None:
    again = make_frames(tmp_path / "again", **SMALL)
    assert listing(again) == listing(made)
    other = make_frames(tmp_path / "other", **{**SMALL, "seed": 1})
    assert listing(other)["images/v000_f0000.jpg"] != listing(made)["images/v000_f0000.jpg"]


def test_second_call_does_nothing_and_repairs(tmp_path: Path) -> None:
    options = {**SMALL, "videos": 2, "frames": 10, "val_videos": 0, "test_videos": 1}
    calls: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        calls.append((done, total))

    out = make_frames(tmp_path / "x", **options, progress=progress)
    assert calls == [(n, 20) for n in range(1, 21)]
    first = listing(out)
    make_frames(out, **options, progress=progress)
    assert len(calls) == 20
    (out / "images" / "v001_f0003.jpg").unlink()
    make_frames(out, **options)
    assert listing(out) == first
    make_frames(out, **{**options, "seed": 5})
    assert files.read_json(out / "made.json")["settings"]["seed"] == 5
    assert listing(out) != first
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_interrupted_making_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_frames(tmp_path / "x", **SMALL, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_foreign_folders_are_not_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match="not empty"):
        make_frames(tmp_path, **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"videos": 0}, ValueError, r"videos: wanted an integer in \[1, 10000\], got 0"),
        ({"frames": 2.5}, TypeError, "frames: wanted an integer, got float"),
        ({"size": 8}, ValueError, r"size: .*\[32, 1024\], got 8"),
        ({"seed": -1}, ValueError, "seed: "),
        ({"test_videos": 8}, ValueError, r"test_videos: wanted an integer in \[0, 6\], got 8"),
        ({"disruptive": 0.9}, ValueError, r"disruptive: wanted a share in \[0, 0.8\], got 0.9"),
        ({"near_duplicates": float("nan")}, ValueError, "near_duplicates: wanted a share"),
        ({"near_duplicates": 0.7}, ValueError, "at most 0.8, got 0.94"),
        (
            {"frames": 2, "near_duplicates": 0.1, "disruptive": 0.6},
            ValueError,
            "frames: wanted more",
        ),
    ],
)
def test_wrong_arguments(
    tmp_path: Path, changes: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        make_frames(tmp_path / "x", **{**SMALL, **changes})
    assert not (tmp_path / "x").exists()


def test_fast_enough(tmp_path: Path) -> None:
    start = time.process_time()
    make_frames(tmp_path / "x", videos=4, frames=40, val_videos=0, test_videos=1)
    # 150 frames a second of processor time on the machine it was written on; a third elsewhere
    assert 160 / (time.process_time() - start) > 50

"""The same images on both sides: refused in every stage, and none in real videos."""

from __future__ import annotations

import csv
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PIL.Image")
pytest.importorskip("pyarrow")

from scenes import command, save, scene

from meddel_fast.benchmark.config_file import load_config
from meddel_fast.common.errors import ConfigError
from meddel_fast.images.manifest import Manifest
from meddel_fast.images.scan.folder import scan_folder
from meddel_fast.images.shared_images import shared_images
from meddel_fast.images.splits import Dealing, deal_splits

# --- the same images on both sides are refused -----------------------------------------------


def masked(folder: Path, count: int = 12) -> Path:
    for number in range(count):
        save(folder / f"images/{number:02}.png", scene(number))
        save(folder / f"masks/{number:02}.png", np.full((48, 64), 255, np.uint8))
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like an encoder's, and is never read further."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "config.json").write_text('{"image_size": 32}')
    return folder


@pytest.mark.parametrize("task", ["segmentation", "classification", "localisation"])
@pytest.mark.parametrize("case", ["one split", "two of three", "other manifest", "copies"])
def test_testing_on_what_was_trained_on_is_refused(
    tmp_path: Path, model: Path, task: str, case: str
) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    folder = masked(tmp_path / "data")
    manifest = scan_folder(folder)
    manifest.save(tmp_path / "m.parquet")
    counts = Counter(manifest.column("split"))
    options: list[object] = ["--train-split", "test", "--test-split", "test"]
    test, train = counts["test"], counts["test"]
    if case == "two of three":
        options = ["--train-split", "train", "--train-split", "val", "--test-split", "val"]
        test, train = counts["val"], counts["train"] + counts["val"]
    elif case in ("other manifest", "copies"):
        other = folder
        if case == "copies":
            other = tmp_path / "elsewhere"
            shutil.copytree(folder, other)
            for path in (other / "images").iterdir():
                path.rename(path.with_name(f"renamed {path.name}"))
            for path in (other / "masks").iterdir():
                path.rename(path.with_name(f"renamed {path.name}"))
        scan_folder(other, dealing=Dealing(split="test")).save(tmp_path / "t.parquet")
        options = ["--test", tmp_path / "t.parquet"]
        test, train = 12, counts["train"]
    if task == "classification":
        options += ["--set", "labels=lesion"]
    result = command("evaluate", model, tmp_path / "m.parquet", "--task", task, *options)
    shared = min(test, train) if case != "two of three" else test
    assert result.exit_code == 2, result.output
    said = " ".join(result.output.split())
    assert f"{shared} of {test} test images are among the {train} training images" in said


def test_images_are_told_by_path_and_by_content(tmp_path: Path) -> None:
    manifest = scan_folder(masked(tmp_path / "a", 4), dealing=Dealing(split="test"))
    assert [pair[0] for pair in shared_images(manifest, manifest, contents=False)] == manifest.ids
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    save(tmp_path / "b/images/03.png", scene(77))
    (tmp_path / "link").symlink_to(tmp_path / "a")
    copy = scan_folder(tmp_path / "b", dealing=Dealing(split="test"))
    link = scan_folder(tmp_path / "link", dealing=Dealing(split="test"))
    assert shared_images(manifest, copy) == [(name, name) for name in copy.ids[:3]]
    assert shared_images(manifest, copy, contents=False) == []
    assert len(shared_images(manifest, link, contents=False)) == 4


RUN = """
[run]
name = "small"
out = "run"

[[data]]
name = "trained"
path = "trained"

[[data]]
name = "tested"
path = "tested"
use = ["test"]
split = "test"
"""


@pytest.fixture
def small_run(tmp_path: Path) -> Path:
    masked(tmp_path / "trained", 20)
    for number in range(5):
        save(tmp_path / f"tested/images/{number}.png", scene(50 + number))
        save(tmp_path / f"tested/masks/{number}.png", np.full((48, 64), 255, np.uint8))
    (tmp_path / "run.toml").write_text(RUN)
    return tmp_path / "run.toml"


def test_a_run_trains_the_heads_of_a_test_set_on_another_set(small_run: Path) -> None:
    pytest.importorskip("rich")
    from meddel_fast.benchmark.run import run
    from meddel_fast.benchmark.stages.run_stages import RunStages
    from meddel_fast.benchmark.stages.stage import Records

    with pytest.raises(ConfigError, match=r"'tested': no image with a mask .* `train_on` names"):
        run(load_config(small_run), until="data")
    small_run.write_text(RUN + 'train_on = ["trained"]\n')
    config = load_config(small_run)
    out = run(config, until="data")
    tested = Manifest.load(out / "data/tested.parquet")
    assert tested.column("split") == ["test"] * 5
    plan = RunStages(config, Records(out))
    plan.records._digests |= {p: p.name for p in (out / "data").iterdir()}
    heads = plan.head_rows(config.data[1])
    trained = Manifest.load(out / "data/trained.parquet").split("train")
    assert heads.ids == [f"trained/{name}" for name in trained.ids]
    assert plan.head_rows(config.data[0]).ids == trained.ids


def test_a_run_refuses_heads_that_saw_the_test_images(small_run: Path) -> None:
    pytest.importorskip("rich")
    from meddel_fast.benchmark.run import run

    text = RUN.replace('path = "tested"', 'path = "trained"') + 'train_on = ["trained"]\n'
    small_run.write_text(text)
    with pytest.raises(ConfigError, match="'tested': 16 of 20 test images are among those"):
        run(load_config(small_run), until="data")
    small_run.write_text(RUN + 'train_on = ["nobody"]\n')
    with pytest.raises(ConfigError, match=r"'tested' train_on must name data sets .* got 'nobody'"):
        load_config(small_run)


# --- real frames -----------------------------------------------------------------------------


def nearest(real_data: Path, splits: Mapping[str, str]) -> tuple[np.ndarray, dict[str, set[str]]]:
    """Give the highest cosine of each test frame to a training frame, and sequences' splits."""
    with (real_data / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    x = np.load(real_data / "embeddings_effnet_lite0_f32.npy").astype(np.float64)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    split = np.array([splits.get(row["file"], "") for row in rows])
    sequences: dict[str, set[str]] = {}
    for row, name in zip(rows, split, strict=True):
        if name and row["sequence"]:
            sequences.setdefault(row["sequence"], set()).add(name)
    return (x[split == "test"] @ x[split == "train"].T).max(axis=1), sequences


@pytest.mark.parametrize(
    ("name", "before", "fewest", "most"),
    [("cvc_clinicdb", (12, 29), 10, 29), ("kvasir_seg", (3, 0), 950, 995)],
)
def test_neighbours_in_real_videos_are_on_one_side(
    real_data: Path, name: str, before: tuple[int, int], fewest: int, most: int
) -> None:
    """Without a list and without sequences, no test frame has a training frame at .95."""
    manifest = scan_folder(real_data / name)
    ids = [f"{name}/{one}" for one in manifest.ids]
    cosines, sequences = nearest(real_data, dict(zip(ids, manifest.column("split"), strict=True)))
    assert len(cosines) >= 0.1 * len(manifest)
    assert cosines.max() < 0.95
    assert sum(len(splits) > 1 for splits in sequences.values()) <= 1
    units = int(manifest.notes[0].partition(" as ")[2].split()[0])
    assert fewest <= units <= most
    one_by_one = deal_splits(manifest.column("sha256"))  # what was dealt before
    cosines, sequences = nearest(real_data, dict(zip(ids, one_by_one, strict=True)))
    parted = sum(len(splits) > 1 for splits in sequences.values())
    assert ((cosines >= 0.95).sum(), parted) == before

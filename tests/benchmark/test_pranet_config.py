"""PraNet's protocol: the config that is kept, and a run of it on made frames in its layout."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("torch")
pytest.importorskip("transformers")

from command_line import lines
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from meddel_fast.benchmark.config import RunConfig
from meddel_fast.benchmark.config_file import load_config
from meddel_fast.benchmark.expected import pool_of
from meddel_fast.benchmark.run import run
from meddel_fast.common.files import read_json
from meddel_fast.images.manifest import Manifest

CONFIG = Path(__file__).parents[2] / "configs" / "pranet.toml"
SETS = {
    "Kvasir": "kvasir",
    "CVC-ClinicDB": "cvc-clinicdb",
    "CVC-ColonDB": "cvc-colondb",
    "CVC-300": "cvc-300",
    "ETIS-LaribPolypDB": "etis",
}


def lay_out(folder: Path, names: list[str], seed: int) -> None:
    """Write frames with a disc each, as images/ and masks/ of PNG."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:40, :48]
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for name in names:
        cy, cx, radius = rng.uniform((10, 12, 5), (30, 36, 10))
        mask = (y - cy) ** 2 + (x - cx) ** 2 < radius**2
        pixels = rng.normal(0, 8, (40, 48, 3)) + np.where(mask[..., None], 200, 90)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"images/{name}.png")
        Image.fromarray(mask.astype(np.uint8) * 255).save(folder / f"masks/{name}.png")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PraNet's two downloads in small: names of Kvasir-SEG, numbers of CVC-ClinicDB."""
    root = tmp_path_factory.mktemp("pranet")
    train = [*(f"cju{n:03}" for n in range(18)), "26", "30", "51", "612"]
    lay_out(root / "TrainDataset", train, 0)
    for place, folder in enumerate(SETS):
        names = ["27", "52", "53", "611"] if folder == "CVC-ClinicDB" else ["1", "2", "3", "4"]
        lay_out(root / "TestDataset" / folder, names, 1 + place)
    return root


def test_the_config_is_pranets_protocol(cli: CliRunner, tmp_path: Path) -> None:
    config = load_config(CONFIG, data_root=tmp_path, out=tmp_path / "run")
    tested = {d.path.name: d for d in config.data if d.path and "test" in d.use}
    assert {name: d.name for name, d in tested.items()} == SETS
    assert {d.train_on for d in tested.values()} == {("train",)}
    (pool,) = [d for d in config.data if "pretrain" in d.use]
    assert (pool.path, pool.use) == (tmp_path / "TrainDataset", ("pretrain",))
    assert config.repeats == 3
    assert (config.downstream.encoder, config.downstream.image_size) == ("finetuned", 352)
    assert config.downstream.steps == 20 * 1450 // 16
    # Equal compute at all ratios, on the 1,450 images of its README.
    images = pool_of(config).images
    assert images == 1450
    steps = [
        config.pretrain.at_ratio(r, max(1, int(r * images + 0.5))).steps for r in config.ratios
    ]
    assert steps[0] == 72_500
    assert max(steps) / min(steps) < 1.02
    told = lines(cli, "run", CONFIG, "--data-root", tmp_path, "--out", tmp_path / "run", "--plan")
    assert "evaluate/facility-5-repeat2/etis-seed2" in told
    assert "not there yet: data folder not found" in told
    assert not (tmp_path / "run").exists()


def small(config: RunConfig) -> RunConfig:
    """Make it seconds of work: smaller networks, fewer steps, two ratios, one head."""
    return replace(
        config,
        ratios=(1.0, 0.33),
        selectors=("random", "kcenter"),
        selector_options={},
        repeats=1,
        seeds=(0,),
        threads=1,
        device="cpu",
        references=(),
        pretrain=replace(
            config.pretrain, image_size=32, patch_size=8, hidden_size=16, layers=1, heads=2,
            decoder_hidden_size=16, decoder_layers=1, decoder_heads=2, epochs={}, steps=6,
            warmup_steps=2, batch_size=8, precision="fp32",
        ),
        downstream=replace(
            config.downstream, image_size=48, steps=8, batch_size=8, head_hidden=8,
            precision="fp32",
        ),
    )  # fmt: skip


def test_it_runs_on_the_downloads_as_they_are(data: Path, tmp_path: Path) -> None:
    config = small(load_config(CONFIG, data_root=data, out=tmp_path / "run"))
    out = run(config, console=Console(file=io.StringIO()))
    pool = Manifest.load(out / "data" / "pretrain.parquet")
    assert len(pool) == 22
    # A sequence of CVC-ClinicDB has one name in what is trained and in what is tested on.
    assert set(pool.column("group")) == {
        "", "train/CVC-ClinicDB 2", "train/CVC-ClinicDB 3", "train/CVC-ClinicDB 29",
    }  # fmt: skip
    for name in SETS.values():
        manifest = Manifest.load(out / "data" / f"{name}.parquet")
        assert Counter(manifest.column("split")) == {"test": 4}, name
    clinic = Manifest.load(out / "data" / "cvc-clinicdb.parquet").column("group")
    assert clinic == ["CVC-ClinicDB 2", "CVC-ClinicDB 3", "CVC-ClinicDB 3", "CVC-ClinicDB 29"]
    result = read_json(out / "evaluate" / "kcenter-33" / "etis-seed0.json")
    assert (result["images"], result["train_images"]) == (4, 22)
    rows = read_json(out / "score" / "scores.json")
    assert {row["dataset"] for row in rows} == {*SETS.values(), "mean"}
    for row in rows:
        assert 0 <= row["image_iou_mean"] <= row["image_dice_mean"] <= 1
    assert (out / "report" / "report.html").is_file()

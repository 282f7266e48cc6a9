"""Reconstruction errors of a masked autoencoder, and images of the patches it cannot restore."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from command_line import lines
from frames import TINY, blob_frames
from PIL import Image
from transformers import ViTMAEForPreTraining
from typer.testing import CliRunner

from meddel_fast.images.manifest import Manifest
from meddel_fast.selectors import select
from meddel_fast.training.encoders.vit import normalise
from meddel_fast.training.loader import frames
from meddel_fast.training.pretrain import pretrain
from meddel_fast.training.reconstruction import (
    mask_noises,
    reconstruction_errors,
    write_hard_images,
)

CONFIG = replace(TINY, precision="fp32")  # 32 pixels, 4 x 4 patches


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    torch.set_num_threads(1)
    return blob_frames(tmp_path_factory.mktemp("blobs"), n=7)


@pytest.fixture(scope="module")
def model(data: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrain(data, None, tmp_path_factory.mktemp("mae"), CONFIG)


@pytest.mark.parametrize(
    ("patches", "ratio"), [(16, 0.75), (16, 0.5), (16, 0.2), (49, 0.75), (9, 0.4)]
)
def test_every_patch_is_masked(patches: int, ratio: float) -> None:
    noises = mask_noises(patches, ratio, 3)
    seen = int(patches * (1 - ratio))
    times = np.zeros(patches, dtype=int)
    for noise in noises:
        times[np.argsort(noise)[seen:]] += 1
    assert times.min() >= 1
    assert len(noises) <= -(-patches // min(seen, patches - seen))


def test_mask_ratios_that_leave_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match=r"mask_ratio: wanted some of 4 patches masked.*0.9"):
        mask_noises(4, 0.9, 0)


@pytest.mark.parametrize("normalised", [True, False])
def test_the_mean_error_is_the_model_s_own_loss(
    normalised: bool, data: Manifest, model: Path, tmp_path: Path
) -> None:
    """With each mask's loss from transformers, averaged by hand."""
    if not normalised:
        config = replace(CONFIG, norm_pix_loss=False)
        model = pretrain(data, None, tmp_path / "plain", config)
    found = reconstruction_errors(data, model, batch_size=3, seed=5, device="cpu")
    mae = ViTMAEForPreTraining.from_pretrained(model)
    assert mae.config.norm_pix_loss == normalised
    pixels = normalise(torch.from_numpy(frames(data, 32)[np.arange(7)]))
    for i in range(7):
        losses = []
        for noise in mask_noises(16, 0.75, 5):
            with torch.no_grad():
                out = mae(pixels[i : i + 1], noise=torch.from_numpy(noise)[None])
            losses.append(float(out.loss))
        # all patches are masked equally often here, so the mean of means is the mean
        assert found.image[i] == pytest.approx(np.mean(losses), rel=1e-4)
        assert found.patch[i].mean() == pytest.approx(found.image[i])


def test_errors_do_not_depend_on_batches_and_tell_copies(data: Manifest, model: Path) -> None:
    both = Manifest.concat([data, replace(data, name="again")], "both")
    found = reconstruction_errors(both, model, batch_size=4)
    assert np.array_equal(found.patch[:7], found.patch[7:])
    alone = reconstruction_errors(data, model, batch_size=64)
    assert np.allclose(alone.patch, found.patch[:7], rtol=1e-5)
    again = reconstruction_errors(data, model, batch_size=64)
    assert np.array_equal(alone.patch, again.patch)
    hardest = select("loss", np.ones((7, 1)), 2, score=alone.image)
    assert hardest.order.tolist() == np.argsort(-alone.image, kind="stable")[:2].tolist()


def test_what_was_learnt_has_a_lower_error(data: Manifest, model: Path, tmp_path: Path) -> None:
    longer = pretrain(data, None, tmp_path / "longer", replace(CONFIG, steps=60, crop=False))
    first, then = (reconstruction_errors(data, m).image.mean() for m in (model, longer))
    assert then < first


def test_hard_images_hold_the_hardest_patches(data: Manifest, tmp_path: Path) -> None:
    patch = np.random.default_rng(0).integers(0, 20, (7, 4, 4)).astype(np.float64)  # with ties
    made = write_hard_images(data, patch, 2, tmp_path / "hard", image_size=32)
    assert len(made) == 2
    loaded = Manifest.load(tmp_path / "hard" / "manifest.parquet")
    assert loaded.ids == made.ids
    assert loaded.column("split") == ["train", "train"]
    ranked = sorted(np.ndindex(7, 4, 4), key=lambda p: (-patch[p], p))[:32]
    pool = frames(data, 32)[np.arange(7)]
    table = pq.read_table(tmp_path / "hard" / "patches.parquet").to_pylist()
    pixels = [np.array(Image.open(path)) for path in loaded.image_paths()]
    for number, ((image, row, column), told) in enumerate(zip(ranked, table, strict=True)):
        where = divmod(number % 16, 4)
        tiled = pixels[number // 16][where[0] * 8 :, where[1] * 8 :][:8, :8]
        assert np.array_equal(tiled, pool[image, row * 8 :, column * 8 :][:8, :8])
        assert (told["source"], told["source_row"], told["source_column"]) == (
            data.ids[image], row, column
        )  # fmt: skip
        assert (told["row"], told["column"]) == where
        assert told["error"] == patch[image, row, column]
    assert len(frames(loaded, 32)) == 2
    with pytest.raises(FileExistsError):
        write_hard_images(data, patch, 2, tmp_path / "hard", image_size=32)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["hard"]


@pytest.mark.parametrize(
    ("text", "shape", "options"),
    [
        (r"patch must have shape \(7, rows, rows\).*\(6, 4, 4\)", (6, 4, 4), {}),
        ("images must be from 1 to 7, got 8", (7, 4, 4), {"images": 8}),
        ("image_size must be a multiple of 4", (7, 4, 4), {"image_size": 30}),
    ],
)
def test_refusals_before_anything_is_written(
    text: str, shape: tuple[int, ...], options: dict[str, int], data: Manifest, tmp_path: Path
) -> None:
    asked = {"images": 1, "image_size": 32, **options}
    with pytest.raises(ValueError, match=text):
        write_hard_images(data, np.ones(shape), out=tmp_path / "hard", **asked)
    assert not list(tmp_path.iterdir())


def test_models_that_are_no_mae_are_refused(data: Manifest, model: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has no config\.json"):
        reconstruction_errors(data, tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(ValueError, match=r"wanted a vit_mae with its decoder.*is a vit"):
        reconstruction_errors(data, tmp_path)
    with pytest.raises(ValueError, match="batch_size: wanted 1 or more, got 0"):
        reconstruction_errors(data, model, batch_size=0)


def test_commands(data: Manifest, model: Path, tmp_path: Path, cli: CliRunner) -> None:
    data.save(tmp_path / "m.parquet")
    said = partial(lines, cli)

    common = (tmp_path / "m.parquet", "--model", model, "--device", "cpu", "--out")
    assert "7 errors" in said("errors", *common, tmp_path / "e.npy")
    expected = reconstruction_errors(data, model, device="cpu")
    assert np.array_equal(np.load(tmp_path / "e.npy"), expected.image)
    assert "3 images of 16 patches" in said("tile", *common, tmp_path / "hard", "--images", 3)
    assert len(Manifest.load(tmp_path / "hard" / "manifest.parquet")) == 3

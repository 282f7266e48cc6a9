"""Pixels that a mask leaves out count neither in the loss nor in any score."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from frames import TINY, blob_frames
from PIL import Image
from sklearn.metrics import jaccard_score

from meddel_fast.benchmark.results import Result, predictions_path
from meddel_fast.benchmark.verify import judge
from meddel_fast.common.atomic import write_json
from meddel_fast.common.files import read_json
from meddel_fast.common.hashes import sha256_file
from meddel_fast.images.load_masks import load_mask, meanings
from meddel_fast.images.manifest import Manifest
from meddel_fast.training.downstream import evaluate
from meddel_fast.training.predictions import Predictions, confusion_matrices
from meddel_fast.training.pretrain import pretrain
from meddel_fast.training.segmentation import scores, segmentation_loss
from meddel_fast.training.settings import DownstreamConfig, LocalisationConfig
from meddel_fast.training.tasks.box_head import true_boxes

HEAD = DownstreamConfig(
    image_size=32, head_hidden=16, steps=12, batch_size=8, encoder="frozen", precision="fp32"
)


def with_rims(folder: Path, numbers: tuple[int, int, int]) -> Manifest:
    """The discs of `blob_frames`, numbered, with a third number on the left side of each."""
    rows = blob_frames(folder, n=20).table.to_pylist()
    for row in rows:
        path = folder / row["mask"]
        disc = np.asarray(Image.open(path)) > 0
        rim = np.zeros_like(disc)
        rim[:, :14] = True
        values = np.where(rim, numbers[2], np.where(disc, numbers[1], numbers[0]))
        Image.fromarray(values.astype(np.uint8)).save(path)
        row["mask_sha256"] = sha256_file(path)
    return Manifest.from_rows("blobs", folder, rows)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    torch.set_num_threads(1)
    return with_rims(tmp_path_factory.mktemp("rims"), (0, 1, 255))


@pytest.fixture(scope="module")
def model(data: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrain(data, None, tmp_path_factory.mktemp("mae"), replace(TINY, steps=4))


def truth_of(manifest: Manifest, size: int = 32) -> np.ndarray:
    pairs = zip(manifest.mask_paths(), meanings(manifest), strict=True)
    return np.stack([load_mask(path, size, meaning) for path, meaning in pairs if path])


def test_the_loss_does_not_see_ignored_pixels() -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, 8, 8, requires_grad=True)
    truth = (torch.rand(3, 8, 8) < 0.3).float()
    counted = (torch.rand(3, 8, 8) < 0.7).float()
    loss = segmentation_loss(logits, truth, counted)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert (gradient[counted == 0] == 0).all()
    assert (gradient[counted == 1] != 0).any()
    changed = torch.where(counted == 1, truth, 1 - truth)
    assert segmentation_loss(logits, changed, counted) == loss
    alone = counted.bool()
    torch.testing.assert_close(loss, segmentation_loss(logits[alone], truth[alone]))
    assert segmentation_loss(logits, truth, torch.zeros_like(truth)).isfinite()


def test_ignored_pixels_are_in_no_count(rng: np.random.Generator) -> None:
    truth, predicted, ignored = (rng.random((5, 9, 7)) < share for share in (0.4, 0.5, 0.3))
    ignored[4] = True
    counts = confusion_matrices(truth, predicted, ignored)
    for i in range(4):
        for t in (0, 1):
            for p in (0, 1):
                wanted = (truth[i] == t) & (predicted[i] == p) & ~ignored[i]
                assert counts[i, t, p] == wanted.sum()
    assert not counts[4].any()
    none = np.zeros_like(ignored)
    np.testing.assert_array_equal(
        confusion_matrices(truth, predicted, none), confusion_matrices(truth, predicted)
    )
    assert scores(counts)["image_dice"] == scores(counts[:4])["image_dice"]
    with pytest.raises(ValueError, match=r"ignored must be as truth, \(5, 9, 7\)"):
        confusion_matrices(truth, predicted, ignored[:4])


@pytest.mark.parametrize("encoder", ["frozen", "finetuned"])
def test_scores_are_scikit_learns_on_the_pixels_that_count(
    model: Path, data: Manifest, tmp_path: Path, encoder: str
) -> None:
    train, test = data.take(np.arange(12)), data.take(np.arange(12, 20))
    result, saved = tmp_path / "r.json", tmp_path / "r.npz"
    config = replace(HEAD, encoder=encoder)
    got = evaluate(model, train, test, config, seed=0, out=result, predictions=saved)
    truth = truth_of(data)[12:]
    counted = truth != 255
    assert 0 < counted.mean() < 0.7
    predicted = Predictions.load(saved).masks
    both = jaccard_score(truth[counted] == 1, predicted[counted], average=None)
    assert got["miou"] == pytest.approx(both.mean(), rel=1e-12)
    assert np.sum(got["confusion"]) == counted.sum()
    assert got["ignored_pixels"] == (~counted).sum()


def result_at(path: Path) -> Result:
    return Result("full-100", "full", 1.0, 0, 0, "rims", path)


def test_verify_leaves_them_out_as_well(model: Path, data: Manifest, tmp_path: Path) -> None:
    train, test = data.take(np.arange(12)), data.take(np.arange(12, 20))
    path = tmp_path / "r.json"
    evaluate(model, train, test, HEAD, seed=0, out=path, predictions=predictions_path(path))
    verdict = judge(result_at(path), test, "")
    assert verdict.agrees, verdict.reason
    write_json(path, read_json(path) | {"ignored_pixels": 1})
    assert "ignored_pixels is" in judge(result_at(path), test, "").reason
    told = [
        row | {"mask_meaning": '{"palette": "index", "rules": {"": {"foreground": [1]}}}'}
        for row in test.table.to_pylist()
    ]
    other = Manifest.from_rows("other", test.root, told)
    assert "saved counts" in judge(result_at(path), other, "").reason


def test_without_ignored_pixels_nothing_is_said_of_them(model: Path, tmp_path: Path) -> None:
    plain = blob_frames(tmp_path / "plain", n=20)
    got = evaluate(model, plain.take(np.arange(12)), plain.take(np.arange(12, 20)), HEAD, seed=0)
    assert "ignored_pixels" not in got
    assert np.sum(got["confusion"]) == 8 * 32 * 32


def test_a_test_set_that_ignores_everything_is_refused(model: Path, data: Manifest) -> None:
    rule: dict[str, Any] = {"foreground": [7], "background": [8], "ignore": [0, 1, 255]}
    from meddel_fast.images.masks.rule import Meaning, Rule

    text = Meaning((("", Rule.parse(rule)),)).to_json()
    rows = [row | {"mask_meaning": text} for row in data.table.to_pylist()[12:]]
    blank = Manifest.from_rows("blank", data.root, rows)
    with pytest.raises(ValueError, match="test: wanted pixels that count"):
        evaluate(model, data.take(np.arange(12)), blank, HEAD, seed=0)


def test_boxes_hold_lesion_alone(data: Manifest) -> None:
    config = LocalisationConfig(image_size=32)
    for mask, boxes in zip(truth_of(data), true_boxes(data, config), strict=True):
        for x0, y0, x1, y1 in boxes.astype(int):
            assert (mask[y0:y1, x0:x1] == 1).any()
        assert len(boxes) == 0 or boxes[:, 0].min() >= 11  # right of what is ignored

"""Segmentation: scores against scikit-learn, a head that learns, edge cases defined."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from frames import blob_frames
from sklearn.metrics import accuracy_score, f1_score, jaccard_score
from torch.nn import functional

from meddel_fast.images.manifest import Manifest
from meddel_fast.training import downstream
from meddel_fast.training.downstream import evaluate
from meddel_fast.training.segmentation import (
    Head,
    bilinear,
    iou_from_confusion,
    scores,
    segmentation_loss,
)
from meddel_fast.training.settings import DownstreamConfig

TRAIN_IMAGES = 28  # of 40
HEAD = DownstreamConfig(
    image_size=32,
    head_hidden=32,
    steps=60,
    batch_size=8,
    learning_rate=5e-3,
    encoder="frozen",
    precision="fp32",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    torch.set_num_threads(1)
    return blob_frames(tmp_path_factory.mktemp("blobs"), n=40)


def confusions(truth: Any, predicted: Any) -> Any:
    pairs = [
        np.bincount(2 * t.ravel() + p.ravel(), minlength=4)
        for t, p in zip(truth, predicted, strict=True)
    ]
    return np.stack(pairs).reshape(-1, 2, 2)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_scores_equal_scikit_learn(rng: np.random.Generator, share: float) -> None:
    truth = (rng.random((6, 9, 9)) < share).astype(int)
    predicted = np.where(rng.random(truth.shape) < 0.2, 1 - truth, truth)
    got = scores(confusions(truth, predicted))
    t, p = truth.ravel(), predicted.ravel()
    assert got["iou_polyp"] == pytest.approx(jaccard_score(t, p))
    assert got["iou_background"] == pytest.approx(jaccard_score(t, p, pos_label=0))
    assert got["miou"] == pytest.approx(jaccard_score(t, p, average="macro"))
    assert got["dice"] == pytest.approx(f1_score(t, p))
    assert got["pixel_accuracy"] == pytest.approx(accuracy_score(t, p))
    each = [
        jaccard_score(a.ravel(), b.ravel(), zero_division=1)
        for a, b in zip(truth, predicted, strict=True)
    ]
    assert got["image_iou_polyp"] == pytest.approx(np.mean(each))


def test_nothing_to_find() -> None:
    right = iou_from_confusion([[10, 0], [0, 0]])
    assert right == {
        "miou": 1, "dice": 1, "iou_polyp": 1, "iou_background": 1, "pixel_accuracy": 1,
    }  # fmt: skip
    wrong = iou_from_confusion([[9, 1], [0, 0]])
    assert (wrong["iou_polyp"], wrong["dice"]) == (0, 0)
    assert wrong["miou"] == pytest.approx(0.45)


@pytest.mark.parametrize("bad", [[[1, 2]], [1, 2, 3, 4], [[0, 0], [0, 0]], [[1, -1], [0, 0]]])
def test_wrong_confusions(bad: Any) -> None:
    with pytest.raises(ValueError, match="confusion: wanted"):
        iou_from_confusion(bad)


@pytest.mark.parametrize(("grid", "size"), [(4, 32), (3, 24), (5, 5), (1, 8)])
def test_enlarging_is_bilinear_interpolation(grid: int, size: int) -> None:
    logits = torch.randn(2, grid, grid)
    matrix = bilinear(grid, size)
    wanted = functional.interpolate(logits[:, None], size=size, mode="bilinear")[:, 0]
    torch.testing.assert_close(matrix @ logits @ matrix.T, wanted)


def test_loss_prefers_the_truth_and_stands_empty_masks() -> None:
    truth = torch.zeros(2, 8, 8)
    truth[0, 2:4, 2:4] = 1
    good, background = 10 * (2 * truth - 1), torch.full_like(truth, -10.0)
    assert segmentation_loss(good, truth) < 0.01
    assert segmentation_loss(background, truth) > 0.8  # all background is no way out
    assert segmentation_loss(background, torch.zeros_like(truth)) < 0.01


def test_head_standardises_tokens() -> None:
    head = Head(4, 8, 2, 8)
    tokens = torch.randn(16, 2, 2, 4) * torch.tensor([1e-3, 1.0, 50.0, 0.0]) + 7
    head.standardise(tokens)
    flat = ((tokens - head.mean) * head.scale).flatten(0, 2)
    torch.testing.assert_close(flat.mean(dim=0), torch.zeros(4), atol=1e-3, rtol=0)
    torch.testing.assert_close(flat.std(dim=0, unbiased=False)[:3], torch.ones(3))
    assert head(tokens).isfinite().all()


@pytest.mark.parametrize("encoder", ["frozen", "finetuned"])
def test_finds_the_discs(
    model: Path, train: Manifest, test: Manifest, tmp_path: Path, encoder: str
) -> None:
    seen: list[tuple[int, int]] = []
    config = replace(HEAD, encoder=encoder)
    out = tmp_path / "result.json"
    got = evaluate(
        model,
        train,
        test,
        config,
        seed=0,
        out=out,
        progress=lambda d, t: seen.append((d, t)),
    )
    assert got["miou"] > 0.7
    assert got["images"] == 12
    assert got["train_images"] == 28
    assert np.sum(got["confusion"]) == 12 * 32 * 32
    assert json.loads(out.read_text())["miou"] == got["miou"]
    assert seen[-1][0] == seen[-1][1]
    assert [d for d, _ in seen] == sorted(d for d, _ in seen)


@pytest.mark.parametrize("encoder", ["frozen", "finetuned"])
def test_same_seed_same_result(model: Path, train: Manifest, test: Manifest, encoder: str) -> None:
    config = replace(HEAD, steps=8, encoder=encoder)
    downstream._TOKENS.clear()
    first = evaluate(model, train, test, config, seed=3)
    torch.manual_seed(1)
    assert evaluate(model, train, test, config, seed=3) == first  # now from the kept tokens
    assert evaluate(model, train, test, config, seed=4)["train_loss"] != first["train_loss"]


def test_tokens_that_do_not_fit_are_computed_each_time(
    model: Path, train: Manifest, test: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = evaluate(model, train, test, HEAD, seed=0)
    downstream._TOKENS.clear()
    monkeypatch.setattr(downstream._TOKENS, "room", lambda nbytes: False)
    fresh = evaluate(model, train, test, HEAD, seed=0)
    assert fresh["miou"] == pytest.approx(kept["miou"], abs=0.02)  # but for half precision


def test_threshold_shifts_the_balance(model: Path, train: Manifest, test: Manifest) -> None:
    found = [
        evaluate(model, train, test, replace(HEAD, steps=10, threshold=t), seed=0)["confusion"]
        for t in (0.1, 0.5, 0.9)
    ]
    polyp = [np.sum(c, axis=0)[1] for c in found]
    assert polyp[0] > polyp[1] > polyp[2]


def test_masks_and_images_are_wanted(model: Path, train: Manifest, test: Manifest) -> None:
    rows = test.table.to_pylist()
    rows[1]["mask"] = None
    bare = Manifest.from_rows("bare", test.root, rows)
    with pytest.raises(ValueError, match=r"test: wanted a mask .* 1 of 12 .*029"):
        evaluate(model, train, bare, HEAD, seed=0)
    with pytest.raises(ValueError, match="train: wanted at least one"):
        evaluate(model, train.take([]), test, HEAD, seed=0)
    with pytest.raises(ValueError, match="patch size 8"):
        evaluate(model, train, test, replace(HEAD, image_size=33), seed=0)


def test_infinite_loss_is_an_error(model: Path, train: Manifest, test: Manifest) -> None:
    with pytest.raises(FloatingPointError, match="learning_rate"):
        evaluate(model, train, test, replace(HEAD, learning_rate=1e38), seed=0)

"""Localisation: one box an image, where the lesion most likely is.

Truth is the manifest's ``boxes``, or, of an image without, the boxes of its mask's connected parts.
The segmentation head is trained on masks in which those boxes are filled, and answers with the box
of the part that it gives the most chance. It counts how well that box fits the best of the true
ones; an image without any is not scored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from meddel_fast.common.files import Progress, StrPath
from meddel_fast.common.outputs import check_output
from meddel_fast.images.shared_images import check_apart
from meddel_fast.training.settings import LocalisationConfig
from meddel_fast.training.tasks.answers import KIND, Answers
from meddel_fast.training.tasks.base import Floats, Task
from meddel_fast.training.tasks.boxes import Boxes, box_iou, likeliest_box

if TYPE_CHECKING:
    from meddel_fast.images.manifest import Manifest

_HIT = 0.5  # IoU from which a box counts as found, as detection has it
_GRAIN = 2.0**32  # what fits are counted in, so that their sums are exact in any order
_WIDTH = 5  # of a saved answer: how well it fits, NaN where nothing is to be found, and the box


def usable(manifest: Manifest, config: LocalisationConfig) -> Manifest:
    """Give the rows that have boxes or a mask."""
    texts, masks = manifest.column("boxes"), manifest.column("mask")
    return manifest.take([i for i, row in enumerate(zip(texts, masks, strict=True)) if any(row)])


def evaluate(
    encoder: StrPath,
    train: Manifest,
    test: Manifest,
    config: LocalisationConfig,
    *,
    seed: int,
    predictions: StrPath | None = None,
    device: str = "auto",
    offline: bool = True,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train a head to find boxes and score it.

    Parameters
    ----------
    encoder, seed, predictions, device, offline, progress
        As of :func:`meddel_fast.training.downstream.evaluate`.
    train, test
        Manifests whose usable rows all have boxes or a mask.
    config
        As of segmentation, and the least area of a part.

    Returns
    -------
    dict
        ``box_iou``, the mean over the images of the predicted box's IoU with the true box that it
        fits best, 0 where none is predicted; ``box_hit_50``, the share of the images where that is
        0.5 or more. Further ``task``, ``images`` (those scored), ``without_box`` (test images that
        show nothing to find), ``train_images``, ``train_loss``, ``seed``, ``encoder``,
        ``precision``, ``settings``.

    Raises
    ------
    ValueError
        A manifest is empty, has a row without boxes or mask, or boxes that cannot be read; a test
        image is trained on; no test image has a box.
    """
    from meddel_fast.training.device import deterministic
    from meddel_fast.training.downstream import start
    from meddel_fast.training.tasks.box_head import BoxHead, true_boxes

    if predictions is not None:
        check_output(predictions, KIND, [encoder])
    for name, manifest in (("train", train), ("test", test)):
        if len(manifest) == 0 or len(usable(manifest, config)) < len(manifest):
            raise ValueError(f"{name} must have boxes or a mask for every image, and any image")
    check_apart(train, test)
    truth = true_boxes(test, config)
    if not any(len(boxes) for boxes in truth):
        raise ValueError(f"test must have an image with a box, got none in {len(test)} images")
    size = (len(train), len(test))
    run = start(BoxHead, encoder, size, config, seed, device, offline, progress)
    with deterministic():
        loss = run.train(train)
        found = [likeliest_box(chance, config.threshold) for chance in run.chances(test)]
    fits = _fits(found, truth)
    if predictions is not None:
        places = [box[0] if len(box) else np.full(4, np.nan) for box in found]
        Answers(test.ids, np.column_stack([fits, np.array(places)])).save(predictions)
    return {
        "task": LOCALISATION.name,
        **_scores(fits),
        "train_images": len(train),
        "train_loss": loss,
        "seed": seed,
        "encoder": config.encoder,
        "precision": run.precision,
        "settings": asdict(config),
    }


def _fits(found: list[Boxes], truth: list[Boxes]) -> Floats:
    """Give each box's IoU with the best of the true ones, 0 of no box; NaN without a true one."""
    return np.array(
        [
            box_iou(box, boxes).max(initial=0) if len(boxes) else np.nan
            for box, boxes in zip(found, truth, strict=True)
        ],
        np.float64,
    )


def _scores(fits: Floats) -> dict[str, Any]:
    there = fits[~np.isnan(fits)]
    return {
        "box_iou": float(np.mean(there)),
        "box_hit_50": float(np.mean(there >= _HIT)),
        "images": len(there),
        "without_box": len(fits) - len(there),
    }


def counts(path: Path, result: Mapping[str, Any]) -> tuple[list[str], Floats]:
    """Give each image's fit, whether that is a hit, and whether it is scored, (images, 3)."""
    found = Answers.load(path, _WIDTH)
    fits = found.rows[:, 0]
    there = ~np.isnan(fits)
    fits = np.rint(np.where(there, fits, 0.0) * _GRAIN) / _GRAIN
    return found.ids, np.stack([fits, (fits >= _HIT) & there, there], axis=1).astype(np.float64)


def measure(sums: Floats) -> dict[str, Floats]:
    """Average over the images; over none, 0."""
    fits, hits, images = np.moveaxis(sums, -1, 0)
    some = np.maximum(images, 1.0)
    return {"box_iou": fits / some, "box_hit_50": hits / some}


def rescore(path: Path, test: Manifest, result: Mapping[str, Any]) -> dict[str, Any]:
    """Score the saved boxes again, by the manifest's boxes, or the masks on disk."""
    from meddel_fast.training.tasks.box_head import true_boxes

    found = Answers.load(path, _WIDTH)
    if found.ids != test.ids:
        raise ValueError("the boxes are of other images than the manifest's test rows")
    chosen = dict(result.get("settings", {}))
    keys = {name: chosen[name] for name in ("image_size", "min_area") if name in chosen}
    boxes = [
        row[None, 1:] if np.isfinite(row[1:]).all() else row[None, 1:][:0] for row in found.rows
    ]
    fits = _fits(boxes, true_boxes(test, LocalisationConfig(**keys)))
    if not np.array_equal(fits, found.rows[:, 0], equal_nan=True):
        raise ValueError("the saved fits are not those of the saved boxes")
    return _scores(fits)


LOCALISATION = Task(
    name="localisation",
    settings=LocalisationConfig,
    wants="boxes or a mask",
    usable=usable,
    evaluate=evaluate,
    scores=("box_iou", "box_hit_50"),
    counts=counts,
    measure=measure,
    rescore=rescore,
)

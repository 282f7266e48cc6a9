"""Localisation: one box an image, where the lesion most likely is.

Truth is the manifest's ``boxes``, or, of an image without, the boxes of its mask's connected parts.
The segmentation head is trained on masks in which those boxes are filled, and answers with the box
of the part that it gives the most chance. It counts how well that box fits the best of the true
ones; an image without any is not scored.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from meddel_fast.common.files import Progress, StrPath
from meddel_fast.images.shared_images import check_apart
from meddel_fast.training.settings import LocalisationConfig
from meddel_fast.training.tasks.base import Task
from meddel_fast.training.tasks.boxes import box_iou, likeliest_box

if TYPE_CHECKING:
    from meddel_fast.images.manifest import Manifest

_HIT = 0.5  # IoU from which a box counts as found, as detection has it


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
    device: str = "auto",
    offline: bool = True,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train a head to find boxes and score it.

    Parameters
    ----------
    encoder, seed, device, offline, progress
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
    fits = [
        float(box_iou(box, boxes).max(initial=0))
        for box, boxes in zip(found, truth, strict=True)
        if len(boxes)
    ]
    return {
        "task": LOCALISATION.name,
        "box_iou": float(np.mean(fits)),
        "box_hit_50": float(np.mean(np.array(fits) >= _HIT)),
        "images": len(fits),
        "without_box": len(test) - len(fits),
        "train_images": len(train),
        "train_loss": loss,
        "seed": seed,
        "encoder": config.encoder,
        "precision": run.precision,
        "settings": asdict(config),
    }


LOCALISATION = Task(
    name="localisation",
    settings=LocalisationConfig,
    wants="boxes or a mask",
    usable=usable,
    evaluate=evaluate,
    scores=("box_iou", "box_hit_50"),
)

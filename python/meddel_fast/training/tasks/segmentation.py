"""Segmentation, the benchmark's own task: `downstream` behind the tasks' interface."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.common.files import Progress, StrPath
from meddel_fast.images.masks.rule import IGNORED
from meddel_fast.training.predictions import Predictions, confusion_matrices, load_confusions
from meddel_fast.training.settings import DownstreamConfig
from meddel_fast.training.tasks.base import Floats, Task

if TYPE_CHECKING:
    from meddel_fast.images.manifest import Manifest


_BATCH = 256  # masks in memory at once: 13 MB at 224 pixels


def usable(manifest: Manifest, config: DownstreamConfig) -> Manifest:
    """Give the rows that have a mask."""
    return manifest.with_masks()


def evaluate(
    encoder: StrPath,
    train: Manifest,
    test: Manifest,
    config: DownstreamConfig,
    *,
    seed: int,
    predictions: StrPath | None = None,
    device: str = "auto",
    offline: bool = True,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Give what :func:`meddel_fast.training.downstream.evaluate` does, and the task's name."""
    from meddel_fast.training.downstream import evaluate as segment

    result = segment(
        encoder,
        train,
        test,
        config,
        seed=seed,
        predictions=predictions,
        device=device,
        offline=offline,
        progress=progress,
    )
    return {"task": SEGMENTATION.name, **result}


def counts(path: Path, result: Mapping[str, Any]) -> tuple[list[str], Floats]:
    """Give each image's pixels by truth and prediction, (images, 4)."""
    ids, confusions = load_confusions(path)
    return ids, confusions.reshape(len(ids), 4).astype(np.float64)


def measure(sums: Floats) -> dict[str, Floats]:
    """Score sums of pixels, as `training.segmentation.iou_from_confusion` does; 0 of 0 is 1."""
    tn, fp, fn, tp = np.moveaxis(sums, -1, 0)

    def share(part: Floats, whole: Floats) -> Floats:
        return np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), 1.0)

    polyp, background = share(tp, tp + fp + fn), share(tn, tn + fp + fn)
    return {
        "miou": (polyp + background) / 2,
        "dice": share(2 * tp, 2 * tp + fp + fn),
        "iou_polyp": polyp,
        "pixel_accuracy": share(tp + tn, sums.sum(axis=-1)),
    }


def rescore(path: Path, test: Manifest, result: Mapping[str, Any]) -> dict[str, Any]:
    """Score the saved masks again, by the masks on disk."""
    from meddel_fast.training.segmentation import scores

    found = Predictions.load(path)
    if found.ids != test.ids:
        raise ValueError("the predictions are of other images than the manifest's test rows")
    parts = []
    for truth, predicted in _side_by_side(found, test):
        if truth.shape != predicted.shape:
            raise ValueError(
                f"a saved mask has the shape {predicted.shape[1:]}, its truth {truth.shape[1:]}"
            )
        parts.append(confusion_matrices(truth == 1, predicted, truth == IGNORED))
    total = np.concatenate(parts)
    if not np.array_equal(total, found.confusions):
        raise ValueError("the saved counts are not those of the saved masks")
    ignored = found.pixels - int(total.sum())
    return {**scores(total), "images": len(test), "ignored_pixels": ignored}


def _side_by_side(
    found: Predictions, rows: Manifest
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.bool_]]]:
    """Yield truths and predictions, (k, h, w), at the size that they were scored at."""
    if found.shapes is not None:
        from meddel_fast.images.load_masks import load_mask, meanings

        paths = (path for path in rows.mask_paths() if path is not None)
        for path, meaning, one in zip(paths, meanings(rows), found.each(), strict=True):
            yield load_mask(path, None, meaning)[None], one[None]
        return
    from meddel_fast.training.loader import frames

    masks = frames(rows, found.size, masks=True)
    for first in range(0, len(rows), _BATCH):
        some = np.arange(first, min(first + _BATCH, len(rows)))
        yield masks[some], replace(found, bits=found.bits[some]).masks


SEGMENTATION = Task(
    name="segmentation",
    settings=DownstreamConfig,
    wants="a mask",
    usable=usable,
    evaluate=evaluate,
    scores=("miou", "dice", "iou_polyp", "pixel_accuracy"),
    counts=counts,
    measure=measure,
    rescore=rescore,
)

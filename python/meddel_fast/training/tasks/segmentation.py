"""Segmentation, the benchmark's own task: `downstream` behind the tasks' interface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meddel_fast.common.files import Progress, StrPath
from meddel_fast.training.settings import DownstreamConfig
from meddel_fast.training.tasks.base import Task

if TYPE_CHECKING:
    from meddel_fast.images.manifest import Manifest


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
    device: str = "auto",
    offline: bool = True,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Give what :func:`meddel_fast.training.downstream.evaluate` does, and the task's name."""
    from meddel_fast.training.downstream import evaluate as segment

    result = segment(
        encoder, train, test, config, seed=seed, device=device, offline=offline, progress=progress
    )
    return {"task": SEGMENTATION.name, **result}


SEGMENTATION = Task(
    name="segmentation",
    settings=DownstreamConfig,
    wants="a mask",
    usable=usable,
    evaluate=evaluate,
    scores=("miou", "dice", "iou_polyp", "pixel_accuracy"),
)

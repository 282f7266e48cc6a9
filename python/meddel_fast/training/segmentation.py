"""Binary segmentation of polyps from patch tokens: the head, its loss, and the scores."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meddel_fast.common.extras import needs

with needs("benchmark"):
    import torch
    from torch import Tensor, nn
    from torch.nn import functional


def scores(confusions: NDArray[np.int64]) -> dict[str, Any]:
    """All scores from the confusion matrices of n images, int64 (n, 2, 2).

    An image all of whose pixels are ignored has no counts, and no share in the means.
    """
    total = iou_from_confusion(confusions.sum(axis=0))
    images = [iou_from_confusion(one) for one in confusions if one.any()]
    return {
        **total,
        "image_iou_polyp": float(np.mean([one["iou_polyp"] for one in images])),
        "image_dice": float(np.mean([one["dice"] for one in images])),
        "confusion": confusions.sum(axis=0).tolist(),
    }


def iou_from_confusion(confusion: ArrayLike) -> dict[str, float]:
    """Scores of a two-class confusion matrix.

    Parameters
    ----------
    confusion
        Counts (2, 2): ``confusion[truth, prediction]``, class 0 background and 1 polyp.

    Returns
    -------
    dict
        ``miou`` (mean IoU of the two classes), ``dice`` (of the polyp class), ``iou_polyp``,
        ``iou_background``, ``pixel_accuracy``. A ratio of 0 to 0 is 1.

    Raises
    ------
    ValueError
        Another shape, a negative count, or no pixel at all.
    """
    counts = np.asarray(confusion)
    if counts.shape != (2, 2):
        raise ValueError(f"confusion: wanted shape (2, 2), got {counts.shape}")
    if (counts < 0).any() or counts.sum() == 0:
        raise ValueError(f"confusion: wanted counts of pixels, got {counts.tolist()}")
    (tn, fp), (fn, tp) = counts.astype(float)
    polyp, background = _ratio(tp, tp + fp + fn), _ratio(tn, tn + fp + fn)
    return {
        "miou": (polyp + background) / 2,
        "dice": _ratio(2 * tp, 2 * tp + fp + fn),
        "iou_polyp": polyp,
        "iou_background": background,
        "pixel_accuracy": _ratio(tp + tn, counts.sum()),
    }


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else 1.0


class Head(nn.Module):
    """Polyp logits (b, size, size) from patch tokens (b, g, g, d).

    Tokens are standardised with the training set's mean and deviation, as MAE does before its
    linear probe: the network's features differ in scale by orders of magnitude.
    """

    mean: Tensor
    scale: Tensor
    enlarge: Tensor

    def __init__(self, width: int, hidden: int, grid: int, size: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, 1))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        self.register_buffer("enlarge", bilinear(grid, size))

    def standardise(self, tokens: Tensor) -> None:
        """Take mean and deviation from tokens (…, d)."""
        flat = tokens.reshape(-1, tokens.shape[-1]).float()
        self.mean.copy_(flat.mean(dim=0))
        self.scale.copy_(1 / flat.std(dim=0, unbiased=False).clamp_min(1e-6))

    def forward(self, tokens: Tensor) -> Tensor:
        """Give the logits, fp32."""
        logits = self.mlp((tokens.float() - self.mean) * self.scale).squeeze(-1)
        enlarged: Tensor = self.enlarge @ logits.float() @ self.enlarge.T
        return enlarged


def bilinear(grid: int, size: int) -> Tensor:
    """Matrix (size, grid) that enlarges one axis bilinearly, pixel centres aligned.

    As ``interpolate(mode="bilinear", align_corners=False)`` does, but as a product, whose gradient
    is deterministic on every device.
    """
    eye = torch.eye(grid).unsqueeze(1)
    rows = functional.interpolate(eye, size=size, mode="linear", align_corners=False)
    return rows.squeeze(1).T.contiguous()


def segmentation_loss(logits: Tensor, truth: Tensor, counted: Tensor | None = None) -> Tensor:
    """Binary cross-entropy plus Dice loss over the batch; logits, truth (b, h, w).

    A frame is mostly background, and cross-entropy alone is content to say so; Dice only counts
    polyp pixels. With `counted`, 1 or 0 a pixel, those of 0 are left out of both.
    """
    chance = logits.sigmoid()
    if counted is not None:
        chance, truth = chance * counted, truth * counted
        each = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        entropy = (each * counted).sum() / counted.sum().clamp_min(1)
    else:
        entropy = functional.binary_cross_entropy_with_logits(logits, truth)
    overlap = 2 * (chance * truth).sum() + 1
    dice = 1 - overlap / (chance.sum() + truth.sum() + 1)
    return entropy + dice

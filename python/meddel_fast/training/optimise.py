"""The optimiser and the learning-rate schedule that pre-training and the downstream task share."""

from __future__ import annotations

import math
from collections.abc import Iterable

from meddel_fast.common.extras import needs

with needs("benchmark"):
    import torch
    from torch import nn


def make_optimizer(
    parameters: Iterable[nn.Parameter],
    learning_rate: float,
    weight_decay: float,
    betas: tuple[float, float] = (0.9, 0.999),
) -> torch.optim.AdamW:
    """AdamW over the trainable parameters; biases and norms are not decayed, as in MAE."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=betas, fused=True)


def cosine(step: int, steps: int, warmup: int, peak: float) -> float:
    """Learning rate of 0-based `step`: a linear warm-up to `peak`, then half a cosine towards 0."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))

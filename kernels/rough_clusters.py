"""Rows in the order of rough clusters, so that similar ones share tiles.

Public: :func:`rough_clusters`. Survivors of a screen then gather in few tiles, and a row's nearest
ones mostly stand in the tiles around its own. Any order gives the same results; so the clusters may
come from a few of Lloyd's steps on a sample of codes, in whatever precision.
"""

from __future__ import annotations

import torch
from torch import Tensor

LEAST_ROWS = 1 << 15  # below, a whole join takes less time than its ordering
ROWS_EACH = 1024  # of a cluster, on average
MOST = 2048
SAMPLE_EACH = 32  # rows of the sample a cluster
STEPS = 4
CHUNK = 1 << 27  # similarities at a time


def choose(n: int) -> int:
    """Return how many clusters to make of n rows; 1 where it does not pay."""
    return 1 if n < LEAST_ROWS else min(MOST, n // ROWS_EACH)


def rough_clusters(sides: list[Tensor], count: int) -> list[Tensor]:
    """Return the cluster of each row, int64 in [0, count); neighbouring numbers are similar.

    Parameters
    ----------
    sides : list of int8 tensors of shape (n, width)
        Codes of one set, or of two that are to share the clusters.
    count : int
        At least 1.
    """
    if count == 1:
        return [torch.zeros(len(c), dtype=torch.int64, device=c.device) for c in sides]
    each = max(1, count * SAMPLE_EACH // len(sides))
    sample = torch.cat([c[:: max(1, len(c) // each)] for c in sides])
    centres = _lloyd(_wide(sample), count)
    centres = centres[_along(centres)]
    return [_nearest(c, centres) for c in sides]


def _wide(code: Tensor) -> Tensor:
    # Products of codes are exact in neither; a GPU has fp16 matrix products, a CPU does not.
    return code.to(torch.float16 if code.is_cuda else torch.float32) / 128


def _lloyd(rows: Tensor, count: int) -> Tensor:
    centres = rows[torch.arange(count, device=rows.device) * len(rows) // count]
    for _ in range(STEPS):
        label = _nearest(rows, centres)
        total = torch.zeros((count, rows.shape[1]), dtype=torch.float32, device=rows.device)
        total.index_add_(0, label, rows.float())
        members = torch.bincount(label, minlength=count)[:, None]
        centres = torch.where(members > 0, total / members.clamp(min=1), centres).to(rows.dtype)
    return centres


def _nearest(rows: Tensor, centres: Tensor) -> Tensor:
    half = (centres.float() ** 2).sum(1) / 2
    parts = []
    for part in rows.split(max(1, CHUNK // len(centres))):
        part = _wide(part) if part.dtype == torch.int8 else part
        parts.append((part @ centres.T - half.to(part.dtype)).argmax(1))
    return torch.cat(parts)


def _along(centres: Tensor) -> Tensor:
    """Return an order of the centres: by coarser groups, and these along a direction."""
    groups = max(1, int(len(centres) ** 0.5))
    coarse = _lloyd(centres, groups)
    spread = coarse.float() - coarse.float().mean(0)
    place = spread @ spread[torch.linalg.vector_norm(spread, dim=1).argmax()]
    return torch.argsort(torch.argsort(torch.argsort(place))[_nearest(centres, coarse)])

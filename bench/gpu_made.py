"""Samples made on a device, the shapes of data.py's, by a generator of a seed of their own."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

CHUNK = 1 << 18  # rows made at a time: 10 million of 768 leave no room for them in fp32
FRAMES = 400  # of a video
CLUSTERS = 200
NAMES = ("clustered", "video", "isotropic")


def make(name: str, n: int, d: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return samples (n, d)."""
    if name not in NAMES:
        raise ValueError(f"data: wanted one of {NAMES}, got {name!r}")
    generator = torch.Generator(device).manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, device=device)

    centres = 1.2 * normal(CLUSTERS, d)
    plane = normal(24, d) / d**0.5
    out = torch.empty((n, d), dtype=dtype, device=device)
    for begin in range(0, n, CHUNK):
        rows = min(CHUNK, n - begin)
        noise = normal(rows, d)
        if name == "clustered":
            noise += centres[torch.randint(CLUSTERS, (rows,), generator=generator, device=device)]
        elif name == "video":
            noise = 0.3 / d**0.5 * noise + _walks(normal, rows) @ plane
        out[begin : begin + rows] = noise
    if name == "clustered":
        _copy_nearly(out, generator)
    return out


def _walks(normal: Callable[..., Tensor], rows: int) -> Tensor:
    """Random walks in 24 dimensions, as many frames each as FRAMES says."""
    videos = -(-rows // FRAMES)
    steps = 0.12 * normal(videos, FRAMES, 24)
    steps[:, 0] *= 2 / 0.12  # where a video begins: a point of its own
    return steps.cumsum(dim=1).reshape(-1, 24)[:rows]


def _copy_nearly(x: Tensor, generator: torch.Generator) -> None:
    """Every tenth sample becomes a near duplicate of another."""
    n, d = x.shape
    copies = torch.randperm(n, generator=generator, device=x.device)[: n // 10]
    for part in copies.split(CHUNK):
        of = torch.randint(n, (len(part),), generator=generator, device=x.device)
        near = 0.1 * torch.randn((len(part), d), generator=generator, device=x.device)
        x[part] = (x[of].float() + near).to(x.dtype)

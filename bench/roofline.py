"""What a GPU can do at the most, as measured, and what an answer asks of it at the least.

For ours: the samples are read once, and each pair that an answer is about costs one int8 product of
64 numbers, the prefix's. k-center evaluates few of its pairs, and how few only the data decide, so
no operations are counted for it. For peers: what they do, all of it. A share of the ceiling near 1
of either column says that no faster version of this design exists.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from gpu_clock import Clock

PREFIX = 64


class Work(NamedTuple):
    """Bytes and operations, and the unit that does these."""

    bytes: float
    operations: float | None
    unit: str


def screened(x: torch.Tensor, pairs: float | None, passes: int = 1) -> Work:
    """Count what ours does at the least."""
    operations = None if pairs is None else 2.0 * PREFIX * pairs
    return Work(float(x.numel() * x.element_size() * passes), operations, "int8")


def plain(x: torch.Tensor, pairs: float, passes: float, unit: str) -> Work:
    """Count what a loop of matrix products does."""
    return Work(x.numel() * x.element_size() * passes, 2.0 * x.shape[1] * pairs, unit)


def _product(side: int, dtype: torch.dtype, device: torch.device) -> Callable[[], object]:
    a, b = (torch.randn(side, side, device=device) for _ in range(2))
    if dtype == torch.int8:
        a, b = ((100 * v).clamp(-127, 127).to(dtype) for v in (a, b))
        return lambda: torch._int_mm(a, b.T)
    a, b = a.to(dtype), b.to(dtype)
    return lambda: a @ b.T


def _copy(size: int, device: torch.device) -> Callable[[], object]:
    source = torch.randint(0, 100, (size,), dtype=torch.int8, device=device)
    target = torch.empty_like(source)
    return lambda: target.copy_(source)


def ceilings(clock: Clock, dry: bool) -> dict[str, float]:
    """Measure bytes (read and written) and operations a second, on random data."""
    side, size = (256, 1 << 20) if dry else (8192, 1 << 32)
    found = {"copy": 2 * size / clock.median(_copy(size, clock.device))}
    for name, dtype in (
        ("int8", torch.int8), ("bf16", torch.bfloat16), ("fp16", torch.float16),
        ("fp32", torch.float32), ("fp64", torch.float64),
    ):  # fmt: skip
        found[name] = 2 * side**3 / clock.median(_product(side, dtype, clock.device))
    return found

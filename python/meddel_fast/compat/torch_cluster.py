"""torch_cluster's ``fps``: farthest point sampling of each example of a batch."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from meddel_fast import ops
from meddel_fast.arrays import check_int, resolve_threads
from meddel_fast.common.extras import needs

with needs("compat"):
    import torch

_SMALL = 1 << 17  # numbers of an example, up to which starting threads takes longer than they save


def fps(
    src: torch.Tensor,
    batch: torch.Tensor | None = None,
    ratio: float | torch.Tensor | None = None,
    random_start: bool = True,
    batch_size: int | None = None,
    ptr: torch.Tensor | list[int] | None = None,
) -> torch.Tensor:
    """Sample points of each example, each the farthest from those sampled before.

    Parameters
    ----------
    src : torch.Tensor of shape (n, ...)
        Points; further axes are flattened.
    batch : torch.Tensor of shape (n,), optional
        Example of each point, not falling. Default: one example.
    ratio : float or torch.Tensor of shape (examples,), optional
        Share of each example's points, rounded up. Default: 0.5.
    random_start : bool
        Start at a point drawn by torch's generator (torch_cluster: by C's ``rand``), else at the
        first one of each example.
    batch_size : int, optional
        Number of examples, where the last ones may have no points.
    ptr : torch.Tensor or list of int, optional
        First point of each example, and their number at the end; in place of `batch`.

    Returns
    -------
    torch.Tensor of shape (sampled,), int64
        Rows of `src`, example by example in order of sampling. A point is never repeated, also
        where all that is left are copies of sampled ones.

    Raises
    ------
    ValueError
        If shapes do not agree or a ratio is not above 0 and at most 1.
    """
    points = src.flatten(1) if src.dim() > 1 else src.unsqueeze(1)
    borders = _borders(points, batch, batch_size, ptr)
    examples = len(borders) - 1
    # In single precision, as there: 0.7 of 10 points are 7 or 8 depending on it.
    shares = torch.as_tensor(0.5 if ratio is None else ratio, dtype=torch.float32).cpu()
    shares = shares.expand(examples) if shares.dim() == 0 else shares
    if shares.shape != (examples,):
        raise ValueError(f"ratio must be one number or {examples}, got shape {tuple(shares.shape)}")
    if not bool(((shares > 0) & (shares <= 1)).all()):
        raise ValueError(f"ratio must be above 0 and at most 1, got {ratio}")
    sizes = torch.tensor([end - begin for begin, end in itertools.pairwise(borders)])
    counts: list[int] = torch.ceil(sizes.to(torch.float32) * shares).long().tolist()
    wanted = [
        (begin, end, count, int(torch.randint(end - begin, (1,))) if random_start else 0)
        for (begin, end), count in zip(itertools.pairwise(borders), counts, strict=True)
        if count
    ]

    # Examples are small and many: a thread for each rather than several for one.
    together = resolve_threads(None)

    def sample(example: tuple[int, int, int, int]) -> torch.Tensor:
        begin, end, count, start = example
        part = points[begin:end]
        threads = 1 if part.numel() <= _SMALL else max(1, together // len(wanted))
        found = ops.kcenter_greedy(part, count, start=start, distances=False, threads=threads)
        indices: torch.Tensor = found.indices + begin
        return indices

    workers = together if points.device.type == "cpu" else 1
    with ThreadPoolExecutor(max(1, min(workers, len(wanted)))) as pool:
        sampled = list(pool.map(sample, wanted))
    return torch.cat(sampled) if sampled else torch.empty(0, dtype=torch.int64, device=src.device)


def _borders(
    points: torch.Tensor, batch: torch.Tensor | None, batch_size: int | None, ptr: Any
) -> list[int]:
    n = len(points)
    if ptr is not None:
        borders: list[int] = torch.as_tensor(ptr).tolist()
        falls = any(a > b for a, b in itertools.pairwise(borders))
        if falls or len(borders) < 2 or (borders[0], borders[-1]) != (0, n):
            raise ValueError(f"ptr must rise from 0 to {n} (the rows of src), got {borders}")
        return borders
    if batch is None:
        return [0, n]
    if batch.shape != (n,):
        raise ValueError(f"batch must have shape ({n},) like src, got {tuple(batch.shape)}")
    if n and bool((batch[1:] < batch[:-1]).any()):
        raise ValueError("batch must not fall from a point to the next")
    examples = int(batch[-1]) + 1 if n else 0
    if batch_size is not None:
        examples = check_int("batch_size", batch_size, examples)
    sizes = torch.bincount(batch, minlength=examples)
    return [0, *torch.cumsum(sizes, 0).tolist()]

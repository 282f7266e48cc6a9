"""Sums over rows in the contract's order: blocks of BLOCK_ROWS rows, each in rising order.

Public: :func:`cluster_sums`, :func:`cluster_weights`, :func:`block_sums`. Parallel over clusters
and dimensions, or over blocks; each sum is one thread's, so that its order is the program's.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from meddel_fast.kernels.rows import BLOCK_ROWS, Rows
from meddel_fast.kernels.tuning import OPTIONS, UNFUSED

WIDTH = 128  # dimensions a program
BLOCKS = 32  # a program
AHEAD = 8  # rows whose loads are issued together; their additions stay in order


@triton.jit
def add_members(
    x,
    sizes,
    weights,
    members,
    begin,
    total,
    d,
    stride,
    SCALED: tl.constexpr,
    WEIGHTED: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
    AHEAD: tl.constexpr,
):
    """Add to each cluster's total its members (rows of x).

    Divided by their size if SCALED, and multiplied by their weight if WEIGHTED.
    """
    cluster = tl.program_id(0).to(tl.int64)
    element = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    last = tl.load(begin + cluster + 1)
    whole = tl.load(total + cluster * d + element, mask=element < d, other=0.0)
    part = tl.zeros((WIDTH,), tl.float64)
    current = tl.full((), -1, tl.int64)
    for at in range(tl.load(begin + cluster), last, AHEAD):
        for ahead in tl.static_range(AHEAD):
            member = tl.full((), 0, tl.int64) + at + ahead
            inside = member < last
            i = tl.load(members + member, mask=inside, other=0)
            value = tl.load(x + i * stride + element, mask=element < d, other=0).to(tl.float64)
            if SCALED:  # a zero row has no direction, and is zeros anyway
                size = tl.load(sizes + i, mask=inside, other=0.0)
                value = value / tl.where(size > 0, size, 1.0)
            if WEIGHTED:
                value = value * tl.load(weights + i, mask=inside, other=0.0)
            fresh = inside & (i // BLOCK_ROWS != current)
            whole = tl.where(fresh, whole + part, whole)
            part = tl.where(fresh, 0.0, part) + tl.where(inside, value, 0.0)
            current = tl.where(fresh, i // BLOCK_ROWS, current)
    tl.store(total + cluster * d + element, whole + part, mask=element < d)


def cluster_sums(
    x: Rows, labels: Tensor, k: int, norms: Tensor | None, weights: Tensor | None = None
) -> Tensor:
    """Return the sums of clusters, (k, d) fp64.

    Parameters
    ----------
    x : Rows
    labels : int64 tensor (n,)
        In [0, k).
    k : int
    norms : fp64 tensor (n,), optional
        To add up unit rows.
    weights : fp64 tensor (n,), optional
        To add up rows times their weight.
    """
    total = torch.zeros((k, x.d), dtype=torch.float64, device=x.device)
    for first, rows in x.chunks(whole=True):
        own = slice(first, first + len(rows))
        _add(total, rows, labels[own], *(a if a is None else a[own] for a in (norms, weights)))
    return total


def cluster_weights(weights: Tensor, labels: Tensor, k: int) -> Tensor:
    """Return the sums of clusters' weights, (k,) fp64, of an fp64 tensor (n,)."""
    total = torch.zeros((k, 1), dtype=torch.float64, device=weights.device)
    _add(total, weights[:, None], labels, None, None)
    return total[:, 0]


def _add(
    total: Tensor, rows: Tensor, labels: Tensor, norms: Tensor | None, weights: Tensor | None
) -> None:
    k, d = total.shape
    members = torch.sort(labels, stable=True).indices
    begin = torch.zeros(k + 1, dtype=torch.int64, device=total.device)
    begin[1:] = torch.cumsum(torch.bincount(labels, minlength=k), 0)
    # A weight's product is not exact: multiplying and adding stay two operations.
    options = OPTIONS if weights is None else {**OPTIONS, **UNFUSED}
    add_members[(k, triton.cdiv(d, WIDTH))](
        rows, total if norms is None else norms, total if weights is None else weights,
        members, begin, total, d, rows.stride(0),
        SCALED=norms is not None, WEIGHTED=weights is not None,
        BLOCK_ROWS=BLOCK_ROWS, WIDTH=WIDTH, AHEAD=AHEAD, num_warps=4, **options,
    )  # fmt: skip


@triton.jit
def add_blocks(
    values,
    out,
    size,
    BLOCK_ROWS: tl.constexpr,
    BLOCKS: tl.constexpr,
    AHEAD: tl.constexpr,
):
    """Write the sum of each block of values, one added after the other."""
    block = tl.program_id(0).to(tl.int64) * BLOCKS + tl.arange(0, BLOCKS)
    total = tl.zeros((BLOCKS,), tl.float64)
    for first in range(0, BLOCK_ROWS, AHEAD):
        for ahead in tl.static_range(AHEAD):
            at = block * BLOCK_ROWS + first + ahead
            total += tl.load(values + at, mask=at < size, other=0.0)
    tl.store(out + block, total, mask=block * BLOCK_ROWS < size)


def block_sums(values: Tensor) -> Tensor:
    """Return the sum of each block of BLOCK_ROWS values, fp64, none of them a negative zero."""
    count = triton.cdiv(len(values), BLOCK_ROWS)
    out = torch.empty(count, dtype=torch.float64, device=values.device)
    add_blocks[(triton.cdiv(count, BLOCKS),)](
        values, out, len(values),
        BLOCK_ROWS=BLOCK_ROWS, BLOCKS=BLOCKS, AHEAD=AHEAD, num_warps=1, **OPTIONS,
    )  # fmt: skip
    return out

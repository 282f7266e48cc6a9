"""fp64 inner products of listed pairs of rows, in the one order of the contract.

Public: :func:`inner` works them out, :func:`with_each` and :func:`squared_norms` those of all rows
with one or with themselves, :func:`scores` turns them into cosines or minus squared distances. Lane j of 8 sums the products of
elements i with i mod 8 = j in rising i, the lanes are added as ((0+4)+(2+6))+((1+5)+(3+7)). A
product of two inputs is exact in fp64, so it does not matter whether the compiler fuses it with the
addition. A sum of two does not depend on which comes first, so the lanes are added by reductions
over axes of two. What follows the inner product is done by torch operations of one rounding each:
fp64 division and square roots of the device are IEEE's, and nothing fuses separate kernels.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from meddel_fast.kernels.rows import CHUNK_BYTES, Rows
from meddel_fast.kernels.tuning import OPTIONS

PAIRS = 32  # a program; with 8 lanes a pair, 4 warps have two elements a thread and step
AHEAD = 4  # groups of 8 elements whose loads are issued together


@triton.jit
def inner_products(
    x,
    y,
    i,
    j,
    out,
    pairs,
    d,
    x_stride,
    y_stride,
    PAIRS_: tl.constexpr,
    AHEAD_: tl.constexpr,
):
    """out[k] = <x[i[k]], y[j[k]]> for int64 indices i and j."""
    at = tl.program_id(0).to(tl.int64) * PAIRS_ + tl.arange(0, PAIRS_)
    inside = at < pairs
    left = x + tl.load(i + at, mask=inside, other=0) * x_stride
    right = y + tl.load(j + at, mask=inside, other=0) * y_stride
    lane = tl.arange(0, 8)
    sums = tl.zeros((PAIRS_, 8), tl.float64)
    for first in range(0, d, 8 * AHEAD_):
        for group in tl.static_range(AHEAD_):
            element = first + 8 * group + lane
            wanted = inside[:, None] & (element < d)[None, :]
            a = tl.load(left[:, None] + element[None, :], mask=wanted, other=0).to(tl.float64)
            b = tl.load(right[:, None] + element[None, :], mask=wanted, other=0).to(tl.float64)
            sums += a * b
    fours = tl.sum(sums.reshape(PAIRS_, 2, 4), 1)
    twos = tl.sum(fours.reshape(PAIRS_, 2, 2), 1)
    tl.store(out + at, tl.sum(twos, 1), mask=inside)


def _inner(x: Tensor, y: Tensor, i: Tensor, j: Tensor) -> Tensor:
    out = torch.empty(len(i), dtype=torch.float64, device=x.device)
    if len(i):
        inner_products[(triton.cdiv(len(i), PAIRS),)](
            x, y, i, j, out, len(i), x.shape[1], x.stride(0), y.stride(0),
            PAIRS_=PAIRS, AHEAD_=AHEAD, num_warps=4, **OPTIONS,
        )  # fmt: skip
    return out


def inner(x: Rows, y: Rows, i: Tensor, j: Tensor) -> Tensor:
    """Return ``<x[i], y[j]>`` of listed pairs, fp64.

    Parameters
    ----------
    x, y : Rows
        Equally wide; of any types.
    i, j : int64 tensors of shape (pairs,)
        On the rows' device.
    """
    if x.resident and y.resident:
        return _inner(x.data, y.data, i, j)
    size = max(1, CHUNK_BYTES // (8 * x.d))  # pairs at a time: at most so many rows of each side
    parts = [torch.empty(0, dtype=torch.float64, device=i.device)]
    for begin in range(0, len(i), size):
        left, p = torch.unique(i[begin : begin + size], return_inverse=True)
        right, q = torch.unique(j[begin : begin + size], return_inverse=True)
        parts.append(_inner(x.take(left), y.take(right), p, q))
    return torch.cat(parts)


def with_each(x: Rows, other: Tensor | None = None) -> Tensor:
    """Return the inner product of every row with one other row (1, d), or with itself: (n,) fp64."""
    parts = []
    for _, rows in x.chunks(whole=True):
        own = torch.arange(len(rows), device=x.device)
        right, j = (rows, own) if other is None else (other, torch.zeros_like(own))
        parts.append(_inner(rows, right, own, j))
    return torch.cat(parts)


def squared_norms(x: Rows) -> Tensor:
    """Return ``<x_i, x_i>`` of all rows: (n,) fp64; NaN or infinite where an element is."""
    return with_each(x)


def scores(products: Tensor, squares_x: Tensor, squares_y: Tensor, *, cosine: bool) -> Tensor:
    """Return the scores of pairs from <x, y>, <x, x> and <y, y>, in the truth's operations."""
    if cosine:
        norms = squares_x.sqrt() * squares_y.sqrt()
        return torch.where(norms > 0, products / norms, 0.0)
    return -((squares_x + squares_y) - 2.0 * products).clamp(min=0.0)

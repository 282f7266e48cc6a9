"""fp64 inner products of listed pairs of rows, in the one order of the contract.

Public: :func:`inner` works them out, :func:`with_each` and :func:`squared_norms` those of all rows
with one or with themselves, :func:`roots` square roots, :func:`scores` cosines or minus squared
distances, :func:`distances` what these stand for.

Lane j of 8 sums the products of elements i with i mod 8 = j in rising i, the lanes are added as
((0+4)+(2+6))+((1+5)+(3+7)). A product of two inputs is exact in fp64, so it does not matter whether
the compiler fuses it with the addition. A sum of two does not depend on which comes first, so the
lanes are added by reductions over axes of two. What follows is done by operations of one rounding
each: square roots in a kernel, the rest by torch, whose additions, products and divisions of fp64
are IEEE's and which fuses nothing.
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
    PAIRS: tl.constexpr,
    AHEAD: tl.constexpr,
):
    """Write ``<x[i], y[j]>`` for int64 indices i and j."""
    at = tl.program_id(0).to(tl.int64) * PAIRS + tl.arange(0, PAIRS)
    inside = at < pairs
    left = x + tl.load(i + at, mask=inside, other=0) * x_stride
    right = y + tl.load(j + at, mask=inside, other=0) * y_stride
    lane = tl.arange(0, 8)
    sums = tl.zeros((PAIRS, 8), tl.float64)
    for first in range(0, d, 8 * AHEAD):
        for group in tl.static_range(AHEAD):
            element = first + 8 * group + lane
            wanted = inside[:, None] & (element < d)[None, :]
            a = tl.load(left[:, None] + element[None, :], mask=wanted, other=0).to(tl.float64)
            b = tl.load(right[:, None] + element[None, :], mask=wanted, other=0).to(tl.float64)
            sums += a * b
    fours = tl.sum(sums.reshape(PAIRS, 2, 4), 1)
    twos = tl.sum(fours.reshape(PAIRS, 2, 2), 1)
    tl.store(out + at, tl.sum(twos, 1), mask=inside)


def _inner(x: Tensor, y: Tensor, i: Tensor, j: Tensor) -> Tensor:
    out = torch.empty(len(i), dtype=torch.float64, device=x.device)
    if len(i):
        inner_products[(triton.cdiv(len(i), PAIRS),)](
            x, y, i, j, out, len(i), x.shape[1], x.stride(0), y.stride(0),
            PAIRS=PAIRS, AHEAD=AHEAD, num_warps=4, **OPTIONS,
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
    """Return ``<x_i, other>`` of all rows with one (1, d), or ``<x_i, x_i>``: (n,) fp64."""
    parts = []
    for _, rows in x.chunks(whole=True):
        own = torch.arange(len(rows), device=x.device)
        right, j = (rows, own) if other is None else (other, torch.zeros_like(own))
        parts.append(_inner(rows, right, own, j))
    return torch.cat(parts)


def squared_norms(x: Rows) -> Tensor:
    """Return ``<x_i, x_i>`` of all rows: (n,) fp64; NaN or infinite where an element is."""
    return with_each(x)


@triton.jit
def square_roots(x, out, size, BLOCK: tl.constexpr):
    """Write fp64 square roots, rounded to nearest."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + at, tl.sqrt(tl.load(x + at, mask=at < size, other=0.0)), mask=at < size)


def roots(squares: Tensor) -> Tensor:
    """Return square roots of a contiguous fp64 vector, rounded to nearest.

    (torch's own on a CPU are not always: 2 of 150 were off by an ulp in 2.13.)
    """
    out = torch.empty_like(squares)
    if len(out):
        square_roots[(triton.cdiv(len(out), 1024),)](squares, out, len(out), BLOCK=1024, **OPTIONS)
    return out


def scores(xy: Tensor, xx: Tensor, yy: Tensor, *, cosine: bool) -> Tensor:
    """Return the cosines of pairs, or minus their squared distances, in the truth's operations.

    Parameters
    ----------
    xy, xx, yy : fp64 tensors of one shape (pairs,)
        ``<x, y>``, ``<x, x>`` and ``<y, y>``.
    cosine : bool
    """
    if cosine:
        squares = xx * yy
        return torch.where(squares > 0, xy / roots(squares), 0.0).clamp(-1.0, 1.0)
    return -((xx + yy) - 2.0 * xy).clamp(min=0.0)


def distances(scores: Tensor, *, cosine: bool) -> Tensor:
    """Return what scores stand for: 1 - cosine, or squared distances."""
    return 1.0 - scores if cosine else -scores

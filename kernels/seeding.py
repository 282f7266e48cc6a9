"""k-means++ seeding: each seed is compared with the rows that it may come nearer to.

Public: :func:`kmeans_plus_plus`. As in ``csrc/ops/seed_screens.h``, which has the proof: a seed
changes the distance of a row only where it is nearer than all before it, and the codes of
:mod:`~meddel_fast.kernels.screen` tell for most rows that it is not. What they leave is compared as
the truth says, so that the seeds are the same.
"""

from __future__ import annotations

import numpy as np
import torch
import triton
import triton.language as tl
from numpy.typing import NDArray
from torch import Tensor

from meddel_fast.kernels import confirm
from meddel_fast.kernels.cluster_sums import block_sums
from meddel_fast.kernels.rows import BLOCK_ROWS, Rows
from meddel_fast.kernels.screen import PREFIX_WIDTH, Codes, Screen, learn
from meddel_fast.kernels.tuning import OPTIONS

# Seeds and bytes of rows from which on codes are made: a seed by screens is some 20 launches and
# three waits for the device (estimated at .2 ms), a plain pass reads all rows.
FEW_SEEDS = 48
LEAST_BYTES = 1 << 30
ROWS = 128  # a program
TOO_MANY = 4  # where more than one row in so many is left, all rows are compared


@triton.jit
def sign_sums(
    code,
    share,
    start,
    rows,
    out,
    seed,
    count,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
    STEP: tl.constexpr,
    LISTED: tl.constexpr,
):
    """Write start + share[seed] + <code, code[seed]> of all rows, or of listed ones."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < count
    row = tl.load(rows + at, mask=inside, other=0) if LISTED else at
    total = tl.load(start + row, mask=inside, other=0) + tl.load(share + seed)
    for first in range(0, WIDTH, STEP):
        element = first + tl.arange(0, STEP)
        own = tl.load(code + seed * WIDTH + element).to(tl.int32)
        theirs = tl.load(
            code + row[:, None] * WIDTH + element[None, :], mask=inside[:, None], other=0
        )
        total += tl.sum(theirs.to(tl.int32) * own[None, :], 1)
    tl.store(out + at, total, mask=inside)


def kmeans_plus_plus(
    x: Rows,
    squares: Tensor,
    uniforms: NDArray[np.float64],
    *,
    spherical: bool,
    weights: Tensor | None = None,
    screened: bool | None = None,
) -> list[int]:
    """Return the rows that k-means++ draws, one per uniform in [0, 1), as reference.py states.

    Parameters
    ----------
    x : Rows
    squares : fp64 tensor (n,)
        Their squared norms.
    uniforms : fp64 array
    spherical : bool
        By cosine distances, or by squared Euclidean ones.
    weights : fp64 tensor (n,), optional
    screened : bool, optional
        Whether to make codes; where it pays if not given.
    """
    first = None if weights is None else _draw(weights, uniforms[0])
    chosen = [min(int(uniforms[0] * x.n), x.n - 1) if first is None else first]
    if screened is None:
        large = x.data.nbytes >= LEAST_BYTES or not x.resident
        screened = len(uniforms) >= FEW_SEEDS and large
    distances = _Distances(x, squares, spherical, screened)
    while len(chosen) < len(uniforms):
        nearest = distances.lower(chosen[-1])
        drawn = _draw(nearest if weights is None else weights * nearest, uniforms[len(chosen)])
        if drawn is None:
            drawn = min(set(range(len(chosen) + 1)) - set(chosen))
        chosen.append(drawn)
    return chosen


class _Distances:
    """Of each row, that to the nearest seed."""

    def __init__(self, x: Rows, squares: Tensor, spherical: bool, screened: bool) -> None:
        self._x, self._squares, self._spherical = x, squares, spherical
        self._nearest = torch.full((x.n,), torch.inf, dtype=torch.float64, device=x.device)
        self._screens: list[Screen] = []
        self._starts: list[Tensor] = []  # by screen: shares less the bars'; none before a seed
        if screened:
            norms = confirm.roots(squares)
            self._screens = learn([(x, norms)], cosine=spherical)
            self._codes = [screen.encode(x, norms) for screen in self._screens]

    def lower(self, seed: int) -> Tensor:
        """Take account of a seed; return the distances."""
        left = self._left(seed) if self._screens and self._starts else None
        row = self._x.take(torch.tensor([seed], device=self._x.device))
        if left is None:
            products, squares = confirm.with_each(self._x, row), self._squares
        else:
            i, j = left, torch.zeros_like(left)
            products = confirm.inner(self._x, Rows(row, self._x.device), i, j)
            squares = self._squares[left]
        own = self._squares[seed].expand(len(squares))
        score = confirm.scores(products, squares, own, cosine=self._spherical)
        found = confirm.distances(score, cosine=self._spherical)
        if left is None:
            self._nearest = torch.minimum(self._nearest, found)
        else:
            self._nearest[left] = torch.minimum(self._nearest[left], found)
        self._nearest[seed] = 0.0
        if self._screens:
            self._renew(left)
        return self._nearest

    def _left(self, seed: int) -> Tensor | None:
        """Return the rows that a seed may come nearer to; None: about all."""
        rows = None
        for codes, starts in zip(self._codes, self._starts, strict=True):
            sums = _products(codes, starts, rows, seed)
            kept = torch.nonzero(sums >= 0)[:, 0]
            rows = kept if rows is None else rows[kept]
        return None if rows is None or len(rows) * TOO_MANY > self._x.n else rows

    def _renew(self, rows: Tensor | None) -> None:
        """Work out the starts of some rows, or of all, anew."""
        nearest = self._nearest if rows is None else self._nearest[rows]
        # A cosine that lowers a distance of 1 - cosine, which was rounded, is this at least. No
        # distance is below 0.
        bar = 1.0 - nearest - 2.0**-50 if self._spherical else -nearest
        bar = torch.where(nearest == 0.0, torch.inf, bar)
        if rows is None:
            both = zip(self._screens, self._codes, strict=True)
            self._starts = [screen.start(codes.share, bar) for screen, codes in both]
            return
        for screen, codes, starts in zip(self._screens, self._codes, self._starts, strict=True):
            starts[rows] = screen.start(codes.share[rows], bar)


def _products(codes: Codes, starts: Tensor, rows: Tensor | None, seed: int) -> Tensor:
    """Return the sums whose signs tell, of all rows or of listed ones."""
    width = codes.code.shape[1]
    count = len(starts) if rows is None else len(rows)
    out = torch.empty(count, dtype=torch.int32, device=starts.device)
    if count:
        sign_sums[(triton.cdiv(count, ROWS),)](
            codes.code, codes.share, starts, codes.share if rows is None else rows, out, seed,
            count, WIDTH=width, BLOCK=ROWS, STEP=PREFIX_WIDTH, LISTED=rows is not None,
            num_warps=4, **OPTIONS,
        )  # fmt: skip
    return out


def _draw(share: Tensor, uniform: float) -> int | None:
    """Return the row where the running sum of shares exceeds the uniform's part of all, if any."""
    blocks = np.cumsum(block_sums(share).cpu().numpy())
    if blocks[-1] == 0.0:
        return None
    target = min(uniform * blocks[-1], np.nextafter(blocks[-1], 0.0))
    block = int(np.argmax(blocks > target))
    rows = share[block * BLOCK_ROWS : (block + 1) * BLOCK_ROWS].cpu().numpy()
    before = blocks[block - 1] if block else 0.0
    beyond = np.cumsum(np.concatenate([[before], rows]))[1:] > target
    # Rounding may leave the block's own running sum short of the target: the last possible row.
    last = int(np.flatnonzero(rows)[-1])
    return block * BLOCK_ROWS + (int(np.argmax(beyond)) if beyond.any() else last)

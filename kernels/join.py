"""All pairs of two sets of codes that the screens cannot rule out.

Public: :func:`join`, with :class:`Side`, :class:`Mask` and :class:`Reach`.

Positions of both sides are cut into tiles. A first kernel takes the coarse screen's product of each
tile on the tensor cores, K = 64, and lists the tiles in which any sum is not negative: that is one
addition and one maximum a pair. A second one goes through the list: it repeats the coarse product,
takes the fine one (all dimensions) for the same tile, and writes the pairs that pass both and
count; a tile reserves its room with one atomic addition, as element-wise ones spill registers. The
host waits for neither in between.

Which pairs count: all, or those of a row and another position, or of a row and a column with a
lower key (:class:`Mask`); with labels, only those of equal labels. A :class:`Reach` further says
which column tiles each row tile is compared with at all, so that nothing is launched below a
diagonal or between groups.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from meddel_fast.kernels.screen import DENSE_WIDTH, NEVER, Codes
from meddel_fast.kernels.tuning import OPTIONS, autotuned

TILE = 128  # rows and columns of a tile
SEGMENT = 16  # column tiles of an item, one program of the first kernel
BAND = 32  # row tiles whose items stand together, so that columns are read from the L2 cache
SLICE = 1 << 18  # items at a time, the most a row tile may have: 32 MiB for the list of tiles
CAPACITY = 1 << 24  # pairs that a part may leave before it is cut: 128 MiB
PROGRAMS = 4 * 148  # of the second kernel, which share the tiles: some a multiprocessor


class Mask(IntEnum):
    """Which pairs of positions (p, q) count."""

    NONE = 0
    OTHER = 1  # p != q
    KEY = 2  # column key q < row key p


@dataclass(frozen=True)
class Side:
    """The rows or the columns of a join, by position.

    Attributes
    ----------
    codes : list of Codes
        Coarse to fine, one or two, the first PREFIX_WIDTH wide. Of rows the shares are starts
        (:meth:`Screen.start`).
    key : int32 tensor (n,), optional
        For Mask.KEY.
    label : int32 tensor (n,), optional
        Pairs of unequal labels do not count.
    """

    codes: list[Codes]
    key: Tensor | None = None
    label: Tensor | None = None

    @property
    def n(self) -> int:
        """Number of positions."""
        return self.codes[0].code.shape[0]


@dataclass(frozen=True)
class Reach:
    """Which column tiles [first, last) each row tile is compared with: int64 (row tiles,)."""

    first: Tensor
    last: Tensor

    @staticmethod
    def whole(rows: int, columns: int, tile: int, device: torch.device) -> Reach:
        """Return the reach of all rows over all columns."""
        first = torch.zeros(-(-rows // tile), dtype=torch.int64, device=device)
        return Reach(first, torch.full_like(first, -(-columns // tile)))

    def upper(self) -> Reach:
        """Return the tiles on the diagonal and after it."""
        own = torch.arange(len(self.first), device=self.first.device)
        return Reach(torch.maximum(self.first, own), self.last)

    def segments(self) -> Tensor:
        """Return how many items each row tile makes."""
        count = -(-self.last // SEGMENT) - self.first // SEGMENT
        return torch.where(self.last > self.first, count, 0)

    def items(self, begin: int, end: int) -> Tensor:
        """Return the items of row tiles [begin, end): row tile, first and last column tile.

        int32 of shape (items, 3); each has at most SEGMENT column tiles, and those that share
        columns stand together.
        """
        count = self.segments()[begin:end]
        row = torch.repeat_interleave(torch.arange(end - begin, device=count.device), count)
        before = torch.cumsum(count, 0) - count
        segment = torch.arange(len(row), device=row.device) - before[row]
        row += begin
        segment += self.first[row] // SEGMENT
        key = (row // BAND << 32) + segment * BAND + row % BAND
        row, segment = (v[torch.argsort(key)] for v in (row, segment))
        first = torch.maximum(segment * SEGMENT, self.first[row])
        last = torch.minimum((segment + 1) * SEGMENT, self.last[row])
        return torch.stack([row, first, last], 1).to(torch.int32)


@triton.jit
def _wide(index):
    # Of 64 bits: the interpreter's loops count in Python's integers, which have no .to.
    return tl.zeros((), tl.int64) + index


@triton.jit
def codes_of_tile(base, tile_index, at, size, WIDTH: tl.constexpr, TILE: tl.constexpr, k):
    """Load the integers k of a tile's codes, zeros beyond the last position."""
    start = base + _wide(tile_index) * (TILE * WIDTH)
    inside = tile_index * TILE + at < size
    return tl.load(start + at[:, None] * WIDTH + k[None, :], mask=inside[:, None], other=0)


@triton.jit
def by_position(base, position, size, beyond):
    """Load the values of positions, `beyond` after the last one."""
    return tl.load(base + position, mask=position < size, other=beyond)


@autotuned("coarse", key=["n_bucket", "m_bucket"], reset=["tile_count"])
@triton.jit
def flag_tiles(
    row_code,
    row_start,
    column_code,
    column_share,
    item,
    tiles,
    tile_count,
    n,
    m,
    n_bucket,
    m_bucket,
    NEVER: tl.constexpr,
    TILE: tl.constexpr,
):
    """List the tiles (row, column) of an item in which a sum of the coarse screen is >= 0."""
    number = tl.program_id(0).to(tl.int64)
    row = tl.load(item + 3 * number)
    first = tl.load(item + 3 * number + 1)
    last = tl.load(item + 3 * number + 2)
    at = tl.arange(0, TILE)
    k = tl.arange(0, 64)
    left = codes_of_tile(row_code, row, at, n, 64, TILE, k)
    start = by_position(row_start, row * TILE + at, n, NEVER)
    for column in range(first, last):
        right = codes_of_tile(column_code, column, at, m, 64, TILE, k)
        share = by_position(column_share, column * TILE + at, m, NEVER)
        total = tl.dot(left, right.T, out_dtype=tl.int32) + (start[:, None] + share[None, :])
        if tl.max(total) >= 0:
            slot = _wide(tl.atomic_add(tile_count, 1))
            tl.store(tiles + 2 * slot, row)
            tl.store(tiles + 2 * slot + 1, column)


@triton.jit
def pairs_that_count(
    row_key,
    column_key,
    row_label,
    column_label,
    p,
    q,
    n,
    m,
    MASK: tl.constexpr,
    LABELS: tl.constexpr,
):
    """Whether each pair of positions counts."""
    counts = (p < n)[:, None] & (q < m)[None, :]
    if MASK == 1:
        counts &= p[:, None] != q[None, :]
    if MASK == 2:
        row = by_position(row_key, p, n, 0)
        column = by_position(column_key, q, m, 0)
        counts &= column[None, :] < row[:, None]
    if LABELS:
        row = by_position(row_label, p, n, 0)
        column = by_position(column_label, q, m, 0)
        counts &= column[None, :] == row[:, None]
    return counts


@autotuned("dense", key=["WIDTH", "MASK", "LABELS"], reset=["pair_count"])
@triton.jit
def collect_pairs(
    row_code,
    row_start,
    column_code,
    column_share,
    row_dense,
    row_dense_start,
    column_dense,
    column_dense_share,
    row_key,
    column_key,
    row_label,
    column_label,
    tiles,
    tile_count,
    pairs,
    pair_count,
    capacity,
    n,
    m,
    WIDTH: tl.constexpr,
    MASK: tl.constexpr,
    LABELS: tl.constexpr,
    NEVER: tl.constexpr,
    TILE: tl.constexpr,
    PART: tl.constexpr,
    STEP: tl.constexpr,
):
    """Write the pairs (p 2^32 + q) of the listed tiles that pass all screens and count.

    Half a tile (PART columns) at a time: whole ones spill registers.

    Those beyond the capacity are counted only. WIDTH is 0 where there is no fine screen.
    """
    down = tl.arange(0, TILE)
    across = tl.arange(0, PART)
    k = tl.arange(0, 64)
    count = tl.load(tile_count) * (TILE // PART)
    for number in range(tl.program_id(0), count, tl.num_programs(0)):
        tile = tiles + 2 * _wide(number // (TILE // PART))
        row = tl.load(tile)
        column = tl.load(tile + 1) * (TILE // PART) + number % (TILE // PART)
        p = row * TILE + down
        q = column * PART + across
        left = codes_of_tile(row_code, row, down, n, 64, TILE, k)
        right = codes_of_tile(column_code, column, across, m, 64, PART, k)
        start = by_position(row_start, p, n, NEVER)
        share = by_position(column_share, q, m, NEVER)
        total = tl.dot(left, right.T, out_dtype=tl.int32) + (start[:, None] + share[None, :])
        least = total
        if WIDTH > 0:
            sums = tl.zeros((TILE, PART), tl.int32)
            for step in range(0, WIDTH, STEP):
                part = step + tl.arange(0, STEP)
                a = codes_of_tile(row_dense, row, down, n, WIDTH, TILE, part)
                b = codes_of_tile(column_dense, column, across, m, WIDTH, PART, part)
                sums = tl.dot(a, b.T, acc=sums, out_dtype=tl.int32)
            start = by_position(row_dense_start, p, n, NEVER)
            share = by_position(column_dense_share, q, m, NEVER)
            least = tl.minimum(least, sums + (start[:, None] + share[None, :]))
        found = (least >= 0) & pairs_that_count(
            row_key, column_key, row_label, column_label, p, q, n, m, MASK, LABELS
        )
        flags = found.to(tl.int32)
        by_row = tl.sum(flags, 1)
        some = tl.sum(by_row)
        if some > 0:
            base = tl.atomic_add(pair_count, some.to(tl.int64))
            room = tl.minimum(tl.maximum(capacity - base, 0), PART * TILE).to(tl.int32)
            slot = (tl.cumsum(by_row) - by_row)[:, None] + tl.cumsum(flags, 1) - flags
            pair = (p.to(tl.int64) << 32)[:, None] | q.to(tl.int64)[None, :]
            tl.store(pairs + base + slot, pair, mask=(flags > 0) & (slot < room))


def join(
    rows: Side,
    columns: Side,
    reach: Reach,
    *,
    mask: Mask = Mask.NONE,
    tile: int = TILE,
    capacity: int = CAPACITY,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the pairs of positions that no screen rules out, part by part.

    Parameters
    ----------
    rows, columns : Side
        Of the same screens; the shares of rows are starts.
    reach : Reach
        In tiles of this size.
    mask : Mask
        Which pairs count.
    tile : int
        A power of two, at least 32.
    capacity : int
        Pairs to make room for. A part of the work that leaves more is done again in smaller ones.

    Yields
    ------
    p, q : int64 tensors of shape (pairs,)
        Row and column positions, in no order.
    """
    device = rows.codes[0].code.device
    capacity = max(capacity, SEGMENT * tile * tile)
    found = torch.empty(capacity, dtype=torch.int64, device=device)
    ends = torch.cumsum(reach.segments(), 0).cpu().numpy()
    begin, before, size = 0, 0, SLICE
    while begin < len(ends):
        end = max(begin + 1, int(np.searchsorted(ends, before + SLICE, side="right")))
        work = reach.items(begin, end)
        tiles = torch.empty((min(SLICE, len(work)) * SEGMENT, 2), dtype=torch.int32, device=device)
        at = 0
        while at < len(work):
            part = work[at : at + size]
            count = _run(rows, columns, part, mask, tile, tiles, found)
            if count > capacity:
                size = max(1, min(size // 2, len(part) * capacity // (2 * count)))
                continue
            at += len(part)
            if count:
                yield found[:count] >> 32, found[:count] & (2**32 - 1)
        begin, before = end, int(ends[end - 1])


def _run(
    rows: Side,
    columns: Side,
    part: Tensor,
    mask: Mask,
    tile: int,
    tiles: Tensor,
    found: Tensor,
) -> int:
    """Screen a part of the work; return how many pairs it leaves."""
    tile_count = torch.zeros(1, dtype=torch.int32, device=part.device)
    pair_count = torch.zeros(1, dtype=torch.int64, device=part.device)
    n, m = rows.n, columns.n
    coarse, across = rows.codes[0], columns.codes[0]
    flag_tiles[(len(part),)](
        coarse.code, coarse.share, across.code, across.share, part, tiles, tile_count, n, m,
        n.bit_length(), m.bit_length(), NEVER=NEVER, TILE=tile, **OPTIONS,
    )  # fmt: skip
    fine, fine_across = rows.codes[-1], columns.codes[-1]
    width = fine.code.shape[1] if len(rows.codes) > 1 else 0
    unused = tile_count  # stands for arrays that the masks do not read
    collect_pairs[(min(PROGRAMS, 2 * SEGMENT * len(part)),)](
        coarse.code, coarse.share, across.code, across.share,
        fine.code, fine.share, fine_across.code, fine_across.share,
        unused if rows.key is None else rows.key,
        unused if columns.key is None else columns.key,
        unused if rows.label is None else rows.label,
        unused if columns.label is None else columns.label,
        tiles, tile_count, found, pair_count, len(found), n, m,
        WIDTH=width, MASK=int(mask), LABELS=rows.label is not None, NEVER=NEVER,
        TILE=tile, PART=tile // 2, STEP=DENSE_WIDTH, **OPTIONS,
    )  # fmt: skip
    return int(pair_count)

"""The most promising columns of each row, and a proven bar that they set.

Public: :func:`bars`. A kernel takes the dense products of a row tile and a column tile and keeps,
of each group of columns, the one with the largest sum for each row: a sum with its column in the
low bits, so that one maximum a pair finds both. The k largest of a row's groups are k distinct
columns; the lowest of their scores, worked out by the truth, is at most the row's k-th highest
score. Nothing about the sums needs a proof: worse columns make a lower bar, which lets more
through.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import triton
import triton.language as tl
from torch import Tensor

from meddel_fast.kernels.join import Mask, Reach, Side, by_position, codes_of_tile, pairs_that_count
from meddel_fast.kernels.screen import ALWAYS, DENSE_WIDTH, NEVER
from meddel_fast.kernels.tuning import OPTIONS, autotuned

NONE = -(2**31)
GROUP = 16  # columns of which one is kept
ENTRIES = 1 << 26  # of the table of groups at a time: 256 MiB

Scores = Callable[[Tensor, Tensor], Tensor]  # of positions (p, q)


@autotuned("dense", key=["WIDTH", "MASK", "LABELS", "GROUP"], reset=[])
@triton.jit
def tile_max(
    row_code,
    column_code,
    column_share,
    row_key,
    column_key,
    row_label,
    column_label,
    first,
    last,
    out,
    slots,
    band,
    n,
    m,
    WIDTH: tl.constexpr,
    MASK: tl.constexpr,
    LABELS: tl.constexpr,
    NONE: tl.constexpr,
    TILE: tl.constexpr,
    STEP: tl.constexpr,
    GROUP: tl.constexpr,
):
    """Write, by row from tile `band` on and by group, the largest sum | column % TILE, or NONE.

    A program has one pair of tiles, those of a row tile follow each other; out is (rows, slots).
    """
    across = slots // (TILE // GROUP)
    down = tl.program_id(0) // across
    along = tl.program_id(0) % across
    row = band + down
    column = tl.load(first + row).to(tl.int32) + along
    if column < tl.load(last + row):
        at = tl.arange(0, TILE)
        p = row * TILE + at
        q = column * TILE + at
        sums = tl.zeros((TILE, TILE), tl.int32)
        for step in range(0, WIDTH, STEP):
            k = step + tl.arange(0, STEP)
            a = codes_of_tile(row_code, row, at, n, WIDTH, TILE, k)
            b = codes_of_tile(column_code, column, at, m, WIDTH, TILE, k)
            sums = tl.dot(a, b.T, acc=sums, out_dtype=tl.int32)
        sums += by_position(column_share, q, m, 0)[None, :]
        counts = pairs_that_count(
            row_key, column_key, row_label, column_label, p, q, n, m, MASK, LABELS
        )
        marked = tl.where(counts, (sums & -TILE) | at[None, :], NONE)
        best = tl.max(marked.reshape(TILE, TILE // GROUP, GROUP), 2)
        slot = along * (TILE // GROUP) + tl.arange(0, TILE // GROUP)
        line = (down * TILE + at).to(tl.int64) * slots
        tl.store(out + line[:, None] + slot[None, :], best)


def bars(
    rows: Side,
    columns: Side,
    reach: Reach,
    k: int,
    scores: Scores,
    *,
    mask: Mask,
    tile: int,
) -> Tensor:
    """Return a lower bound on the k-th highest score of each row.

    Parameters
    ----------
    rows, columns : Side
        Codes of the same dense screen, the last of each.
    reach : Reach
        Where to look; the bounds hold for any.
    k : int
        At least 1.
    scores : function (p, q) -> fp64 tensor
        The truth's scores of int64 positions.
    mask : Mask
        Which pairs count.
    tile : int
        A power of two, at least 32.

    Returns
    -------
    fp64 tensor of shape (rows,)
        -inf where fewer than k columns were found.
    """
    columns_each = int((reach.last - reach.first).max())
    group = GROUP if columns_each * (tile // GROUP) > 2 * k else 1
    slots = columns_each * (tile // group)
    out = torch.full((rows.n,), float("-inf"), dtype=torch.float64, device=reach.first.device)
    if slots < k:
        return out
    share = columns.codes[-1].share
    share = torch.where(share == ALWAYS, NEVER, share)  # it would hide the others of its group
    tiles = max(1, ENTRIES // (slots * tile))
    for band in range(0, len(reach.first), tiles):
        part = slice(band * tile, min(rows.n, (band + tiles) * tile))
        table = _table(rows, columns, share, reach, band, tiles, slots, group, mask, tile)
        best, slot = table[: part.stop - part.start].topk(k, dim=1)
        first = reach.first[band : band + tiles].repeat_interleave(tile)[: len(best)]
        q = (first[:, None] + slot // (tile // group)) * tile + (best & (tile - 1))
        found = best > -ALWAYS  # with NEVER a sum is less than that, with any other share more
        p = torch.arange(part.start, part.stop, device=q.device)[:, None].expand_as(q)
        exact = torch.full(q.shape, float("-inf"), dtype=torch.float64, device=q.device)
        exact[found] = scores(p[found], q[found])
        out[part] = exact.amin(1)
    return out


def _table(
    rows: Side,
    columns: Side,
    share: Tensor,
    reach: Reach,
    band: int,
    tiles: int,
    slots: int,
    group: int,
    mask: Mask,
    tile: int,
) -> Tensor:
    """Return the groups' best, (rows of the band's tiles, slots) int32."""
    left, right = rows.codes[-1].code, columns.codes[-1].code
    tiles = min(tiles, len(reach.first) - band)
    out = torch.full((tiles * tile, slots), NONE, dtype=torch.int32, device=left.device)
    tile_max[(tiles * slots // (tile // group),)](
        left, right, share,
        share if rows.key is None else rows.key,
        share if columns.key is None else columns.key,
        share if rows.label is None else rows.label,
        share if columns.label is None else columns.label,
        reach.first, reach.last, out, slots, band, rows.n, columns.n,
        WIDTH=left.shape[1], MASK=int(mask), LABELS=rows.label is not None, NONE=NONE, TILE=tile,
        STEP=min(left.shape[1], DENSE_WIDTH), GROUP=group, **OPTIONS,
    )  # fmt: skip
    return out

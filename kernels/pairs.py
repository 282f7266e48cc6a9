"""All pairs of rows whose cosine is at or above a threshold.

Public: :func:`similar_pairs`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from meddel_fast.kernels.join import Mask, Side, join
from meddel_fast.kernels.prepared import DEFAULT, Tuning, prepare
from meddel_fast.kernels.rows import Rows
from meddel_fast.kernels.screen import with_bars


def similar_pairs(
    sets: list[Rows],
    squares: list[Tensor],
    threshold: float,
    max_pairs: int,
    *,
    rows: range | None = None,
    labels: Tensor | None = None,
    tuning: Tuning = DEFAULT,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return every pair with cosine >= threshold.

    Parameters
    ----------
    sets, squares : lists
        One set, for pairs i < j inside it, or two; and their rows' squared norms.
    threshold : float
    max_pairs : int
        Give up beyond so many.
    rows : range, optional
        Of the first set: only pairs with i in it.
    labels : int64 tensor (n,), optional
        Of one set: only rows of equal labels make pairs.

    Returns
    -------
    i, j : int64 tensors (pairs,)
        Sorted by (i, j).
    similarity : fp64 tensor (pairs,)

    Raises
    ------
    OverflowError
        With the number of pairs found so far, when there are more than max_pairs.
    """
    screens, sides = prepare(sets, squares, cosine=True, labels=labels, tuning=tuning)
    left, right = sides[0], sides[-1]
    one, part = len(sets) == 1, rows is not None and len(rows) < left.n
    # Of one set only q > p counts: minus the position as the key, which must be lower. Of a part of
    # its rows, positions of which are not those of all, only j > i.
    label = None if right.label is None else ranks(right.label)
    key = -torch.arange(right.n, dtype=torch.int32, device=right.device) if one else None
    row_key, row_label = key, label
    if rows is not None and part:
        chosen = torch.nonzero((left.order >= rows.start) & (left.order < rows.stop))[:, 0]
        left = left.part(chosen)
        if one:
            key, row_key = (-side.order.to(torch.int32) for side in (right, left))
            row_label = None if label is None else label[chosen]
    reach = left.reach(right, tuning.tile)
    found, total = [], 0
    for p, q in join(
        Side(with_bars(screens, left.codes, threshold), row_key, row_label),
        Side(right.codes, key, label),
        reach.upper() if one and not part else reach,
        mask=Mask.KEY if one else Mask.NONE,
        tile=tuning.tile,
        capacity=tuning.capacity,
    ):
        similarity = left.scores(right, p, q, cosine=True)
        kept = similarity >= threshold
        i, j = left.order[p[kept]], right.order[q[kept]]
        if one:
            i, j = torch.minimum(i, j), torch.maximum(i, j)
        found.append((i * right.n + j, similarity[kept]))
        total += len(i)
        if total > max_pairs:
            raise OverflowError(total)
    if not found:
        nothing = torch.empty(0, dtype=torch.int64, device=left.device)
        return nothing, nothing.clone(), nothing.to(torch.float64)
    pair, place = torch.sort(torch.cat([p for p, _ in found]))
    similarity = torch.cat([s for _, s in found])[place]
    return pair // right.n, pair % right.n, similarity


def ranks(label: Tensor) -> Tensor:
    """Return labels as int32 numbers from 0 on."""
    return torch.unique(label, return_inverse=True)[1].to(torch.int32)

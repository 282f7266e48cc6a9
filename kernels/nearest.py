"""The k most similar columns of each row: what top-k, redundancy and k-means assignment share.

Public: :func:`nearest`. Each row's bar, a score that its k-th best has at least, comes from the
most promising columns near it in the order of rough clusters; one join with those bars leaves few
pairs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from meddel_fast.kernels.best_columns import Best
from meddel_fast.kernels.join import Mask, Side, join
from meddel_fast.kernels.prepared import DEFAULT, Prepared, Tuning
from meddel_fast.kernels.screen import Screen, with_bars
from meddel_fast.kernels.tile_max import bars


def nearest(
    screens: list[Screen],
    left: Prepared,
    right: Prepared,
    k: int,
    *,
    cosine: bool,
    mask: Mask = Mask.NONE,
    keys: tuple[Tensor, Tensor] | None = None,
    labels: tuple[Tensor, Tensor] | None = None,
    bar: Tensor | None = None,
    tuning: Tuning = DEFAULT,
) -> tuple[Tensor, Tensor]:
    """Return the k best columns of each row.

    Parameters
    ----------
    screens, left, right
        Of :func:`prepare`; positions of `left` are rows, of `right` columns.
    k : int
    cosine : bool
        Whether scores are cosines, or minus squared distances.
    mask, keys, labels
        Which pairs of positions count: :class:`Mask`; int32, by position of left and right.
    bar : fp64 tensor (left.n,), optional
        Scores, by position, that each row's k-th best is known to have at least.

    Returns
    -------
    scores : fp64 tensor (left.n, k)
        By row, not position, best first; -inf where fewer columns count.
    columns : int64 tensor (left.n, k)
        Rows of `right`, rising among equal scores; -1 likewise.
    """
    row_key, column_key = (None, None) if keys is None else keys
    row_label, column_label = (None, None) if labels is None else labels
    columns = Side(right.codes, column_key, column_label)
    if bar is None:
        bar = _bars(left, columns, right, k, cosine, mask, (row_key, row_label), tuning)
    rows = Side(with_bars(screens, left.codes, bar), row_key, row_label)
    best = Best(left.n, k, left.device)
    reach = left.reach(right, tuning.tile)
    for p, q in join(rows, columns, reach, mask=mask, tile=tuning.tile, capacity=tuning.capacity):
        score = left.scores(right, p, q, cosine=cosine)
        kept = score >= bar[p]
        best.add(left.order[p[kept]], right.order[q[kept]], score[kept])
    return best.result()


def _bars(
    left: Prepared,
    columns: Side,
    right: Prepared,
    k: int,
    cosine: bool,
    mask: Mask,
    of_rows: tuple[Tensor | None, Tensor | None],
    tuning: Tuning,
) -> Tensor:
    """Return bars from a window around each row, or from everywhere where that has none."""

    def find(some: Prepared, key: Tensor | None, label: Tensor | None, span: int) -> Tensor:
        return bars(
            Side(some.codes, key, label),
            columns,
            some.window(right, tuning.tile, span),
            k,
            lambda p, q: some.scores(right, p, q, cosine=cosine),
            mask=mask,
            tile=tuning.tile,
        )

    key, label = of_rows
    span = max(tuning.window, 4 * k)
    bar = find(left, key, label, span)
    # Keys may rule out all of a window, for rows of which there should be few.
    without = torch.nonzero(bar == float("-inf"))[:, 0]
    if mask == Mask.KEY and len(without) and span < right.n:
        some = left.part(without)
        parts = [None if v is None else v[without] for v in (key, label)]
        bar[without] = find(some, parts[0], parts[1], right.n + tuning.tile)
    return bar

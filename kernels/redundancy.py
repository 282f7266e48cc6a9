"""The most similar earlier row of each row.

Public: :func:`redundancy`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from meddel_fast.kernels.join import Mask
from meddel_fast.kernels.nearest import nearest
from meddel_fast.kernels.pairs import ranks
from meddel_fast.kernels.prepared import DEFAULT, Tuning, prepare
from meddel_fast.kernels.rows import Rows


def redundancy(
    x: Rows,
    squares: Tensor,
    *,
    order: Tensor | None = None,
    labels: Tensor | None = None,
    tuning: Tuning = DEFAULT,
) -> tuple[Tensor, Tensor]:
    """Return the highest cosine to an earlier row of the same label, and the lowest such row.

    Parameters
    ----------
    x : Rows
    squares : fp64 tensor (n,)
        Their squared norms.
    order : int64 tensor (n,), optional
        A permutation: rows from first to last.
    labels : int64 tensor (n,), optional

    Returns
    -------
    similarity : fp64 tensor (n,)
        -inf where there is none.
    neighbor : int64 tensor (n,)
        -1 likewise.
    """
    screens, (side,) = prepare([x], [squares], cosine=True, labels=labels, tuning=tuning)
    place = torch.arange(x.n, dtype=torch.int32, device=x.device)
    if order is not None:
        place = torch.empty_like(place).scatter_(0, order, place)
    key = place[side.order]
    label = None if side.label is None else ranks(side.label)
    similarity, neighbor = nearest(
        screens,
        side,
        side,
        1,
        cosine=True,
        mask=Mask.KEY,
        keys=(key, key),
        labels=None if label is None else (label, label),
        tuning=tuning,
    )
    return similarity[:, 0], neighbor[:, 0]

"""The k most similar rows of a set for each row.

Public: :func:`topk_similarity`.
"""

from __future__ import annotations

from torch import Tensor

from meddel_fast.kernels.join import Mask
from meddel_fast.kernels.nearest import nearest
from meddel_fast.kernels.prepared import DEFAULT, Tuning, prepare
from meddel_fast.kernels.rows import Rows


def topk_similarity(
    sets: list[Rows], squares: list[Tensor], k: int, *, tuning: Tuning = DEFAULT
) -> tuple[Tensor, Tensor]:
    """Return similarity and indices, (n, k), falling, ties by index.

    Parameters
    ----------
    sets, squares : lists
        One set, for the other rows of it, or two, for the rows of the second; and their rows'
        squared norms.
    k : int
        At most the number of rows to choose from.
    """
    screens, sides = prepare(sets, squares, cosine=True, tuning=tuning)
    mask = Mask.OTHER if len(sets) == 1 else Mask.NONE
    return nearest(screens, sides[0], sides[-1], k, cosine=True, mask=mask, tuning=tuning)

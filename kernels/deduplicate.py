"""Which rows to keep so that no kept one is a near duplicate of an earlier one.

Public: :func:`deduplicate`. The rules are those of :func:`meddel_fast.deduplicate`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from meddel_fast.kernels import confirm, cuda
from meddel_fast.kernels.best_columns import Best
from meddel_fast.kernels.pairs import similar_pairs
from meddel_fast.kernels.prepared import DEFAULT, Tuning
from meddel_fast.kernels.redundancy import redundancy
from meddel_fast.kernels.rows import Rows


def deduplicate(
    x: Rows,
    squares: Tensor,
    threshold: float,
    rule: str,
    max_pairs: int,
    *,
    order: Tensor | None = None,
    labels: Tensor | None = None,
    tuning: Tuning = DEFAULT,
) -> tuple[Tensor, Tensor]:
    """Return each row's representative, and the cosine to it.

    Parameters
    ----------
    x : Rows
    squares : fp64 tensor (n,)
        Their squared norms.
    threshold : float
    rule : {"semdedup", "greedy", "components"}
    max_pairs : int
        For greedy and components, as of :func:`similar_pairs`.
    order, labels : int64 tensors (n,), optional
        As of :func:`redundancy`.

    Returns
    -------
    representative : int64 tensor (n,)
        The row itself where it is kept.
    similarity : fp64 tensor (n,)
        NaN where it is kept.

    Raises
    ------
    OverflowError
        As :func:`similar_pairs`.
    RuntimeError
        For components, if the CUDA extension was not built.
    """
    if rule == "components":
        cuda.require()
    own = torch.arange(x.n, device=x.device)
    if rule == "semdedup":
        similarity, neighbor = redundancy(x, squares, order=order, labels=labels, tuning=tuning)
        dropped = (neighbor >= 0) & (similarity >= threshold)
    else:
        i, j, found = similar_pairs(
            [x], [squares], threshold, max_pairs, labels=labels, tuning=tuning
        )
        place = own if order is None else torch.empty_like(own).scatter_(0, order, own)
        swap = place[i] > place[j]
        earlier, later = torch.where(swap, j, i), torch.where(swap, i, j)
        if rule == "greedy":
            similarity, neighbor = _greedy(x.n, earlier, later, found)
        else:
            first = cuda.components(place[earlier], place[later], x.n)[place]
            neighbor = first if order is None else order[first]
            similarity = confirm.scores(
                confirm.inner(x, x, own, neighbor), squares, squares[neighbor], cosine=True
            )
        dropped = (neighbor >= 0) & (neighbor != own)
    nothing = torch.full_like(similarity, float("nan"))
    return torch.where(dropped, neighbor, own), torch.where(dropped, similarity, nothing)


def _greedy(n: int, earlier: Tensor, later: Tensor, similarity: Tensor) -> tuple[Tensor, Tensor]:
    """Return the most similar earlier kept row of each row, -1 where there is none.

    In rounds: a row is dropped as soon as an earlier similar one is kept, and kept as soon as all
    of these are dropped. As many rounds as the longest chain of decisions that wait for another.
    """
    undecided = torch.ones(n, dtype=torch.bool, device=earlier.device)
    kept = ~undecided
    left, right = earlier, later
    while True:
        waits = torch.zeros_like(kept)
        waits[right] = True
        kept |= undecided & ~waits
        undecided &= waits
        if not len(left):
            break
        undecided[right[kept[left]]] = False  # dropped
        open_ = undecided[right] & (undecided[left] | kept[left])
        left, right = left[open_], right[open_]
    best = Best(n, 1, earlier.device)
    covers = kept[earlier]
    best.add(later[covers], earlier[covers], similarity[covers])
    score, column = best.result()
    return score[:, 0], column[:, 0]

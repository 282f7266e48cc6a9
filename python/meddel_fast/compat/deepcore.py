"""DeepCore's selection by k-center and by submodular functions.

``k_center_greedy`` of deepcore.methods.kcentergreedy; ``FacilityLocation``, ``GraphCut``,
``LogDeterminant`` and the optimizers ``NaiveGreedy``, ``LazyGreedy``, ``StochasticGreedy`` of
deepcore.methods.methods_utils.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast import ops
from meddel_fast.arrays import check_int, is_torch
from meddel_fast.common.extras import needs
from meddel_fast.compat._submodular import (
    FacilityLocation,
    GraphCut,
    LazyGreedy,
    LogDeterminant,
    NaiveGreedy,
    StochasticGreedy,
    SubmodularFunction,
)
from meddel_fast.selectors.base import to_numpy

__all__ = [
    "FacilityLocation",
    "GraphCut",
    "LazyGreedy",
    "LogDeterminant",
    "NaiveGreedy",
    "StochasticGreedy",
    "SubmodularFunction",
    "k_center_greedy",
]


def k_center_greedy(
    matrix: Any,
    budget: int,
    metric: str | Callable[[Any, Any], Any] = "euclidean",
    device: Any | None = None,
    random_seed: int | None = None,
    index: Any | None = None,
    already_selected: Any | None = None,
    print_freq: int = 20,
) -> NDArray[Any]:
    """Select samples, each the farthest from those selected before.

    Parameters
    ----------
    matrix : torch.Tensor or numpy array of shape (n, d)
        Features.
    budget : int
        How many to select, on top of the already selected ones; from 1 on (0 where there are
        some), n at most.
    metric : "euclidean" or callable
        DeepCore's ``euclidean_dist`` (any callable of this name) is taken for "euclidean". Another
        callable, of two tensors (or arrays) of rows to their matrix of distances, is called once a
        centre.
    device : torch.device or str, optional
        Where to work with a numpy array; a tensor is worked on where it is.
    random_seed : int, optional
        Of the first sample, which is the one that numpy's old generator gives DeepCore.
    index : array of shape (n,), optional
        The samples' own names. Default: 0 to n - 1.
    already_selected : sequence, optional
        Names of samples that are centres already.
    print_freq : int
        Taken for DeepCore's sake; nothing is printed.

    Returns
    -------
    numpy array
        Names of the selected samples, the already selected ones included, in the order of the
        index.

    Raises
    ------
    TypeError, ValueError
        For a matrix of wrong type or shape or not finite, a budget below 1, or already selected
        samples that are not in the index.
    """
    if getattr(matrix, "ndim", 0) != 2:
        raise ValueError(f"matrix must be a 2-d float array, got shape {np.shape(matrix)}")
    n = len(matrix)
    names = np.arange(n) if index is None else np.asarray(index)
    if len(names) != n:
        raise ValueError(f"index must have one name a row of matrix ({n}), got {len(names)}")
    before = np.asarray([] if already_selected is None else already_selected)
    budget = min(check_int("budget", budget, 0 if len(before) else 1), n)
    chosen = np.isin(names, before)
    if len(before) and not chosen.any():
        raise ValueError(f"already_selected must be names of the index, got {before}")
    start = 0 if len(before) else np.random.RandomState(random_seed).randint(0, n)
    count = min(budget, n - int(chosen.sum()))
    if callable(metric) and getattr(metric, "__name__", "") != "euclidean_dist":
        _choose_by(metric, matrix, device, count, start, chosen)
    elif not callable(metric) and metric != "euclidean":
        raise ValueError(f"metric must be 'euclidean' or callable, got {metric!r}")
    elif count:
        on = None if is_torch(matrix) else device
        centres = np.flatnonzero(chosen)
        found = ops.kcenter_greedy(
            matrix, count, start=start, selected=centres, distances=False, device=on
        )
        chosen[to_numpy(found.indices)] = True
    return names[chosen]


def _choose_by(
    metric: Callable[[Any, Any], Any], matrix: Any, device: Any | None, count: int, start: int,
    chosen: NDArray[np.bool_],
) -> None:  # fmt: skip
    """Choose by any distance, one row of distances at a time."""
    with needs("compat"):
        import torch

    rows = matrix if is_torch(matrix) else torch.from_numpy(matrix).to(device)
    nearest = np.full(len(rows), np.inf)

    def add(centre: int) -> None:
        chosen[centre] = True
        distance = torch.as_tensor(metric(rows[[centre]], rows)).detach().cpu()
        np.minimum(nearest, distance.numpy().reshape(-1), out=nearest)

    for centre in np.flatnonzero(chosen):
        add(int(centre))
    for _ in range(count):
        add(int(np.argmax(np.where(chosen, -np.inf, nearest))) if chosen.any() else start)

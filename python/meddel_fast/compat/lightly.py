"""Lightly's selection of diverse samples: ``Selection`` of lightly-mundig.

Only its diversifying strategy is here, which is greedy k-center from the first or the already
selected samples, with a minimum distance at which to stop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from meddel_fast import ops
from meddel_fast.arrays import check_float, check_int, check_rows, is_torch, resolve_threads
from meddel_fast.selectors.base import to_numpy


class Selection:
    """Select samples by one diversifying strategy."""

    def __init__(self) -> None:
        self._strategy: tuple[Any, float] | None = None

    def add_diversifying_strategy(
        self,
        embeddings: Any,
        strength: float,
        stopping_condition_minimum_distance: float | None = None,
    ) -> None:
        """Set the embeddings that tell how far apart samples are.

        Parameters
        ----------
        embeddings : array or list of shape (n, d)
            Of all samples. Lists and integers are taken as float32.
        strength : float
            Its weight among several strategies, above 0; alone it changes nothing.
        stopping_condition_minimum_distance : float, optional
            Stop when all samples left are nearer than this (Euclidean) to a selected one; at 0 or
            below: never.

        Raises
        ------
        TypeError, ValueError
            For embeddings of wrong shape or not finite, or a second strategy.
        """
        if self._strategy is not None:
            raise ValueError("only one strategy is possible here, got a second one")
        largest = float(np.finfo("d").max)
        if check_float("strength", strength, 0.0, largest) == 0.0:
            raise ValueError("strength must be above 0: at 0 no strategy has a say")
        if not is_torch(embeddings) and not isinstance(embeddings, np.ndarray):
            embeddings = np.asarray(embeddings, dtype=np.float32)
        elif not is_torch(embeddings) and embeddings.dtype.kind in "biu":
            embeddings = embeddings.astype(np.float32)
        if len(embeddings):
            check_rows("embeddings", embeddings, resolve_threads(None))
        stop = 0.0
        if (given := stopping_condition_minimum_distance) is not None:
            stop = check_float("stopping_condition_minimum_distance", given, -largest, largest)
        self._strategy = embeddings, stop

    def run_selection(
        self, preselected_indices: Sequence[int], n_total_samples: int, n_samples_to_select: int
    ) -> list[int]:
        """Select samples, the farthest from all selected ones first.

        Parameters
        ----------
        preselected_indices : sequence of int
            Samples that are selected already. Without any the first sample starts.
        n_total_samples : int
            Number of samples, as many as embeddings.
        n_samples_to_select : int
            How many to return, the preselected ones included, if the minimum distance allows.

        Returns
        -------
        list of int
            The preselected samples, then the others in order of selection.
        """
        if self._strategy is None:
            raise ValueError("add_diversifying_strategy must be called first")
        embeddings, stop = self._strategy
        n = len(embeddings)
        if n_total_samples != n:
            raise ValueError(f"n_total_samples must be {n} as of embeddings, got {n_total_samples}")
        check_int("n_samples_to_select", n_samples_to_select, 0, n)
        before = [check_int("preselected_indices", i, 0, n - 1) for i in preselected_indices]
        count = n_samples_to_select - len(before)
        if count <= 0:
            return before
        # k-center leaves out what is exactly at the radius, Lightly what is nearer than it.
        radius = float(np.nextafter(stop, 0.0)) if stop > 0.0 else None
        found = ops.kcenter_greedy(
            embeddings, min(count, n - len(set(before))), radius=radius,
            selected=list(dict.fromkeys(before)) or None, distances=False,
        )  # fmt: skip
        order: list[int] = to_numpy(found.indices).tolist()
        return before + order

"""The k best columns of each row out of what a join lets through."""

from __future__ import annotations

import torch
from torch import Tensor

HELD = 1 << 26  # pairs held before those that are not among the best so far are dropped


class Best:
    """Collects scored pairs and keeps, per row, the k highest scores, ties to the lowest column."""

    def __init__(self, n: int, k: int, device: torch.device) -> None:
        self._n, self._k = n, k
        self._row = torch.empty(0, dtype=torch.int64, device=device)
        self._column = self._row.clone()
        self._score = torch.empty(0, dtype=torch.float64, device=device)
        self._after = HELD

    def add(self, row: Tensor, column: Tensor, score: Tensor) -> None:
        """Take pairs of int64 rows and columns; none may come twice."""
        self._row = torch.cat([self._row, row])
        self._column = torch.cat([self._column, column])
        self._score = torch.cat([self._score, score])
        if len(self._row) > self._after:
            self._keep()
            self._after = 2 * len(self._row) + HELD

    def _keep(self) -> Tensor:
        """Sort by row, then best first, drop all but k a row; return the rank of the others."""
        # (Adding 0 makes a negative zero positive: they are equal, but sorts may tell them apart.)
        place = torch.sort(self._column, stable=True).indices
        place = place[torch.sort(self._score[place] + 0.0, descending=True, stable=True).indices]
        place = place[torch.sort(self._row[place], stable=True).indices]
        row = self._row[place]
        begin = torch.searchsorted(row, torch.arange(self._n, device=row.device))
        rank = torch.arange(len(row), device=row.device) - begin[row]
        kept = place[rank < self._k]
        self._row, self._column = self._row[kept], self._column[kept]
        self._score = self._score[kept]
        return rank[rank < self._k]

    def result(self) -> tuple[Tensor, Tensor]:
        """Return scores and columns, (n, k), best first; -inf and -1 where there are fewer."""
        rank = self._keep()
        shape, device = (self._n, self._k), self._row.device
        score = torch.full(shape, float("-inf"), dtype=torch.float64, device=device)
        column = torch.full(shape, -1, dtype=torch.int64, device=device)
        score[self._row, rank] = self._score
        column[self._row, rank] = self._column
        return score, column

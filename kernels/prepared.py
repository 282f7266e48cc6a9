"""What every pipeline begins with: norms, screens, codes, and an order of the rows.

Public: :func:`prepare`. Positions are rows in the order in which tiles are made of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from meddel_fast.kernels import confirm
from meddel_fast.kernels.join import CAPACITY, TILE, Reach
from meddel_fast.kernels.rough_clusters import choose, rough_clusters
from meddel_fast.kernels.rows import Rows
from meddel_fast.kernels.screen import Codes, Screen, learn


@dataclass(frozen=True)
class Tuning:
    """What changes how a pipeline works but no result; for tests and measurements.

    Attributes
    ----------
    tile : int
        Rows and columns of a tile, a power of two from 32 on.
    clusters : int, optional
        Rough clusters that rows are ordered by; chosen by the number of rows if not given.
    capacity : int
        Pairs a part of a join may leave before it is cut.
    window : int
        Columns around a row in which its bar is looked for.
    """

    tile: int = TILE
    clusters: int | None = None
    capacity: int = CAPACITY
    window: int = 1 << 14


DEFAULT = Tuning()


@dataclass(frozen=True)
class Prepared:
    """A set of rows, by position.

    Attributes
    ----------
    rows : Rows
        By row, as are the squares.
    squares : fp64 tensor (n,)
        :func:`confirm.squared_norms` of them.
    order : int64 tensor (n,)
        The row at each position.
    cluster, label : int64 tensors (n,)
        By position: labels rise, clusters rise within a label; label is None where there is none.
    codes : list of Codes
        Coarse to fine, by position.
    """

    rows: Rows
    squares: Tensor
    order: Tensor
    cluster: Tensor
    label: Tensor | None
    codes: list[Codes]

    @property
    def n(self) -> int:
        """Number of positions."""
        return len(self.order)

    @property
    def device(self) -> torch.device:
        """Where it is worked on."""
        return self.rows.device

    def scores(self, other: Prepared, p: Tensor, q: Tensor, *, cosine: bool) -> Tensor:
        """Return the truth's scores of positions p of this and q of the other."""
        i, j = self.order[p], other.order[q]
        products = confirm.inner(self.rows, other.rows, i, j)
        return confirm.scores(products, self.squares[i], other.squares[j], cosine=cosine)

    def reach(self, other: Prepared, tile: int) -> Reach:
        """Return the column tiles with which each row tile has labels in common."""
        whole = Reach.whole(self.n, other.n, tile, self.device)
        if self.label is None or other.label is None:
            return whole
        begin = torch.arange(len(whole.first), device=self.device) * tile
        end = (begin + tile - 1).clamp(max=self.n - 1)
        first = torch.searchsorted(other.label, self.label[begin])
        last = torch.searchsorted(other.label, self.label[end], right=True)
        return Reach(first // tile, -(-last // tile))

    def window(self, other: Prepared, tile: int, columns: int) -> Reach:
        """Return the part of the reach in which a row's nearest ones are likely to be."""
        reach = self.reach(other, tile)
        middle = (torch.arange(len(reach.first), device=self.device) * tile + tile // 2).clamp(
            max=self.n - 1
        )
        if self.rows is not other.rows:
            middle = torch.searchsorted(other.cluster, self.cluster[middle])
        span = max(1, columns // tile)
        first = torch.maximum(reach.first, (middle // tile - span // 2))
        first = torch.maximum(torch.minimum(first, reach.last - span), reach.first)
        return Reach(first, torch.minimum(reach.last, first + span))

    def part(self, positions: Tensor) -> Prepared:
        """Return the rows at some rising positions, by position among them."""
        return Prepared(
            self.rows,
            self.squares,
            self.order[positions],
            self.cluster[positions],
            None if self.label is None else self.label[positions],
            [codes.take(positions) for codes in self.codes],
        )


def prepare(
    sets: list[Rows],
    squares: list[Tensor],
    *,
    cosine: bool,
    labels: Tensor | None = None,
    ordered: bool = True,
    tuning: Tuning = DEFAULT,
) -> tuple[list[Screen], list[Prepared]]:
    """Learn screens from one set or two, and return them with the sets by position.

    Parameters
    ----------
    sets, squares : lists
        The rows, and :func:`confirm.squared_norms` of them.
    cosine : bool
        Whether scores are cosines, or minus squared distances.
    labels : int64 tensor (n,), optional
        Of the rows of all sets: positions are then by label first.
    ordered : bool
        Whether positions may differ from rows at all.
    tuning : Tuning
        See there.
    """
    norms = [confirm.roots(s) for s in squares]
    screens = learn(list(zip(sets, norms, strict=True)), cosine=cosine)
    coded = [[s.encode(x, n) for s in screens] for x, n in zip(sets, norms, strict=True)]
    count = choose(max(x.n for x in sets)) if tuning.clusters is None else tuning.clusters
    clusters = rough_clusters([codes[0].code for codes in coded], count if ordered else 1)
    out = []
    for x, square, codes, cluster in zip(sets, squares, coded, clusters, strict=True):
        place = torch.sort(cluster, stable=True).indices
        if labels is not None:
            place = place[torch.sort(labels[place], stable=True).indices]
        label = None if labels is None else labels[place]
        moved = [c.take(place) for c in codes] if count > 1 or labels is not None else codes
        out.append(Prepared(x, square, place, cluster[place], label, moved))
    return screens, out

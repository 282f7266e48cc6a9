"""Farthest-point selection (k-center greedy) whose loop lives on the device.

Public: :func:`kcenter_greedy`. As in ``csrc/ops/kcenter.cpp``: a row's distance to its nearest
centre only shrinks, so a stale one is an upper bound. An epoch:

1. The rows with the largest bounds catch up with the centres that they have not seen: many rows
   with many centres, in the screens of :mod:`~meddel_fast.kernels.join`; what these leave is
   confirmed.
2. Those that stay farther than all others can be, at most ``active``, become active, and all their
   distances to one another are worked out.
3. One block selects the farthest of them, and lowers the others' distances, again and again, until
   a row that is not active might be the next (:class:`KCenterSelect` of csrc/cuda).

The host waits for the device some ten times an epoch, in which hundreds of centres are selected.

Which rows come first: those of larger distance, the lower index first among equals. A bound
(distance, row) says that all rows beyond it come after or are that row; so however many rows are
equally far, only as many as fit need be active.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from meddel_fast.kernels import confirm, cuda
from meddel_fast.kernels.join import Reach, Side, join
from meddel_fast.kernels.prepared import DEFAULT, Prepared, Tuning, prepare
from meddel_fast.kernels.rows import Rows
from meddel_fast.kernels.screen import Screen, with_bars

TAKEN = -1.0  # below every distance: a centre is never the farthest


@dataclass(frozen=True)
class Sizes:
    """What changes how long it takes but no result.

    Attributes
    ----------
    active : int
        Rows to select from at a time: 4096, the most there may be, have 128 MiB of distances.
    few : int
        Centres with which rows are compared without screens.
    growth : int
        Rows that saw s centres see growth * s next: what those leave of a row's bound decides how
        many of the next ones the screens let through, about growth - 1 if centres come in no order.
    rows : int
        To catch up at a time, whose codes are brought together.
    join : Tuning
    """

    active: int = 4096
    few: int = 8
    growth: int = 8
    rows: int = 1 << 18
    join: Tuning = field(default=DEFAULT)


def kcenter_greedy(
    x: Rows,
    squares: Tensor,
    k: int,
    *,
    radius: float = -1.0,
    cosine: bool = False,
    start: int = 0,
    selected: Tensor | None = None,
    distances: bool = True,
    sizes: Sizes | None = None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Choose rows, each the one farthest from all chosen before it.

    Parameters
    ----------
    x : Rows
    squares : fp64 tensor of shape (n,)
        :func:`confirm.squared_norms` of x.
    k : int
        1 to n, less the selected ones.
    radius : float
        Ends before a row whose distance would be this or less.
    cosine : bool
        Cosine distances, or Euclidean ones.
    start : int
        The first one, if none are selected.
    selected : int64 tensor of shape (m,), optional
        Distinct rows that are centres already.
    distances : bool
        Whether those of all rows are wanted.
    sizes : Sizes, optional
        See there.

    Returns
    -------
    indices : int64 tensor of shape (c,)
        In the order of choice; c <= k.
    radii : fp64 tensor of shape (c,)
        Distance of each, when chosen, to the centres before it; infinite for a first one.
    distances : fp64 tensor of shape (n,) or None
        Of each row to its nearest centre; 0 for centres.

    Raises
    ------
    RuntimeError
        If the CUDA extension was not built.
    """
    cuda.require()
    known = 0 if selected is None else len(selected)
    greedy = _Greedy(x, squares, known + k, cosine, Sizes() if sizes is None else sizes)
    first = torch.tensor([start], device=x.device)
    greedy.add(selected if selected is not None and known else first)
    greedy.catch_up(torch.arange(x.n, device=x.device))
    ended = False
    while greedy.count < known + k and not ended:
        ended = greedy.select(radius)
    chosen = slice(known, greedy.count)
    nearest = greedy.distances() if distances else None
    return greedy.centres[chosen], greedy.radii[chosen], nearest


class _Greedy:
    def __init__(self, x: Rows, squares: Tensor, capacity: int, cosine: bool, sizes: Sizes) -> None:
        self.x = x
        self.squares = squares
        self.cosine = cosine
        self.sizes = sizes
        # Distances to the nearest centre seen (squared ones if Euclidean), and how many, the first
        # ones, have been seen.
        self.bounds = torch.full((x.n,), torch.inf, dtype=torch.float64, device=x.device)
        self.seen = torch.zeros(x.n, dtype=torch.int64, device=x.device)
        self.centres = torch.empty(capacity, dtype=torch.int64, device=x.device)
        self.radii = torch.full((capacity,), torch.inf, dtype=torch.float64, device=x.device)
        self.count = 0
        self.wanted = 2 * sizes.active  # rows to catch up in an epoch

    def add(self, rows: Tensor) -> None:
        """Make rows centres."""
        self.centres[self.count : self.count + len(rows)] = rows
        self.count += len(rows)
        self.bounds[rows] = TAKEN
        self.seen[rows] = len(self.centres)  # nothing left to see

    def select(self, radius: float) -> bool:
        """Select more centres, one at least, but where the radius ends it; whether it did."""
        active, before = self._activate()
        rows, squares = self.x.take(active), self.squares[active]
        between = cuda.distance_matrix(rows, squares, cosine=self.cosine)
        nearest = self.bounds[active]
        left = slice(self.count, None)
        selected = cuda.kcenter_select(
            between, active, nearest, before, radius, self.centres[left], self.radii[left],
            cosine=self.cosine,
        )  # fmt: skip
        count, ended = selected.tolist()
        self.count += count
        self.bounds[active] = nearest
        self.seen[active] = torch.where(nearest == TAKEN, len(self.centres), self.count)
        return bool(ended)

    def distances(self) -> Tensor:
        """Return the distance of every row to its nearest centre."""
        self.catch_up(torch.arange(self.x.n, device=self.x.device))
        nearest = self.bounds.clamp(min=0.0)
        return nearest if self.cosine else confirm.roots(nearest)

    def catch_up(self, rows: Tensor) -> None:
        """Make rows take account of all centres."""
        rows = rows[self.seen[rows] < self.count]
        # Rows that have seen as many centres side by side: their tiles leave out the same ones.
        seen, place = torch.sort(self.seen[rows], stable=True)
        rows = rows[place]
        for begin in range(0, len(rows), self.sizes.rows):
            part = slice(begin, begin + self.sizes.rows)
            self._compare(rows[part], seen[part])
        self.seen[rows] = self.count

    def _activate(self) -> tuple[Tensor, tuple[float, int]]:
        """Return the rows that come before a bound, rising, with current distances; and the bound.

        Of the rows that catch up, most turn out to come after it: how many have to, for enough to
        come before it, is learned on the way.
        """
        while True:
            rows, distance, border = _farthest(self.bounds, self.wanted)
            self.catch_up(rows)
            nearest = self.bounds[rows]
            first = (nearest > distance) | ((nearest == distance) & (rows < border))
            rows, nearest = rows[first], nearest[first]
            count = len(rows)
            if count > self.sizes.active:
                self.wanted = max(self.sizes.active, self.wanted // 2)
                places, distance, place = _farthest(nearest, self.sizes.active)
                border = int(rows[place]) if place < count else self.x.n
                rows = rows[places]
            elif count < self.sizes.active // 2:
                self.wanted = min(self.x.n, 2 * self.wanted)
            if count:
                return rows, (distance, border)

    def _compare(self, rows: Tensor, seen: Tensor) -> None:
        """Lower the bounds of rows, which stand by how many of the centres they have seen."""
        bounds = self.bounds[rows]
        done = int(seen[0])
        while done < self.count:
            until = min(self.count, max(self.sizes.few, self.sizes.growth * done))
            due = int(torch.searchsorted(seen, until))
            pairs = self._all if until - done <= self.sizes.few else self._screened
            for p, c in pairs(rows[:due], seen[:due], bounds[:due], done, until):
                bounds.scatter_reduce_(0, p, self._between(rows[p], self.centres[c]), "amin")
            done = until
        self.bounds[rows] = bounds

    def _all(
        self, rows: Tensor, seen: Tensor, bounds: Tensor, begin: int, end: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield all pairs (position of a row, centre) of the centres [begin, end)."""
        place = torch.arange(len(rows) * (end - begin), device=rows.device)
        yield place // (end - begin), begin + place % (end - begin)

    def _screened(
        self, rows: Tensor, seen: Tensor, bounds: Tensor, begin: int, end: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the pairs (position of a row, centre) that may lower a bound."""
        screens, prepared = self._codes
        # A cosine that lowers a distance of 1 - cosine, which was rounded, is this at least.
        bar = 1.0 - bounds - 2.0**-50 if self.cosine else -bounds
        left = with_bars(screens, [codes.take(rows) for codes in prepared.codes], bar)
        right = [codes.take(self.centres[begin:end]) for codes in prepared.codes]
        tile = self.sizes.join.tile
        first = (seen[::tile].clamp(min=begin) - begin) // tile  # the least of a tile, as they rise
        last = torch.full_like(first, -(-(end - begin) // tile))
        found = join(
            Side(left), Side(right), Reach(first, last), tile=tile,
            capacity=self.sizes.join.capacity,
        )  # fmt: skip
        for p, q in found:
            yield p, begin + q

    @cached_property
    def _codes(self) -> tuple[list[Screen], Prepared]:
        """The screens, and the codes of all rows, by row."""
        screens, (prepared,) = prepare([self.x], [self.squares], cosine=self.cosine, ordered=False)
        return screens, prepared

    def _between(self, i: Tensor, j: Tensor) -> Tensor:
        """Return the truth's distances of pairs of rows."""
        inner = confirm.inner(self.x, self.x, i, j)
        scores = confirm.scores(inner, self.squares[i], self.squares[j], cosine=self.cosine)
        return confirm.distances(scores, cosine=self.cosine)


def _farthest(bounds: Tensor, wanted: int) -> tuple[Tensor, float, int]:
    """Return the positions, rising, that come first, `wanted` of those that are not taken.

    And the bound (distance, position) that all others come after or are: any of distance 0 comes
    before it where there are no others.
    """
    count = len(bounds)
    least = -1.0
    if wanted < count:
        least = float(torch.topk(bounds, wanted, sorted=False).values.min())
    if least < 0.0:
        return (bounds >= 0.0).nonzero()[:, 0], 0.0, count
    chosen = bounds > least
    equal = (bounds == least).nonzero()[:, 0]
    spare = wanted - int(chosen.sum())
    chosen[equal[:spare]] = True
    border = int(equal[spare]) if len(equal) > spare else count
    return chosen.nonzero()[:, 0], least, border

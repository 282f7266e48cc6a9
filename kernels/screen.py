"""Codes whose integer inner product is a proven upper bound on the score of two rows.

The device's side of ``csrc/screen/bounds.h``, which derives the bound; names are those of the
derivation. Public: :func:`learn` makes the screens of one set or two, :meth:`Screen.encode` the
codes of a set, :meth:`Screen.start` what :mod:`~meddel_fast.kernels.join` adds to a product. A pair
(u, v) with

    code_u . code_v + start(share_u, bar) + share_v < 0        has a score below the bar,

the score being the truth's cosine or minus the truth's squared distance.

What differs from the derivation:

* Points, projections and sums are worked out in fp64, in whatever order of summation the device's
  library takes. All of the derivation's bounds hold for any order, with the unit of fp64, 2^-53, in
  place of fp32's 2^-24. UNIT is 2^-44: 512 times that, which costs less than 1e-6 of a step, and
  leaves room for the few operations that a bound itself takes.
* |w~|^2 is summed in any order: off by at most (d + 2) UNIT of itself.
* alpha, the reciprocal of the truth's norm, is kept in fp64: |alpha x| is 1 to within
  (d + 8) 2^-53. That, and the distance between a real score and the truth's, (d + 8) 2^-52 for
  cosines and (d + 8) 2^-46 for squared distances, is within slack = (d + 64) UNIT. fp64 holds the
  squares of all fp32 numbers, so that no row is too long or too short for a cosine.
* A prefix code has 60 dimensions and 4 for the remainder: one tensor-core step of K = 64. A set of
  at most 64 dimensions has the dense codes alone.
* Dense codes are integers in [-top, top], top being 127, or less where d > 16384, so that a product
  stays below 2^28 and a sum of a product, two shares and a bar within 32 bits.

Raising a share is always allowed: a row that does not fit gets ALWAYS and a code of zeros.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from meddel_fast.kernels.rows import Rows

SAMPLE_ROWS = 2048
KEPT = 60  # dimensions of a prefix code
REMAINDER = 4  # integers that hold the remainder's length
PREFIX_WIDTH = KEPT + REMAINDER
DENSE_WIDTH = 128  # dense codes wider than a prefix are filled up to a multiple of this
PASSES = 2  # of subspace iteration
UNIT = 2.0**-44
LEAST_STEP = 1e-4
LARGEST_PRODUCT = 2**28
# |share| <= MOST and a bar's part is at most MOST, or one of the two that decide alone: ALWAYS is
# more than LARGEST_PRODUCT + 2 MOST, -NEVER more than that and than ALWAYS, the code of which is 0.
MOST = 150_000_000
ALWAYS = 600_000_000
NEVER = -1_000_000_000
FAR_OUT = 4.0  # alpha |x| of rows that are screened


class Codes(NamedTuple):
    """The int8 codes (n, width) of rows and their int32 shares (n,)."""

    code: Tensor
    share: Tensor

    def take(self, index: Tensor) -> Codes:
        """Return those of some rows."""
        return Codes(self.code.index_select(0, index), self.share.index_select(0, index))


@dataclass(frozen=True)
class PointMap:
    """How rows become points: w = alpha x - mu."""

    cosine: bool
    scale: float  # alpha of all rows, for distances
    mean: Tensor  # mu
    mean_norm: float
    longest: float  # W

    def points(self, rows: Tensor, norms: Tensor) -> tuple[Tensor, Tensor]:
        """Return w~ in fp64, and whether each row can be screened at all."""
        alpha = self.alpha(norms)
        points = rows.to(torch.float64) * alpha[:, None] - self.mean
        fits = torch.ones_like(norms, dtype=torch.bool)
        return points, fits if self.cosine else norms * self.scale < FAR_OUT

    def alpha(self, norms: Tensor) -> Tensor:
        """Return the factor of each row."""
        if not self.cosine:
            return torch.full_like(norms, self.scale)
        return torch.where(norms > 0, 1.0 / norms, 0.0)

    def kappa(self, norms: Tensor) -> Tensor:
        """Return 1 for rows that have a direction whose cosine is wanted, else 0."""
        return (norms > 0).to(torch.float64) if self.cosine else torch.zeros_like(norms)

    def wanted(self, bar: Tensor) -> Tensor:
        """Return the S of a score."""
        return bar if self.cosine else 0.5 * self.scale * self.scale * bar


@dataclass(frozen=True)
class Screen:
    """One kind of code: a prefix, where there is a basis, or dense."""

    map: PointMap
    basis: Tensor | None
    width: int
    top: int
    step: float  # s
    longest: float  # P
    remainder: float  # rho_max, of dense codes
    delta: float
    eta: float

    @property
    def epsilon(self) -> float:
        """Bound on |w - w~|."""
        return 1.01 * UNIT * (2.0 * self.map.longest + self.map.mean_norm)

    def encode(self, x: Rows, norms: Tensor) -> Codes:
        """Return the codes of all rows; norms are the truth's, (n,) fp64."""
        code = torch.zeros((x.n, self.width), dtype=torch.int8, device=x.device)
        share = torch.empty(x.n, dtype=torch.int32, device=x.device)
        for begin, rows in x.chunks():
            part = slice(begin, begin + len(rows))
            points, fits = self.map.points(rows, norms[part])
            square = (points * points).sum(1)
            kind = self._dense if self.basis is None else self._prefix
            integers, factor_tau, inside = kind(points, square)
            fits = fits & inside & (square < self.map.longest**2)
            made = integers.to(torch.int8) * fits[:, None]
            code[part, : made.shape[1]] = made
            share[part] = self._share(factor_tau, square, self.map.kappa(norms[part]), fits)
        return Codes(code, share)

    def _off(self) -> float:
        """Share by which a sum of squares may be off."""
        return (len(self.map.mean) + 2) * UNIT

    def _prefix(self, points: Tensor, square: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return integers, P tau, and whether the row fits."""
        assert self.basis is not None
        projected = points @ self.basis
        q = (projected / self.step).round_().clamp_(-self.top, self.top)
        inner, length = (q * projected).sum(1), (q * q).sum(1)
        left = projected - self.step * q
        size = self.step * length.sqrt()
        tau = (left * left).sum(1).sqrt() + self.eta + self.delta * size + 1e-11
        whole = (square * (1.0 + self._off())).sqrt() + self.epsilon
        rest = (
            whole * whole
            - 2.0 * self.step * inner
            + self.step**2 * length
            + 2.0 * size * self.eta
            + self.delta * size * size
            + 1e-11
        )
        r = (rest.clamp_(min=0.0).sqrt() / (2.0 * self.step) + 1e-9).ceil()
        integers = torch.cat([q, r.clamp(max=127.0)[:, None].expand(-1, REMAINDER)], 1)
        return integers, self.longest * tau, (size <= self.longest) & (r <= 127.0)

    def _dense(self, points: Tensor, square: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return integers, (P + rho_max / 2) tau, and whether the row fits."""
        q = (points / self.step).round_().clamp_(-self.top, self.top)
        left = points - self.step * q
        tau = ((left * left).sum(1) * (1.0 + self._off())).sqrt()
        tau = tau + 2.0 * UNIT * self.map.longest + self.epsilon
        size = square.sqrt() * (1.0 + self._off()) + tau
        fits = (tau <= self.remainder) & (size <= self.longest)
        return q, (self.longest + 0.5 * self.remainder) * tau, fits

    def _share(self, factor_tau: Tensor, square: Tensor, kappa: Tensor, fits: Tensor) -> Tensor:
        t = 0.5 * (kappa - square * (1.0 - self._off())) + self.epsilon * self.map.longest
        a = ((factor_tau + t) / self.step**2 + 1e-6).ceil()
        a = torch.where(fits & (a <= MOST), a.clamp(-MOST, MOST), float(ALWAYS))
        return a.to(torch.int32)

    def start(self, share: Tensor, bar: Tensor | float) -> Tensor:
        """Return what a row adds to a sum so that it is negative only below the bar.

        Parameters
        ----------
        share : int32 tensor of shape (n,)
            Of :meth:`encode`.
        bar : fp64 tensor of shape (n,), or float
            A score; -inf lets everything through, +inf nothing.
        """
        bars = torch.as_tensor(bar, dtype=torch.float64, device=share.device).expand(share.shape)
        slack = self.delta * self.longest**2 + (len(self.map.mean) + 64) * UNIT
        needed = (self.map.wanted(bars) - slack) / self.step**2 - 1e-6
        start = share - needed.clamp(-MOST, MOST).floor().to(torch.int32)
        start = torch.where(needed < -MOST, ALWAYS, start)
        return torch.where(bars == math.inf, NEVER, start).to(torch.int32)


def with_bars(screens: list[Screen], codes: list[Codes], bar: Tensor | float) -> list[Codes]:
    """Return a side's codes with starts for the bar (of each row, or one for all) as shares."""
    return [Codes(c.code, s.start(c.share, bar)) for s, c in zip(screens, codes, strict=True)]


def learn(sides: list[tuple[Rows, Tensor]], *, cosine: bool) -> list[Screen]:
    """Learn the screens, coarse to fine, from rows spread evenly over the sides.

    Parameters
    ----------
    sides : list of (Rows, norms)
        One set or two; norms are the truth's, fp64 of shape (n,).
    cosine : bool
        Whether scores are cosines, or minus squared distances.

    Returns
    -------
    list of Screen
        A prefix and a dense one; up to PREFIX_WIDTH dimensions the dense one alone. All codes of
        the first are PREFIX_WIDTH wide.
    """
    picked = [_spread(side.n, SAMPLE_ROWS // len(sides), side.device) for side, _ in sides]
    rows = torch.cat([s.take(p).to(torch.float64) for (s, _), p in zip(sides, picked, strict=True)])
    lengths = torch.cat([n.index_select(0, p) for (_, n), p in zip(sides, picked, strict=True)])
    points, map_ = _map(rows, lengths, cosine)
    dense = _learn_dense(map_, points)
    return [dense] if len(map_.mean) <= PREFIX_WIDTH else [_learn_prefix(map_, points), dense]


def _spread(n: int, most: int, device: torch.device) -> Tensor:
    count = min(n, most)
    return torch.arange(count, device=device) * n // count


def _map(rows: Tensor, norms: Tensor, cosine: bool) -> tuple[Tensor, PointMap]:
    """Return the sample's points and the map; rows of the sample that do not fit become mu."""
    typical = float(torch.quantile(norms, 0.98))
    scale = 1.0 / typical if not cosine and typical > 0 else 1.0
    zero = torch.zeros(rows.shape[1], dtype=torch.float64, device=rows.device)
    points, fits = PointMap(cosine, scale, zero, 0.0, math.inf).points(rows, norms)
    points = torch.where(fits[:, None], points, zero)
    mean = points.sum(0) / fits.sum().clamp(min=1)
    points = torch.where(fits[:, None], points - mean, zero)
    room = 1.02 if cosine else 1.08  # for rows beyond the sample
    longest = room * float((points * points).sum(1).max().sqrt()) + 1e-3
    mean_norm = float(torch.linalg.vector_norm(mean)) * (1.0 + 1e-9)
    return points, PointMap(cosine, scale, mean, mean_norm, longest)


def _learn_dense(map_: PointMap, points: Tensor) -> Screen:
    d = points.shape[1]
    top = min(127, math.isqrt(LARGEST_PRODUCT // d))
    # Few rows with a larger coordinate are clipped for the sake of a finer step for all others.
    step = max(float(torch.quantile(points.abs().amax(1), 0.98)) / top, LEAST_STEP)
    rounding = step * math.sqrt(d / 12.0)  # the length of rounding errors, on average
    multiple = PREFIX_WIDTH if d <= PREFIX_WIDTH else DENSE_WIDTH
    return Screen(
        map=map_,
        basis=None,
        width=-(-d // multiple) * multiple,
        top=top,
        step=step,
        longest=map_.longest + 2.0 * rounding,
        remainder=6.0 * rounding,
        delta=0.0,
        eta=0.0,
    )


def _learn_prefix(map_: PointMap, points: Tensor) -> Screen:
    d = points.shape[1]
    basis = _leading(points)
    gram = basis.T @ basis - torch.eye(KEPT, dtype=torch.float64, device=basis.device)
    delta = float(torch.linalg.matrix_norm(gram)) + 1.01 * KEPT * (d + 2) * UNIT
    size = math.sqrt(KEPT * (1.0 + delta))  # |B|_F at most
    epsilon = 1.01 * UNIT * (2.0 * map_.longest + map_.mean_norm)
    projected = points @ basis
    square = (projected * projected).sum(1)
    remainder = ((points * points).sum(1) - square).clamp(min=0.0).max().sqrt()
    step = max(
        1.05 * float(projected.abs().max()) / 127.0,
        (1.05 * float(remainder) + 0.02) / 254.0,
        LEAST_STEP,
    )
    return Screen(
        map=map_,
        basis=basis,
        width=PREFIX_WIDTH,
        top=127,
        step=step,
        longest=1.02 * float(square.max().sqrt()) + step * math.sqrt(KEPT),
        remainder=0.0,
        delta=delta,
        eta=1.01 * (d + 2) * UNIT * size * map_.longest + (1.0 + delta) * epsilon,
    )


def _leading(points: Tensor) -> Tensor:
    """Return a (d, KEPT) basis of about the sample's leading directions, turned at random.

    Subspace iteration, which is some ten times as fast on a device as all eigenvectors. The random
    turn makes every coordinate of a code about as large.
    """
    made = torch.Generator().manual_seed(0)

    def normal(rows: int) -> Tensor:
        return torch.randn(rows, KEPT, dtype=torch.float64, generator=made).to(points.device)

    basis = torch.linalg.qr(normal(points.shape[1])).Q
    for _ in range(PASSES):
        basis = torch.linalg.qr(points.T @ (points @ basis)).Q
    return basis @ torch.linalg.qr(normal(KEPT)).Q
